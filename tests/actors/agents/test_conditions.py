"""Edges are taken as their author reads them: values compare as JSON, and what cannot be compared is no match."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from actors.agents.conditions import Condition, Turn, holds
from actors.agents.routing import Routing
from tests.actors.agents.definitions import compare, defined, edge, signal

CONDITION: TypeAdapter[Any] = TypeAdapter(Condition)
PAD = {
    "score": 80, "ok": True, "name": "whales", "items": [{"n": 1}, {"n": 2.5}], "none": None, "dotted": {"a": {"b": "x"}}
}  # fmt: skip


def decided(condition: Any, *, called_tools: bool = False, wrote: str | None = None) -> bool:
    return holds(CONDITION.validate_python(condition), Turn(called_tools, wrote, PAD))


@pytest.mark.parametrize(
    ("path", "operator", "value", "expected"),
    [
        ("score", "==", 80.0, True), ("score", "!=", 80, False), ("score", ">=", 80, True), ("score", ">", 80, False),
        ("score", "<", "90", False), ("ok", "==", 1, False), ("ok", "==", True, True), ("ok", ">", 0, False),
        ("name", "<", "x", True), ("name", "contains", "whale", True), ("name", "in", ["whales", "seals"], True),
        ("items.1.n", "==", 2.5, True), ("items.2.n", "==", 1, False), ("items", "contains", {"n": 1}, True),
        ("none", "==", None, True), ("none", "exists", None, True), ("absent", "exists", None, False),
        ("absent", "==", None, False), ("absent", "!=", 1, False), ("dotted.a.b", "==", "x", True),
        ("dotted", "contains", "a", True), ("score.deeper", "==", 1, False),
    ],
)  # fmt: skip
def test_the_scratchpad_is_compared_as_json(path: str, operator: str, value: Any, expected: bool) -> None:
    assert decided(compare(path, operator, value)) is expected


def test_calls_and_signals_are_those_of_the_turn() -> None:
    assert decided("ON_TOOL_CALL", called_tools=True)
    assert not decided("on_tool_call")
    assert decided("ON_NO_TOOL_CALL")
    assert decided(None)
    assert decided(signal("GO"), wrote="GO")
    assert not decided(signal("GO"), wrote="STOP")
    assert not decided(signal("GO"))


def test_conditional_edges_go_before_unconditional_ones_and_all_that_hold_are_taken() -> None:
    routing = Routing(
        defined(
            edge("a", "always one"), edge("a", "always two"), edge("a", "high", compare("score", ">", 50)),
            edge("a", "named", compare("name", "==", "whales")), edge("a", "END", signal("STOP")),
        )
    )  # fmt: skip
    assert routing.taken("a", Turn(False, None, PAD)) == ["high", "named"]
    assert routing.taken("a", Turn(False, None, {})) == ["always one", "always two"]
    assert routing.taken("a", Turn(False, "STOP", {})) == []
    assert routing.taken("high", Turn(False, None, PAD)) == []
