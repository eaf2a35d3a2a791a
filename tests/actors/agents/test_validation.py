"""A definition that could not run is refused when it is saved, and its author is told where each fault is."""

from __future__ import annotations

import itertools
import pickle
import re
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from actors.agents.conditions import Turn
from actors.agents.definition import MAX_EDGES, MAX_NODES, Payload, WorkflowDefinition
from actors.agents.documents import MAX_DEPTH
from actors.agents.paths import Paths
from actors.agents.routing import Routing
from actors.agents.validation import Known, check, faults
from actors.errors import DefinitionFaultsError
from tests.actors.agents.definitions import agent, compare, defined, edge, node, payload, signal

KNOWN = Known(
    llm=lambda choice: choice in {"stub-model", "google"},
    tools=frozenset({"web_search", "decide"}),
    fills={"decide": ("verdict", "score")},
    llms=("stub-model", "google"),
)


def found(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(fault.path, fault.code) for fault in faults(WorkflowDefinition.model_validate(document), KNOWN)]


def test_a_sound_definition_has_no_fault() -> None:
    sound = [
        payload(edge("a", "END")),
        payload(edge("a", "a", "ON_TOOL_CALL"), edge("a", "END"), agent_configs=[agent(allowed_tools=["web_search"])]),
        payload(edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d"), edge("d", "END")),
        payload(edge("a", "b"), edge("b", "a", signal("REVISE")), edge("b", "END", signal("DONE"))),
        payload(edge("a", "b"), edge("b", "a"), edge("b", "END", compare("b.score", ">=", 80))),
        # A branch ends where no edge holds.
        payload(edge("a", "b"), edge("b", "a", compare("b.score", "<", 80))),
        payload(edge("a", "a", "ON_TOOL_CALL"), agent_configs=[agent(allowed_tools=["web_search"])]),
        payload(nodes=[node("a")]),
        payload(
            edge("a", "b"),
            agent_configs=[agent(system_message_template="{topic} {a} {workflow_scratchpad.x} {{braces}} {current_task_description}")],
            nodes=[node("a", output_schema={"type": "object"}), node("b")], inputs=["topic"],
        ),
        payload(
            edge("a", "b", signal("DONE")), nodes=[node("a"), node("b", "Teller")],
            agent_configs=[
                agent(allowed_tools=["decide"]),
                agent("Teller", system_message_template="{verdict}: {score} points, {routing_signal}"),
            ],
        ),
    ]  # fmt: skip
    assert [found(each) for each in sound] == [[]] * len(sound)


@pytest.mark.parametrize(
    ("document", "path", "code"),
    [
        (payload(edge("a", "END"), agent_configs=[agent(llm_choice="gpt-0")]), "$.agent_configs[0].llm_choice", "unknown_llm"),
        (payload(edge("a", "END"), agent_configs=[agent(allowed_tools=["web_search", "rm"])]), "$.agent_configs[0].allowed_tools[1]", "unknown_tool"),
        (payload(nodes=[node("a", review={"policy": {"timeout_seconds": 0}})]), "$.nodes[0].review.policy.timeout_seconds", "greater_than_equal"),
        (payload(nodes=[node("a", review={"policy": {"reviewer": ["ann"]}})]), "$.nodes[0].review.policy.reviewer", "extra_forbidden"),
        (payload(nodes=[node("a", review={"policy": {"needed": 3, "asked": 2}})]), "$.nodes[0].review.policy", "value_error"),
        (payload(nodes=[node("a", review={"reviewer": "ann", "policy": {"needed": 2}})]), "$.nodes[0].review.policy", "agreement"),
        (payload(nodes=[node("a", review={"reviewer": "ann", "policy": {"arbiters": ["ann"]}})]), "$.nodes[0].review.policy", "agreement"),
        (payload(nodes=[node("a", review={"policy": {"timeout_seconds": 9, "on_timeout": "escalate"}})]), "$.nodes[0].review.policy", "value_error"),
        (payload(edge("a", "END"), agent_configs=[agent(llm_choice="none")]), "$.agent_configs[0].allowed_tools", "no_tools"),
        (payload(edge("a", "END"), agent_configs=[agent(), agent()]), "$.agent_configs[1].name", "duplicate"),
        (payload(edge("a", "END"), agent_configs=[agent(system_message_template="On {topic}: {topic}")]), "$.agent_configs[0].system_message_template", "unfilled_placeholder"),
        (payload(edge("a", "END"), agent_configs=[agent(system_message_template="{verdict}"), agent("b", allowed_tools=["decide"])]), "$.agent_configs[0].system_message_template", "unfilled_placeholder"),
        (payload(edge("a", "END"), agent_configs=[agent(system_message_template='Say {"a": 1}')]), "$.agent_configs[0].system_message_template", "unfilled_placeholder"),
        (payload(edge("a", "END"), agent_configs=[agent(system_message_template="open { brace")]), "$.agent_configs[0].system_message_template", "template"),
        (payload(edge("a", "END"), nodes=[node("a", "Nobody")]), "$.nodes[0].agent_config_name", "unknown_agent"),
        (payload(edge("a", "END"), nodes=[node("a"), node("a")]), "$.nodes[1].id", "duplicate"),
        (payload(edge("a", "END"), nodes=[node("a", output_schema={"type": "objekt"})]), "$.nodes[0].output_schema", "schema"),
        (payload(edge("a", "END"), nodes=[node("a", input_schema={"$ref": "https://example.org/s.json"})]), "$.nodes[0].input_schema", "schema"),
        (payload(edge("a", "END"), nodes=[node("a", review={"on": "tool_calls", "tools": ["web_search"]})]), "$.nodes[0].review.tools", "unknown_tool"),
        (payload(edge("a", "END"), start_node_id="z"), "$.start_node_id", "missing_start"),
        (payload(edge("a", "z"), nodes=[node("a")]), "$.edges[0].target_node_id", "dangling_edge"),
        (payload(edge("a", "END"), edge("z", "END"), nodes=[node("a")]), "$.edges[1].source_node_id", "dangling_edge"),
        (payload(edge("a", "END"), edge("a", "END")), "$.edges[1]", "duplicate"),
        (payload(edge("a", "b"), edge("b", "END"), edge("c", "b")), "$.nodes[2].id", "unreachable"),
        (payload(edge("a", "b"), edge("a", "END"), edge("b", "END")), "$.edges[1].condition", "contradiction"),
        (payload(edge("a", "END"), edge("a", "b"), edge("b", "END")), "$.edges[1].condition", "contradiction"),
        (payload(edge("a", "b"), edge("b", "a")), "$.nodes[0]", "endless_loop"),
        (payload(edge("a", "b"), edge("b", "b", "ON_NO_TOOL_CALL")), "$.nodes[1]", "endless_loop"),
        (payload(edge("a", "a"), edge("a", "b")), "$.nodes[0]", "endless_loop"),
        (payload(edge("a", "b"), edge("b", "a"), edge("a", "c")), "$.nodes[0]", "endless_loop"),
        (payload(edge("a", "b"), edge("b", "b"), edge("b", "a"), edge("a", "END", signal("DONE"))), "$.nodes[1]", "endless_loop"),
        (payload(edge("a", "a", "ON_TOOL_CALL"), edge("a", "END"), agent_configs=[agent(llm_choice="none", allowed_tools=["web_search"])]), "$.nodes[0]", "endless_loop"),
        (payload(edge("a", "END", "ON_TOOL_CALL")), "$.edges[0].condition", "never_holds"),
        (payload(edge("a", "END", compare("n", ">", None))), "$.edges[0].condition.value", "comparison"),
    ],
)  # fmt: skip
def test_each_fault_is_found_where_it_is(document: dict[str, Any], path: str, code: str) -> None:
    assert found(document) == [(path, code)]


def test_the_documented_definition_is_sound() -> None:
    documented = Path(__file__).parents[3] / "docs" / "workflows.md"
    [written] = re.findall(r"```json\n(.*?)```", documented.read_text(), re.DOTALL)
    known = Known(llm=lambda choice: choice in {"google", "openai"}, tools=frozenset({"web_search"}))
    assert faults(WorkflowDefinition.model_validate(orjson.loads(written)), known) == []


def test_all_faults_are_told_at_once_and_the_error_survives_a_process_boundary() -> None:
    broken = payload(edge("a", "z"), edge("y", "a"), start_node_id="x", agent_configs=[agent(llm_choice="gpt-0")])
    broken["nodes"] = [node("a")]
    with pytest.raises(DefinitionFaultsError) as caught:
        check(WorkflowDefinition.model_validate(broken), KNOWN)
    error = pickle.loads(pickle.dumps(caught.value))
    assert {each["code"] for each in error.details["errors"]} == {"unknown_llm", "dangling_edge", "missing_start"}
    assert "there are stub-model, google" in error.message


def nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth):
        document = {"properties": document}
    return document


