"""What a workflow may put together has a limit, which is named where it is passed."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from actors.agents.enterprise_workflow import EnterpriseWorkflowManager
from tests.actors.agents.definitions import agent, defined, edge, payload
from tests.actors.agents.flows import by_agent, flow, run
from tests.actors.agents.workshop import Bench, opened
from tests.stubs.openai import calls, tool_call


async def test_a_scratchpad_past_its_limit_fails_the_step_that_would_fill_it(bench: Bench) -> None:
    document = payload(edge("a", "END"), agent_configs=[agent(allowed_tools=["note"])])
    bench.stub.script.append(calls(tool_call("note", {"key": "big", "value": 1_100_000})))
    outcome = await run(bench, document)
    assert outcome.error is not None
    assert outcome.error["code"] == "scratchpad_too_large"
    assert "1,048,576" in outcome.message


@pytest.mark.parametrize("value", ["x" * 50_000, json.loads("[" * 50 + "1," * 50_000 + "1" + "]" * 50)])
async def test_instructions_past_their_limit_are_never_put_together(bench: Bench, value: Any) -> None:
    """A template of two thousand placeholders, each of a large value, would take gigabytes."""
    template = "{workflow_scratchpad}" * 2_000
    document = payload(edge("a", "END"), agent_configs=[agent(system_message_template=template)])
    tracemalloc.start()
    outcome = await run(bench, document, initial_scratchpad={"big": value})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome.error is not None, outcome.status
    assert (outcome.error["code"], bench.stub.calls) == ("prompt_too_large", [])
    assert "1,048,576" in outcome.message
    assert most < 50_000_000


async def test_a_node_is_not_entered_with_what_only_branches_together_made_too_large(bench: Bench) -> None:
    """Each branch adds what is within the limit, and neither sees the other's."""
    noting = {"allowed_tools": ["note"]}
    document = flow(
        edge("S", "A"), edge("S", "B"), edge("A", "J"), edge("B", "J"), edge("J", "END"), agents={"A": noting, "B": noting}
    )  # fmt: skip
    notes = {name: calls(tool_call("note", {"key": name, "value": 700_000})) for name in "AB"}
    bench.stub.answer = by_agent(S="begin", A=[notes["A"], "a"], B=[notes["B"], "b"], J="joined")
    outcome = await run(bench, document)
    assert outcome.error is not None, outcome.status
    assert (outcome.error["code"], len(bench.stub.calls)) == ("scratchpad_too_large", 5)
    for named in ("'J'", "1,400,0", "1,048,576"):
        assert named in outcome.message


async def test_a_run_does_not_end_with_what_only_its_last_branches_together_made_too_large(bench: Bench) -> None:
    noting = {"allowed_tools": ["note"]}
    document = flow(
        edge("S", "A"), edge("S", "B"), edge("A", "END"), edge("B", "END"), agents={"A": noting, "B": noting}
    )  # fmt: skip
    for size, status in ((500_000, "COMPLETED"), (700_000, "ERROR")):
        notes = {name: calls(tool_call("note", {"key": name, "value": size})) for name in "AB"}
        bench.stub.answer = by_agent(S="begin", A=[notes["A"], "a"], B=[notes["B"], "b"])
        outcome = await run(bench, document)
        assert outcome.status == status, outcome.message
    assert outcome.error is not None
    assert outcome.error["code"] == "scratchpad_too_large"
    for named in ("1,400,0", "1,048,576"):
        assert named in outcome.message


async def test_a_thread_that_goes_on_with_more_is_held_to_the_limit_too(bench: Bench) -> None:
    async with opened(bench) as workshop:
        manager = EnterpriseWorkflowManager(workshop, checkpointer=InMemorySaver())
        definition = defined(edge("a", "END"))
        first = await manager.run_workflow(definition, "one", initial_scratchpad={"one": "x" * 700_000})
        assert first.status == "COMPLETED"
        again = await manager.run_workflow(
            definition, "two", initial_scratchpad={"two": "x" * 700_000}, thread_id=first.thread_id
        )
    assert again.error is not None, again.status
    assert again.error["code"] == "scratchpad_too_large"
    assert len(bench.stub.calls) == 1
