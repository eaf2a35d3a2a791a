"""What a step does beside computing: done once, written with its result, told in order."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from actors.runs.step import current
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine


@pytest.fixture(autouse=True)
async def ledger(engine: Engine) -> None:
    async with engine.database.begin() as session:
        await session.execute(text("CREATE TABLE ledger (note text PRIMARY KEY, at timestamptz)"))


async def notes(engine: Engine) -> list[str]:
    async with engine.database.read() as session:
        return list((await session.execute(text("SELECT note FROM ledger"))).scalars())


async def test_a_step_that_is_tried_again_does_its_effect_once_and_keeps_the_last_trys_rows(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("effectful", {"fails": 2}, {"trail": []})
    ended = await engine.ended(run.run_id)
    assert ended.output == {"trail": ["1 1", "thread"]}
    assert engines.done == [f"{run.run_id}:act@1/pay"]
    assert await notes(engine) == [f"{run.run_id} try 3"]
    assert ended.progress == {"paid": 1}
    told = await engine.told(run.run_id)
    assert (told.count("paid"), told.count("step.retrying"), told.count("from.a.thread")) == (3, 2, 1)


async def test_an_effect_whose_host_died_before_the_steps_end_is_not_repeated(engine: Engine) -> None:
    host = await engine.host()
    run = await engine.runs.start("effectful", {"gate": "g"}, {"trail": []})
    async with asyncio.timeout(60):
        while "paid" not in [event.type for event in await engine.runs.events(run.run_id)]:
            await asyncio.sleep(0.01)
    await engine.stop(host)
    # A row goes with its step's result, which is not there.
    assert await notes(engine) == []
    engines.gate("g").set()
    await engine.host()
    ended = await engine.ended(run.run_id)
    assert ended.output == {"trail": ["1 1", "thread"]}
    assert engines.done == [f"{run.run_id}:act@1/pay"]
    assert await notes(engine) == [f"{run.run_id} try 1"]


async def test_a_failed_runs_effects_stay_done_when_it_is_retried(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("effectful", {"fails": 3}, {"trail": []})
    assert (await engine.ended(run.run_id)).status == "failed"
    assert await notes(engine) == []
    await engine.runs.retry(run.run_id)
    assert (await engine.ended(run.run_id)).status == "completed"
    assert len(engines.done) == 1


async def test_a_graph_runs_alone_without_the_engine(engine: Engine) -> None:
    graph = engines.effectful({"fails": 0}).compile()
    # Nothing is remembered: both calls are made.
    assert (await graph.ainvoke({"trail": []}))["trail"] == ["1 2", "thread"]
    assert current().run_id is None
    assert await notes(engine) == []


async def test_an_event_that_is_too_large_or_no_json_costs_no_run(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("talkative", {}, {"trail": []})
    assert (await engine.ended(run.run_id)).status == "completed"
    await engine.told(run.run_id)
    said = [event.data for event in await engine.runs.events(run.run_id) if event.type == "said"]
    assert said[0]["left_out_bytes"] > 100_000
    assert said[1]["text"] == "NUL  is not"
    assert said[2]["what"].startswith("<object")
    assert "ud800" in str(said[3])


async def test_a_step_whose_row_cannot_be_written_has_no_result_either(engine: Engine) -> None:
    """LangGraph asks for a step's writes and for the checkpoint after them without looking at the first."""
    await engine.host()
    async with engine.database.begin() as session:
        await session.execute(text("ALTER TABLE ledger ADD CONSTRAINT refused CHECK (note NOT LIKE '%try 1')"))
    run = await engine.runs.start("effectful", {}, {"trail": []})
    ended = await engine.ended(run.run_id)
    assert (ended.status, ended.steps) == ("failed", 0)
    events = await engine.runs.events(run.run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert "step.completed" not in [event.type for event in events]

    async with engine.database.begin() as session:
        await session.execute(text("ALTER TABLE ledger DROP CONSTRAINT refused"))
    await engine.runs.retry(run.run_id)
    assert (await engine.ended(run.run_id)).status == "completed"
    assert await notes(engine) == [f"{run.run_id} try 1"]
    events = await engine.runs.events(run.run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