@pytest.mark.parametrize(
    ("document", "limit"),
    [
        (payload(edge("a", "END"), nodes=[node(f"n{i}") for i in range(10_000)]), f"10,000 nodes; the limit is {MAX_NODES}"),
        (payload(*(edge("a", f"n{i}") for i in range(MAX_EDGES + 1)), nodes=[node("a")]), f"the limit is {MAX_EDGES:,}"),
        (payload(edge("a", "END"), nodes=[node("a", input_schema=nested(80))]), f"the limit of {MAX_DEPTH} levels"),
        (payload(edge("a", "END"), nodes=[node("a", input_schema=nested(5_000))]), f"the limit of {MAX_DEPTH} levels"),
        (payload(edge("a", "END"), agent_configs=[agent(f"x{i}", system_message_template="x" * 40_000) for i in range(30)]), "the limit of 1,000,000 bytes"),
        (payload(edge("a", "END"), agent_configs=[agent(system_message_template="x" * 50_001)]), "50000"),
    ],
)  # fmt: skip
def test_what_is_too_large_is_refused_with_the_limit_named(document: dict[str, Any], limit: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Payload).validate_python(document)
    assert limit in str(caught.value)


@pytest.mark.parametrize("name", ["END", "messages", "__start__", "a/tools", "a:b", "a|b", "", " a", "x" * 101])
def test_a_node_cannot_take_a_name_that_the_graph_needs(name: str) -> None:
    with pytest.raises(ValidationError):
        defined(nodes=[node(name)], start_node_id=name)


