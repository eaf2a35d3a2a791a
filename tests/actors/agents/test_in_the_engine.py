"""`EnterpriseWorkflowManager` with `runs`: what it runs is the engine's, and is driven wherever a host is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from actors.agents.enterprise_workflow import EnterpriseWorkflowManager
from actors.agents.kind import kind_of
from actors.agents.node_step import Workshop
from actors.agents.workflow_runs import WorkflowRuns
from actors.errors import DefinitionFaultsError, ThreadForbiddenError
from actors.runs.kinds import Kinds
from tests.actors.agents.definitions import agent, edge, payload
from tests.actors.agents.workshop import Bench, opened
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.stubs.openai import OpenAIStub, calls, completion, tool_call


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
    bench.stub.script.extend([calls(tool_call("note", {"key": "topic", "value": "whales"})), completion("noted")])
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
