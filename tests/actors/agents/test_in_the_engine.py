"""`EnterpriseWorkflowManager` with `runs`: what it runs is the engine's, and is driven wherever a host is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from actors.agents.deps import ToolContext
from actors.agents.enterprise_workflow import EnterpriseWorkflowManager
from actors.agents.kind import kind_of
from actors.agents.node_step import Workshop
from actors.agents.tools.registry import TOOLS
from actors.agents.tools.tool import ToolResult
from actors.agents.workflow_runs import WorkflowRuns
from actors.errors import DefinitionFaultsError, RunConflictError, ThreadForbiddenError
from actors.runs.kinds import Kinds
from storage import verifications
from tests.actors.agents.definitions import agent, edge, node, payload
from tests.actors.agents.tools.bench import CREATOR
from tests.actors.agents.tools.bench import Bench as ToolsBench
from tests.actors.agents.workshop import Bench, opened
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.stubs.openai import OpenAIStub, calls, completion, error, tool_call


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with OpenAIStub(lambda _: completion("done")) as stub:
        yield Bench(stub)


@asynccontextmanager
async def hosted(
    workshop: Workshop, database_url: str, redis_url: str, directory: Path
) -> AsyncIterator[tuple[Engine, WorkflowRuns]]:
    """A host whose agents work with this."""

    async def nothing() -> None: ...

    setup = engines.setup_of(database_url, redis_url, directory, lambda _: Kinds([kind_of(workshop)], nothing))
    async with engines.opened(setup) as engine:
        await engine.host()
        runs = WorkflowRuns(engine.runs, database_url)
        yield engine, runs
        await runs.close()


async def test_a_manager_with_runs_has_the_engine_run_it(
    bench: Bench, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    definition = payload(edge("a", "END"), agent_configs=[agent(allowed_tools=["note"])])
    # An id that no row could hold is a model's to write.
    odd = tool_call("note", {"key": "topic", "value": "whales"}, call_id="\x00" * 5_000)
    bench.stub.script.extend([calls(odd), completion("noted")])
    async with opened(bench) as workshop, hosted(workshop, database_url, redis_url, tmp_path) as (engine, runs):
        manager = EnterpriseWorkflowManager(workshop, runs=runs)
        outcome = await manager.run_workflow(
            definition, "the task", initial_scratchpad={"given": 1}, thread_id="t", wallet="0xa", wait_s=60
        )
        assert (outcome.status, outcome.message, outcome.thread_id) == ("COMPLETED", "noted", "t")
        assert outcome.final_state["workflow_scratchpad"] == {"given": 1, "topic": "whales"}
        assert (bench.notes, bench.wallets) == ([("topic", "whales")], ["0xa"])
        assert isinstance(outcome.run_id, UUID)
        run = await engine.ended(outcome.run_id)
        assert (run.status, run.owner, run.thread_id) == ("completed", "0xa", "t")
        assert {"tool.called", "llm.used", "run.completed"} <= set(await engine.told(run.run_id))
        # The thread goes on, and is its wallet's; a definition with a fault never becomes a run.
        again = await manager.run_workflow(definition, "more", thread_id="t", wallet="0xa", wait_s=60)
        assert [each["content"] for each in again.final_state["messages"]][-2:] == ["more", "done"]
        with pytest.raises(ThreadForbiddenError):
            await manager.run_workflow(definition, "mine", thread_id="t", wallet="0xb")
        with pytest.raises(DefinitionFaultsError):
            await manager.run_workflow(payload(edge("a", "b"), edge("b", "a")), "round")
        assert len(await engine.runs.list()) == 2
        other = await engine.runs.start("counting", {"steps": 1}, {"trail": []}, owner="0xa")
        with pytest.raises(RunConflictError, match="not a workflow's"):
            await manager.run_workflow(definition, "mine", thread_id=other.thread_id, wallet="0xa")


async def test_what_a_tool_could_not_do_is_tried_again_when_the_run_is_retried(
    bench: Bench, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    silent = agent(llm_choice="none", allowed_tools=["note"])
    definition = payload(edge("a", "END"), agent_configs=[silent], nodes=[node("a", retry={"max_attempts": 1})])
    async with opened(bench) as workshop, hosted(workshop, database_url, redis_url, tmp_path) as (engine, runs):
        bench.down = True
        outcome = await EnterpriseWorkflowManager(workshop, runs=runs).run_workflow(
            definition, "the task", initial_scratchpad={"key": "topic", "value": "whales"}, wait_s=60
        )
        assert (outcome.status, outcome.run_id is not None) == ("ERROR", True), outcome
        assert outcome.error is not None
        assert (outcome.error["code"], outcome.error["class"]) == ("blob_unavailable", "retryable")
        bench.down = False
        assert outcome.run_id is not None
        await engine.runs.retry(outcome.run_id)
        ended = await engine.ended(outcome.run_id)
    assert (ended.status, ended.attempt, ended.error) == ("completed", 2, None)
    assert bench.notes == [("topic", "whales")]


async def test_a_retry_asks_a_model_anew_whose_calls_its_tools_refused(
    bench: Bench, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    definition = payload(edge("a", "END"), agent_configs=[agent(allowed_tools=["note"])])
    bad, good = (calls(tool_call("note", {"key": key, "value": "whales"})) for key in ("", "topic"))
    bench.stub.script.extend([bad, bad])
    async with opened(bench) as workshop, hosted(workshop, database_url, redis_url, tmp_path) as (engine, runs):
        outcome = await EnterpriseWorkflowManager(workshop, runs=runs).run_workflow(definition, "the task", wait_s=60)
        assert outcome.error is not None, outcome
        assert (outcome.error["code"], outcome.error["step"]) == ("tool_call", "a/tools")
        assert len(bench.stub.calls) == 2
        assert outcome.run_id is not None
        # Told once in each attempt of the run.
        bench.stub.script.append(bad)
        await engine.runs.retry(outcome.run_id)
        failed = await engine.ended(outcome.run_id)
        assert failed.error is not None
        assert (failed.error["code"], len(bench.stub.calls)) == ("tool_call", 3)
        bench.stub.script.extend([good, completion("noted")])
        await engine.runs.retry(outcome.run_id)
        ended = await engine.ended(outcome.run_id)
    assert ended.status == "completed", ended.error
    assert bench.notes == [("topic", "whales")]
    assert bench.stub.calls[3].text.count("a note needs a key") == 3


async def test_a_tool_that_writes_acts_once_though_its_host_dies_before_that_is_recorded(
    bench: Bench, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Of two calls in one step the first is recorded, and the second has just acted. Whatever the host does from then
    on is refused, as if it had been killed.
    """
    name = "UpdateContributionVerificationTool"
    tools = await ToolsBench.open(database_url=database_url, redis_url=redis_url, data_dir=tmp_path)
    await tools.campaign()
    judged = [await tools.contribute(data) for data in (b"one recipe", b"another recipe")]
    acted: list[str | None] = []
    never = asyncio.Event()

    async def act(arguments: Any, context: ToolContext) -> ToolResult:
        result = await TOOLS[name].run(arguments, context)
        acted.append(context.idempotency_key)
        if len(acted) == len(judged):
            await never.wait()
        return result

    def open_context(*, wallet: str | None, scratchpad: Mapping[str, Any], idempotency_key: str | None) -> ToolContext:
        return tools.context(wallet, scratchpad=scratchpad, key=idempotency_key)

    bench.stub.script.append(calls(*(
        tool_call(name, {"contribution_id": str(each), "verdict": "ACCEPT", "score": 90, "reasoning": "Good."})
        for each in judged
    )))  # fmt: skip
    definition = payload(edge("a", "END"), agent_configs=[agent(allowed_tools=[name])])
    async with opened(bench) as usual:
        workshop = replace(usual, tools={name: replace(TOOLS[name], run=act)}, open_context=open_context)
        async with hosted(workshop, database_url, redis_url, tmp_path) as (engine, runs):
            manager = EnterpriseWorkflowManager(workshop, runs=runs)
            running = asyncio.create_task(manager.run_workflow(definition, "judge", wallet=CREATOR, wait_s=60))
            await engines.until(lambda: len(acted) == len(judged))
            await engine.host(name="another")
            outcome = await running
            never.set()
            assert (outcome.status, outcome.message) == ("COMPLETED", "done"), outcome
            assert outcome.run_id is not None
            assert (await engine.told(outcome.run_id)).count("step.completed") == 3
    # The one that was recorded was not made again; the other was, under its name, and told that it had acted.
    assert acted == [acted[0], acted[1], acted[1]]
    async with tools.workplace.database.read() as session:
        found = [await verifications.of_contribution(session, each, limit=5) for each in judged]
    assert [[each.verdict for each in results] for results in found] == [["ACCEPT"], ["ACCEPT"]]
    await tools.workplace.close()