@pytest.mark.parametrize(
    "condition", ["SOMETIMES", {"type": "ON_ROUTING_SIGNAL"}, {"signal": "A"}, 7, {"type": "ALWAYS", "also": 1}]
)
def test_a_condition_that_nobody_knows_is_refused(condition: Any) -> None:
    with pytest.raises(ValidationError):
        defined(edge("a", "END", condition))


def test_branches_that_run_at_once_meet_where_both_lead_and_loops_never_wait_for_themselves() -> None:
    diamond = defined(
        edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "c2"), edge("c2", "d"), edge("d", "END")
    )
    assert Paths(diamond).gates("a") == {"d": {"a", "b", "c", "c2"}}
    either = defined(edge("a", "b", signal("X")), edge("a", "c", signal("Y")), edge("b", "d"), edge("c", "d"))
    assert Paths(either).gates("a") == {}
    again = defined(*diamond_edges(), edge("d", "a", signal("AGAIN")), edge("d", "END", signal("DONE")))
    assert Paths(again).gates("a") == {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"a", "b", "c"}}


@pytest.mark.timed
def test_the_joins_of_the_largest_definition_are_found_before_other_runs_would_notice() -> None:
    def condition(number: int) -> dict[str, Any]:
        return {"type": "ON_SCRATCHPAD", "path": f"k{number}", "operator": "exists"}

    names = [f"n{number}" for number in range(MAX_NODES)]
    edges = [edge("n0", names[1 + number % (MAX_NODES - 1)], condition(number)) for number in range(MAX_EDGES // 2)]
    onward = [edge(one, other) for gap in (1, 2, 3) for one, other in zip(names[1:], names[1 + gap :], strict=False)]
    definition = defined(*edges, *onward[: MAX_EDGES // 2], nodes=[node(name) for name in names], start_node_id="n0")
    began = time.process_time()
    joins = Paths(definition).gates("n0")
    # The runs of a host share the thread that this takes.
    assert time.process_time() - began < 1.0
    assert set(joins) == set(names[2:])


SOMETIMES = ["ON_TOOL_CALL", "ON_NO_TOOL_CALL", signal("X"), compare("k", "exists")]


@pytest.mark.parametrize(
    ("names", "conditions", "most"), [("ab", ["ALWAYS", *SOMETIMES], 3), ("abc", ["ALWAYS", signal("X")], 3)]
)
def test_a_loop_is_refused_if_and_only_if_no_turns_at_all_would_end_it(
    names: str, conditions: list[Any], most: int
) -> None:
    """Of every small graph, against the routing that runs follow."""
    every = [edge(*pair, condition) for pair in itertools.product(names, [*names, "END"]) for condition in conditions]
    agents = [agent(allowed_tools=["web_search"])]
    verdicts = set()
    for chosen in itertools.chain.from_iterable(itertools.combinations(every, n) for n in range(1, most + 1)):
        definition = defined(*chosen, nodes=[node(name) for name in names], start_node_id="a", agent_configs=agents)
        refused = any(fault.code == "endless_loop" for fault in faults(definition, KNOWN))
        assert refused != all(can_end(Routing(definition), name) for name in names), chosen
        verdicts.add(refused)
    assert verdicts == {True, False}


def can_end(routing: Routing, start: str) -> bool:
    """Whether some turns end all that a branch at this node sets going."""

    def outcomes(name: str) -> set[frozenset[str]]:
        called = (False, True) if routing.waits_for_tool_call(name) else (False,)
        turns = itertools.product(called, (None, "X"), ({}, {"k": 1}))
        return {frozenset(routing.taken(name, Turn(called_tools=c, signal=s, scratchpad=p))) for c, s, p in turns}

    seen: set[frozenset[str]] = set()
    left = [frozenset({start})]
    while left:
        running = left.pop()
        if not running:
            return True
        if running not in seen:
            seen.add(running)
            left += [frozenset().union(*taken) for taken in itertools.product(*map(outcomes, sorted(running)))]
    return False


def diamond_edges() -> list[dict[str, Any]]:
    return [edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")]


def test_joins_of_any_small_graph_are_ordered_so_no_two_wait_for_each_other() -> None:
    names = "abc"
    pairs = list(itertools.product(names, names))
    for chosen in itertools.chain.from_iterable(itertools.combinations(pairs, n) for n in range(1, 6)):
        definition = defined(*(edge(*pair) for pair in chosen), nodes=[node(name) for name in names], start_node_id="a")
        joins = Paths(definition).gates("a")
        assert not any(one in joins.get(other, ()) and other in joins.get(one, ()) for one in names for other in names)
