"""Which checkpoints there are: the built-in ones, the examples beside them, and those that packages name.

A package offers one by `[project.entry-points."hyvve.checkpoints"]`, `name = "module:Class"`, the class being a
`Checkpoint` of that name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import ValidationError

from actors.errors import BadCheckpointError, ReviewRuleError
from actors.reviews.checkpoints.base import Checkpoint
from actors.reviews.checkpoints.built_in import BUILT_IN
from actors.reviews.checkpoints.content_moderation import ContentModeration
from actors.reviews.checkpoints.cost_approval import CostApproval
from actors.reviews.checkpoints.security_scan import SecurityScan

GROUP = "hyvve.checkpoints"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_EXAMPLES: tuple[type[Checkpoint], ...] = (ContentModeration, CostApproval, SecurityScan)
_SHIPPED: Mapping[str, type[Checkpoint]] = {kind.name: kind for kind in (*BUILT_IN, *_EXAMPLES)}
STANDARD = tuple(kind.name for kind in BUILT_IN)
"""Those that are on in every run unless its owner names others. The rest is on where the operator or the run's owner
says so, for what is merely installed changes nobody's runs.
"""


def names() -> tuple[str, ...]:
    """The shipped ones first, then those found, by name."""
    return (*_SHIPPED, *sorted({point.name for point in _found()} - set(_SHIPPED)))


def opened(allowed_steps: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> tuple[Checkpoint, ...]:
    """The checkpoints that a run has: those of `allowed_steps`, or the standard ones where none is named, and those
    that `options` names. In the order of `names`.

    Raises `ReviewRuleError` for an unknown name or wrong options, its `errors` with their paths in `hitl_config`, and
    `BadCheckpointError` for one that cannot be loaded.
    """
    known = names()
    wrong = [
        {"path": f"$.hitl_config.allowed_steps[{place}]", "message": _unknown(step, known), "code": "unknown"}
        for place, step in enumerate(allowed_steps) if step not in known
    ]  # fmt: skip
    wrong += [
        {"path": f"$.hitl_config.checkpoints.{name}", "message": _unknown(name, known), "code": "unknown"}
        for name in options if name not in known
    ]  # fmt: skip
    if allowed_steps:
        wrong += [
            {"path": f"$.hitl_config.checkpoints.{name}", "message": "is not among allowed_steps", "code": "not_on"}
            for name in options if name in known and name not in allowed_steps
        ]  # fmt: skip
    made: list[Checkpoint] = []
    for name in known:
        if name not in (allowed_steps or STANDARD) and name not in options:
            continue
        kind = _kind(name)
        try:
            made.append(kind(kind.options_model.model_validate(options.get(name, {}))))
        except ValidationError as error:
            wrong += [
                {
                    "path": ".".join((f"$.hitl_config.checkpoints.{name}", *map(str, each["loc"]))),
                    "message": str(each["msg"]).removeprefix("Value error, "),
                    "code": each["type"],
                }
                for each in error.errors()
            ]
    if wrong:
        said = "; ".join(f"{each['path']}: {each['message']}" for each in wrong[:5])
        raise ReviewRuleError(said, errors=wrong)
    return tuple(made)


def forget_found() -> None:
    """Look for entry points anew: a package was installed."""
    _found.cache_clear()


def _unknown(name: str, known: Sequence[str]) -> str:
    return f"there is no checkpoint {name[:100]!r}; there are {', '.join(known)}"


@cache
def _found() -> tuple[EntryPoint, ...]:
    # Once a process: every installed package's metadata is read for it.
    return tuple(entry_points(group=GROUP))


def _kind(name: str) -> type[Checkpoint]:
    if name in _SHIPPED:
        return _SHIPPED[name]
    points = [point for point in _found() if point.name == name]
    if len({point.value for point in points}) > 1:
        both = " and ".join(sorted({point.value for point in points}))
        raise BadCheckpointError(f"two packages offer a checkpoint {name!r}: {both}; uninstall one", subject=name)
    try:
        kind = points[0].load()
    except Exception as error:  # whatever a stranger's module does at its import
        raise BadCheckpointError(
            f"the checkpoint {name!r} cannot be loaded from {points[0].value}: {type(error).__name__}: {error}"[:500],
            subject=name,
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Checkpoint)) or kind.__abstractmethods__:
        raise BadCheckpointError(f"{points[0].value} is no Checkpoint", subject=name)
    if getattr(kind, "name", None) != name or _NAME.fullmatch(name) is None:
        raise BadCheckpointError(
            f"{points[0].value} calls itself {getattr(kind, 'name', None)!r}, its entry point {name!r}; both are one "
            "lower-case word",
            subject=name,
        )
    found: type[Checkpoint] = kind
    return found
