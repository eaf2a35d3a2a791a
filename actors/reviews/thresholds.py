"""What is measured of a run at a checkpoint, and held against the thresholds that its owner set.

- confidence, 0–1: the form's completeness times the provider's fit (see `confidence`).
- safety flags: what a detector, or the provider's own moderation, found (see `safety.py`).
- payload changes: how many values differ between the suggested and the final payload (see `changes.py`).
- response quality, 0–1: a verification scorer's total over 100 (see `quality.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, field_validator

from actors.providers.models import Issue
from actors.reviews.changes import Change
from actors.reviews.forms.models import Form
from actors.reviews.quality import Quality
from actors.reviews.safety import CATEGORIES, KINDS, Scan, is_flag

Name = Literal["confidence_min", "safety_flags", "payload_changes_max", "response_quality_min"]

# Which measures there are when a built-in checkpoint is reached; a custom one may be held against any.
_AT: dict[str, tuple[Name, ...]] = {
    "information_review": ("confidence_min", "safety_flags"),
    "payload_review": ("confidence_min", "safety_flags", "payload_changes_max"),
    "response_review": ("safety_flags", "response_quality_min"),
}
_ALL: tuple[Name, ...] = ("confidence_min", "safety_flags", "payload_changes_max", "response_quality_min")


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is a number from 0 to 1")  # noqa: TRY004 - pydantic reports a ValueError
    return value


Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1, allow_inf_nan=False)]


class Thresholds(BaseModel):
    """`None` is no threshold. `safety_flags`: the categories or kinds that stop a run; true for all, false for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence_min: Share | None = 0.8
    safety_flags: StrictBool | tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = True
    payload_changes_max: Annotated[StrictInt, Field(ge=0)] | None = None
    response_quality_min: Share | None = 0.7

    @field_validator("safety_flags")
    @classmethod
    def _known_flags(cls, value: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
        unknown = [] if isinstance(value, bool) else [name for name in value if not is_flag(name)]
        if unknown:
            # A misspelt flag would stop nothing, and nobody would notice.
            known = ", ".join((*CATEGORIES, *KINDS))
            raise ValueError(f"there is no flag {unknown[0][:100]!r}; there are {known}, and provider:NAME")
        return value


class Confidence(BaseModel):
    """`value` is `completeness` × `fit`, 0–1; `parts` say what each came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(ge=0, le=1)
    completeness: float = Field(ge=0, le=1)
    fit: float = Field(ge=0, le=1)
    parts: dict[str, float] = {}


class Measures(BaseModel):
    """What was measured; `None` where it was not, or could not be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: Confidence | None = None
    safety: Scan | None = None
    changes: tuple[Change, ...] | None = None
    quality: Quality | None = None


class Finding(BaseModel):
    """One threshold held against one value. `value` is what decided; `details` is where it came from. A checkpoint of
    its own kind has thresholds of its own names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: str
    limit: Any
    value: Any
    passed: bool
    reason: str
    details: dict[str, Any] = {}


def confidence(form: Form, issues: Sequence[Issue] = ()) -> Confidence:
    """How sure it is that the call does what was asked: the form's completeness times the provider's fit.

    The fit is a product of shares: files that found a field, parameters the model knows, whether the prompt has a
    place, and 1 less a tenth for each warning of the provider. Any error (the provider's, or a value that the schema
    does not take) makes it 0: such a call cannot succeed.
    """
    errors = sum(issue.severity == "error" for issue in issues) + len(form.faults)
    warnings = sum(issue.severity == "warning" for issue in issues)
    files = len(form.placed) + len(form.unplaced)
    known = sum(each.origin == "parameter" for each in form.filled)
    named = known + len(form.unknown_parameters)
    parts = {
        "files": len(form.placed) / files if files else 1.0,
        "parameters": known / named if named else 1.0,
        "prompt": 1.0 if form.prompt_placed else 0.5,
        "warnings": max(0.0, 1 - warnings / 10),
        "errors": 0.0 if errors else 1.0,
    }
    fit = 1.0
    for share in parts.values():
        fit *= share
    value = round(form.completeness * fit, 4)
    return Confidence(value=value, completeness=form.completeness, fit=round(fit, 4), parts=parts)


def findings(checkpoint: str, thresholds: Thresholds, measures: Measures) -> tuple[Finding, ...]:
    """Each threshold that applies at the checkpoint, held against its measure; what is not known does not pass.

    At a custom checkpoint those apply whose measure there is.
    """
    names = _AT.get(checkpoint)
    made = [_finding(name, thresholds, measures, custom=names is None) for name in names or _ALL]
    return tuple(each for each in made if each is not None)


def _finding(name: Name, thresholds: Thresholds, measures: Measures, *, custom: bool) -> Finding | None:
    limit: Any = getattr(thresholds, name)
    measure: Any = {
        "confidence_min": measures.confidence,
        "safety_flags": measures.safety,
        "payload_changes_max": measures.changes,
        "response_quality_min": measures.quality,
    }[name]
    if limit is None or limit is False or limit == () or (custom and measure is None):
        return None
    if measure is None:
        return Finding(
            threshold=name, limit=limit, value=None, passed=False, reason=f"{name}: it could not be measured"
        )
    if isinstance(measure, Confidence):
        return _least(name, limit, measure.value, "the confidence", measure.model_dump(exclude={"value"}))
    if isinstance(measure, Quality):
        if measure.value is None:
            reason = f"the response's quality is not known: {measure.reason}"
            details = measure.model_dump(exclude={"value"})
            return Finding(threshold=name, limit=limit, value=None, passed=False, reason=reason, details=details)
        return _least(name, limit, measure.value, "the response's quality", measure.model_dump(exclude={"value"}))
    if isinstance(measure, Scan):
        return _flags(limit, measure)
    count = len(measure)
    passed = count <= limit
    said = f"{count} {'value' if count == 1 else 'values'} of the payload changed; {limit} may"
    paths = {"paths": [change.path for change in measure[:100]]}
    return Finding(threshold=name, limit=limit, value=count, passed=passed, reason=said, details=paths)


def _least(name: Name, limit: float, value: float, what: str, details: dict[str, Any]) -> Finding:
    passed = value >= limit
    reason = f"{what} is {value:g}, {'at least' if passed else 'below'} {limit:g}"
    return Finding(threshold=name, limit=limit, value=value, passed=passed, reason=reason, details=details)


def _flags(limit: bool | tuple[str, ...], scan: Scan) -> Finding:
    stopping = [flag for flag in scan.flags if limit is True or (limit and {flag.category, flag.kind} & set(limit))]
    kinds = sorted({f"{flag.category}/{flag.kind}" for flag in stopping})
    reason = f"flagged: {', '.join(kinds)}" if kinds else "no flag that stops"
    if not scan.complete:
        reason = f"{reason}; not all of it could be looked at" if kinds else "not all of it could be looked at"
    return Finding(
        threshold="safety_flags",
        limit=limit if isinstance(limit, bool) else list(limit),
        value=len(stopping),
        passed=not kinds and scan.complete,
        reason=reason,
        details={"detector": scan.detector, "kinds": kinds, "flags": [flag.model_dump() for flag in stopping[:50]]},
    )
