"""Whether a person is asked: always by the value that decided, and never let pass for want of one."""

from typing import Any

import pytest
from pydantic import ValidationError

from actors.errors import ScorerUnavailableError
from actors.providers.models import Attachment, Issue
from actors.reviews.changes import changes
from actors.reviews.checkpoints.registry import STANDARD as CHECKPOINTS
from actors.reviews.forms.form import make_form
from actors.reviews.forms.models import Form, FormRequest
from actors.reviews.policy import Policy, Ruling, rule
from actors.reviews.quality import Quality, ScoredQuality, text_content
from actors.reviews.safety import scanned
from actors.reviews.thresholds import Confidence, Measures, Thresholds, confidence
from actors.verification.models import Brief, Content, Criterion, Mark, Score
from storage.errors import HyvveError
from tests.actors.reviews.model_schemas import SDXL

THRESHOLDS = Policy.AUTO_WITH_THRESHOLDS


def sure(value: float) -> Confidence:
    return Confidence(value=value, completeness=value, fit=1)


def good(value: float | None) -> Quality:
    return Quality(value=value, reason="fine", scorer="local", scorer_version="1")


FINE = Measures(confidence=sure(1), safety=scanned("a red fox"), changes=(), quality=good(0.9))


def decided(checkpoint: str, measures: Measures, **thresholds: Any) -> Ruling:
    return rule(checkpoint, THRESHOLDS, thresholds=Thresholds(**thresholds), measures=measures)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_auto_asks_nobody_and_require_human_asks_at_every_enabled_checkpoint(checkpoint: str) -> None:
    assert not rule(checkpoint, Policy.AUTO).needs_person
    assert rule(checkpoint, Policy.REQUIRE_HUMAN).needs_person


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_within_every_threshold_nobody_is_asked_and_the_values_are_kept(checkpoint: str) -> None:
    ruling = decided(checkpoint, FINE, payload_changes_max=3)
    assert not ruling.needs_person
    assert all(finding.passed and finding.value is not None for finding in ruling.findings)
    assert Ruling.model_validate_json(ruling.model_dump_json()) == ruling


@pytest.mark.parametrize(
    ("checkpoint", "change", "thresholds", "said"),
    [
        ("information_review", {"confidence": sure(0.79)}, {}, "the confidence is 0.79, below 0.8"),
        ("payload_review", {"safety": scanned("call 415-555-2671")}, {}, "flagged: personal_data/phone"),
        ("payload_review", {"changes": changes({"a": 1, "b": 2}, {"a": 2, "c": 2})}, {"payload_changes_max": 2},
         "3 values of the payload changed; 2 may"),
        ("response_review", {"quality": good(0.5)}, {}, "the response's quality is 0.5, below 0.7"),
        ("response_review", {"quality": good(None)}, {}, "the response's quality is not known: fine"),
        ("information_review", {"confidence": None}, {}, "confidence_min: it could not be measured"),
        ("payload_review", {"safety": None}, {}, "safety_flags: it could not be measured"),
        ("response_review", {"quality": None}, {}, "response_quality_min: it could not be measured"),
        ("payload_review", {"safety": scanned(["nude"] * 300)}, {"safety_flags": ["copyright"]}, "not all of it could be looked at"),
    ],
)  # fmt: skip
def test_past_a_threshold_or_without_its_value_a_person_decides(
    checkpoint: str, change: dict[str, Any], thresholds: dict[str, Any], said: str
) -> None:
    ruling = decided(checkpoint, FINE.model_copy(update=change), **thresholds)
    assert ruling.needs_person
    assert ruling.reason == said
    assert [finding.passed for finding in ruling.findings].count(False) == 1


def test_a_value_at_its_threshold_passes() -> None:
    at = Measures(confidence=sure(0.8), safety=FINE.safety, changes=changes({"a": 1}, {"a": 2}))
    assert not decided("payload_review", at, confidence_min=0.8, payload_changes_max=1).needs_person


