"""When an edge is taken: the conditions of a workflow's edges, and how they are decided.

On the wire a condition is a name (`"ALWAYS"`, `"ON_TOOL_CALL"`, `"ON_NO_TOOL_CALL"`) or an object with that name as
`type`. The two that look at the scratchpad are objects: `{"type": "ON_ROUTING_SIGNAL", "signal": "APPROVED"}` and
`{"type": "ON_SCRATCHPAD", "path": "review.score", "operator": ">=", "value": 80}`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, StringConstraints, Tag
from pydantic_core import PydanticCustomError

# Where agents and tools write their signal.
SIGNAL_KEY = "routing_signal"

Operator = Literal["==", "!=", ">", ">=", "<", "<=", "in", "contains", "exists"]


class _Condition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Always(_Condition):
    """Taken where no conditional edge of the same node holds."""

    type: Literal["ALWAYS"] = "ALWAYS"


class OnToolCall(_Condition):
    """The agent called a tool; taken once the tools have answered."""

    type: Literal["ON_TOOL_CALL"] = "ON_TOOL_CALL"


class OnNoToolCall(_Condition):
    """The agent answered without calling a tool."""

    type: Literal["ON_NO_TOOL_CALL"] = "ON_NO_TOOL_CALL"


class OnRoutingSignal(_Condition):
    """The agent, or a tool that it called, wrote this `routing_signal` during its turn. An older one does not count."""

    type: Literal["ON_ROUTING_SIGNAL"]
    signal: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]


class OnScratchpad(_Condition):
    """What the scratchpad holds at `path` (keys and list positions, joined by dots) compares so with `value`.

    What is not there, and values of kinds that cannot be compared, compare as false. `in`: the found one is an element
    of `value`; `contains`: `value` is an element, a key or a part of the found one; `exists` takes no `value`.
    """

    type: Literal["ON_SCRATCHPAD"]
    path: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500)]
    operator: Operator
    value: Any = None


NAMES = ("ALWAYS", "ON_TOOL_CALL", "ON_NO_TOOL_CALL", "ON_ROUTING_SIGNAL", "ON_SCRATCHPAD")


def _named(value: Any) -> Any:
    """The object form. An absent condition is `ALWAYS`."""
    if value is None:
        return {"type": "ALWAYS"}
    if isinstance(value, str):
        value = {"type": value.upper()}
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    if kind not in NAMES:
        raise PydanticCustomError("unknown_condition", f"must be one of {', '.join(NAMES)}, or an object whose type is")
    return value


_Written = (
    Literal["ALWAYS", "ON_TOOL_CALL", "ON_NO_TOOL_CALL"] | Always | OnToolCall | OnNoToolCall | OnRoutingSignal
    | OnScratchpad | None
)  # fmt: skip


def _tag(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else value.type


Condition = Annotated[
    Annotated[Always, Tag("ALWAYS")]
    | Annotated[OnToolCall, Tag("ON_TOOL_CALL")]
    | Annotated[OnNoToolCall, Tag("ON_NO_TOOL_CALL")]
    | Annotated[OnRoutingSignal, Tag("ON_ROUTING_SIGNAL")]
    | Annotated[OnScratchpad, Tag("ON_SCRATCHPAD")],
    Discriminator(_tag),
    BeforeValidator(_named, json_schema_input_type=_Written),
]


@dataclass(frozen=True, slots=True)
class Turn:
    """What edges are decided on: the turn that a node just ended. `signal` is what this turn wrote, if anything."""

    called_tools: bool
    signal: str | None
    scratchpad: Mapping[str, Any]


def holds(condition: Condition, turn: Turn) -> bool:
    """Whether the condition holds after this turn."""
    match condition:
        case Always():
            return True
        case OnToolCall():
            return turn.called_tools
        case OnNoToolCall():
            return not turn.called_tools
        case OnRoutingSignal():
            return turn.signal == condition.signal
        case OnScratchpad():
            return _compares(condition, turn.scratchpad)


def exclude_each_other(one: Condition, other: Condition) -> bool:
    """Whether the two can never be taken after the same turn."""
    if isinstance(one, Always) != isinstance(other, Always):
        return True
    if {one.type, other.type} == {"ON_TOOL_CALL", "ON_NO_TOOL_CALL"}:
        return True
    if isinstance(one, OnRoutingSignal) and isinstance(other, OnRoutingSignal):
        return one.signal != other.signal
    if isinstance(one, OnScratchpad) and isinstance(other, OnScratchpad):
        return one.path == other.path and _disjoint(one, other)
    return False


_NEGATED = {("==", "!="), (">", "<="), (">=", "<")}


def _disjoint(one: OnScratchpad, other: OnScratchpad) -> bool:
    if one.operator == other.operator == "==":
        return not same(one.value, other.value)
    pair = (one.operator, other.operator)
    return same(one.value, other.value) and (pair in _NEGATED or pair[::-1] in _NEGATED)


_MISSING = object()
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le
}  # fmt: skip


def _compares(condition: OnScratchpad, scratchpad: Mapping[str, Any]) -> bool:
    found = look_up(scratchpad, condition.path, _MISSING)
    if condition.operator == "exists":
        return found is not _MISSING
    if found is _MISSING:
        return False
    wanted = condition.value
    match condition.operator:
        case "==":
            return same(found, wanted)
        case "!=":
            return not same(found, wanted)
        case "in":
            return isinstance(wanted, list) and any(same(found, each) for each in wanted)
        case "contains":
            return _contains(found, wanted)
        case order:
            return _comparable(found, wanted) and _ORDER[order](found, wanted)


def look_up(document: Any, path: str, default: Any = None) -> Any:
    """What stands at a dotted path of keys and list positions."""
    for part in path.split("."):
        if isinstance(document, Mapping) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return default
    return document


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: `true` is not 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return bool(one == other)


def _comparable(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return numbers or (isinstance(one, str) and isinstance(other, str))


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(found, str):
        return isinstance(wanted, str) and wanted in found
    if isinstance(found, dict):
        return isinstance(wanted, str) and wanted in found
    return isinstance(found, list) and any(same(each, wanted) for each in found)