async def test_a_nodes_limits_hold_in_the_engine(
    bench: Bench, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    schema = {"type": "object", "required": ["topic"]}
    limits: dict[str, Any] = {"timeout_s": 2.0, "retry": {"max_attempts": 3, "initial_s": 0.01}, "input_schema": schema}
    definition = payload(edge("a", "END"), nodes=[node("a", **limits)])
    bench.stub.script.extend(
        [completion("late", delay_s=30), error(503), completion('{"topic": "whales"}'), completion("mammals")]
    )
    async with opened(bench) as workshop, hosted(workshop, database_url, redis_url, tmp_path) as (engine, runs):
        outcome = await EnterpriseWorkflowManager(workshop, runs=runs).run_workflow(definition, "whales", wait_s=60)
        assert (outcome.status, outcome.message) == ("COMPLETED", "mammals"), outcome
        assert outcome.final_state["workflow_scratchpad"] == {"topic": "whales"}
        assert outcome.run_id is not None
        events = await engine.runs.events(outcome.run_id)
        run = await engine.runs.get(outcome.run_id)
    retried = [each.data["error"]["code"] for each in events if each.type == "step.retrying"]
    assert retried == ["step_timeout", "llm_unavailable"]
    assert [each.data["faults"] for each in events if each.type == "input.refused"] == [
        ['$: "topic" is a required property']
    ] * 3
    # What the answer that came too late has cost is counted, too.
    assert run.usage["calls"] == 3
    assert run.usage["prompt_tokens"] > 800


async def test_what_the_last_branches_together_made_too_large_is_no_run_that_is_completed(
    bench: Bench, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    branches = [edge("S", "A"), edge("S", "B"), edge("A", "END"), edge("B", "END")]
    notes = [calls(tool_call("note", {"key": name, "value": 700_000})) for name in "AB"]
    bench.stub.script.extend([completion("begin"), *notes])
    async with opened(bench) as workshop, hosted(workshop, database_url, redis_url, tmp_path) as (engine, runs):
        manager = EnterpriseWorkflowManager(workshop, runs=runs)
        definition = payload(*branches, agent_configs=[agent(allowed_tools=["note"])])
        outcome = await manager.run_workflow(definition, "the task", wait_s=60)
        assert outcome.error is not None, outcome.status
        assert (outcome.status, outcome.error["code"]) == ("ERROR", "scratchpad_too_large")
        assert "1,048,576" in outcome.message
        assert outcome.run_id is not None
        await engine.runs.retry(outcome.run_id)
        assert (await engine.ended(outcome.run_id)).status == "failed", "a retry completed it with nothing"


async def test_a_tool_that_is_gone_since_the_run_was_accepted_fails_it_by_its_name(
    bench: Bench, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    definition = payload(edge("a", "END"), agent_configs=[agent(allowed_tools=["note"])])
    async with opened(bench) as workshop:
        fewer = replace(workshop, tools={"web_search": workshop.tools["web_search"]})
        async with hosted(fewer, database_url, redis_url, tmp_path) as (_, runs):
            manager = EnterpriseWorkflowManager(workshop, runs=runs)
            outcome = await manager.run_workflow(definition, "the task", wait_s=60)
    assert outcome.error is not None
    assert (outcome.status, outcome.error["code"]) == ("ERROR", "unknown_tool")
    assert "'note'" in outcome.message
    assert "web_search" in outcome.message
    assert bench.stub.calls == []