def test_only_the_flags_that_were_named_stop_a_run() -> None:
    flagged = FINE.model_copy(update={"safety": scanned("© 2020, mail jo@acme.io")})
    assert decided("payload_review", flagged, safety_flags=["email"]).needs_person
    assert decided("payload_review", flagged, safety_flags=["copyright"]).needs_person
    assert not decided("payload_review", flagged, safety_flags=["nsfw"]).needs_person
    assert not decided("payload_review", flagged, safety_flags=False).needs_person
    assert not decided("payload_review", flagged, safety_flags=[]).needs_person


def test_thresholds_that_are_off_are_not_held_against_anything() -> None:
    off: dict[str, Any] = {
        "confidence_min": None,
        "safety_flags": False,
        "payload_changes_max": None,
        "response_quality_min": None,
    }
    assert decided("payload_review", Measures(), **off).findings == ()
    # Nought is a threshold: it asks that the value be known.
    assert decided("response_review", Measures(safety=FINE.safety), response_quality_min=0).needs_person


def test_a_custom_checkpoint_is_held_against_what_was_measured_for_it() -> None:
    ruling = decided("cost_approval", Measures(confidence=sure(0.1)))
    assert [finding.threshold for finding in ruling.findings] == ["confidence_min"]
    assert ruling.needs_person


@pytest.mark.parametrize(
    "wrong",
    [{"confidence_min": 1.1}, {"confidence_min": -0.1}, {"confidence_min": True}, {"confidence_min": "0.5"}, {"confidence_min": float("nan")},
     {"payload_changes_max": -1}, {"payload_changes_max": 1.5}, {"response_quality_min": 70}, {"safety_flags": ["nswf"]},
     {"safety_flags": "nsfw"}, {"unknown": 1}],
)  # fmt: skip
def test_thresholds_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Thresholds.model_validate(wrong)


async def formed(**request: Any) -> Form:
    return await make_form(SDXL, FormRequest(**request))


async def test_confidence_is_the_forms_completeness_times_the_providers_fit() -> None:
    whole = await formed(prompt="a fox", attachments=(Attachment(ref="https://a.b/1.png"),))
    assert confidence(whole).value == 1
    files = tuple(Attachment(ref=f"https://a.b/{n}.png") for n in range(4))
    half = confidence(await formed(prompt="a fox", attachments=files, parameters={"seed": 1, "sead": 2}))
    assert (half.parts["files"], half.parts["parameters"], half.value) == (0.5, 0.5, 0.25)
    assert confidence(await formed()).value == 0
    warning = Issue(field="$.input.image", severity="warning", message="m", fix="f")
    assert confidence(whole, [warning]).value == 0.9
    assert confidence(whole, [warning.model_copy(update={"severity": "error"})]).value == 0
    assert confidence(await formed(prompt="a fox", parameters={"width": "wide"})).value == 0


class OneScore:
    """A scorer with one answer."""

    name, version = "one", "7"

    def __init__(self, outcome: Score | HyvveError) -> None:
        self.outcome = outcome
        self.brief: Brief | None = None

    async def score_many(self, brief: Brief, contents: Any) -> list[Score | HyvveError]:
        self.brief = brief
        return [self.outcome for _ in contents]

    async def close(self) -> None: ...


def scored(total: float, sureness: float = 0.9, marked: bool = True) -> Score:
    marks = (Mark(Criterion.RELEVANCE, total, "r"),) if marked else ()
    return Score(marks=marks, total=total, confidence=sureness, reasoning="so", scorer="one", scorer_version="7")


async def test_a_responses_quality_is_its_score_against_what_was_asked() -> None:
    scorer = OneScore(scored(83.5))
    found = await ScoredQuality(scorer).quality("describe a fox", text_content("A fox is a small, red animal."))
    assert (found.value, found.scorer, found.marks) == (0.835, "one", {"relevance": 83.5})
    assert scorer.brief is not None
    assert scorer.brief.data_requirements == ("describe a fox",)


@pytest.mark.parametrize(
    "outcome",
    [scored(50, 0.0), scored(50, marked=False), scored(float("nan")), scored(120), ScorerUnavailableError("down")],
)
async def test_what_no_scorer_could_judge_has_no_quality(outcome: Score | HyvveError) -> None:
    content: Content = text_content("x")
    assert (await ScoredQuality(OneScore(outcome)).quality("y", content)).value is None
