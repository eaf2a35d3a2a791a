"""Checkpoints and events do not grow without bound, and nothing that is still needed is removed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from sqlalchemy import text

from actors.errors import RunConflictError
from actors.runs import retention
from actors.runs.checkpointer import GroupCommitSaver
from actors.runs.kinds import Kind
from actors.runs.step import current
from actors.settings import RunSettings
from storage import runs
from storage.clock import now
from storage.errors import NotFoundError
from storage.ids import new_id
from storage.reviews import Review
from storage.runs import SHARDS
from tests.actors.runs.engine import Engine, Trail, chain, kinds, opened, setup_of

SETTINGS = RunSettings(history_s=100, checkpoints_s=200, events_s=300, rows_s=400)


async def counts(engine: Engine, thread_id: str) -> tuple[int, int]:
    async with engine.database.read() as session:
        query = (
            "SELECT (SELECT count(*) FROM run_checkpoints WHERE thread_id = :id),"
            " (SELECT count(*) FROM run_checkpoint_writes WHERE thread_id = :id)"
        )
        row = (await session.execute(text(query), {"id": thread_id})).one()
    return row[0], row[1]


async def test_ended_runs_lose_their_history_then_their_checkpoint_then_their_events(
    engine: Engine, database_url: str
) -> None:
    await engine.host()
    run = await engine.runs.start("counting", {"steps": 5}, {"trail": []})
    await engine.ended(run.run_id)
    waiting = await engine.runs.start("asking", {}, {"trail": []})
    await engine.waiting(waiting.run_id)
    kept = await counts(engine, waiting.thread_id)
    first = (await engine.runs.checkpoints(run.run_id))[-1]
    async with GroupCommitSaver.open(database_url) as saver:

        async def after(seconds: float) -> int:
            moment = now() + timedelta(seconds=seconds)
            return await retention.tidy(engine.database, saver, range(SHARDS), SETTINGS, at=moment)

        assert await after(50) == 0
        assert (await counts(engine, run.thread_id))[0] == 7
        assert await after(150) == 1
        assert (await counts(engine, run.thread_id))[0] == 1
        # Its end can still be gone on from.
        fork = await engine.runs.fork(run.run_id)
        assert (await engine.ended(fork.run_id)).output == {"trail": ["0", "1", "2", "3", "4"]}
        with pytest.raises(NotFoundError, match="any more"):
            await engine.runs.fork(run.run_id, first.checkpoint_id)
        assert await after(250) > 0
        assert await counts(engine, run.thread_id) == (0, 0)
        assert len(await engine.runs.events(run.run_id)) > 0
        assert await after(350) > 0
        assert await engine.runs.events(run.run_id) == []
        assert (await engine.runs.get(run.run_id)).output == {"trail": ["0", "1", "2", "3", "4"]}
    assert await counts(engine, waiting.thread_id) == kept


async def test_a_retried_run_and_a_thread_that_goes_on_are_kept(engine: Engine, database_url: str) -> None:
    await engine.host()
    old = await engine.runs.start("counting", {"steps": 2}, {"trail": []}, thread_id="t")
    await engine.ended(old.run_id)
    waiting = await engine.runs.start("asking", {}, {"trail": []}, thread_id="t")
    await engine.waiting(waiting.run_id)
    before = await counts(engine, "t")
    async with GroupCommitSaver.open(database_url) as saver:
        moment = now() + timedelta(seconds=250)
        assert await retention.tidy(engine.database, saver, range(SHARDS), SETTINGS, at=moment) == 0
    assert await counts(engine, "t") == before
    failed = await engine.runs.start("failing", {}, {"trail": []})
    await engine.ended(failed.run_id)
    async with GroupCommitSaver.open(database_url) as saver:
        moment = now() + timedelta(seconds=250)
        assert await retention.tidy(engine.database, saver, range(SHARDS), SETTINGS, at=moment) == 2
    with pytest.raises(RunConflictError, match="gone by their age"):
        await engine.runs.retry(failed.run_id)


async def test_a_run_that_is_retried_while_old_ones_are_tidied_keeps_what_it_has(
    engine: Engine, database_url: str
) -> None:
    await engine.host()
    run = await engine.runs.start("failing", {}, {"trail": []})
    await engine.ended(run.run_id)
    before = await counts(engine, run.thread_id)
    async with GroupCommitSaver.open(database_url) as saver:
        moment = now() + timedelta(seconds=250)
        async with engine.database.begin() as session:  # as a retry that has not committed yet
            await runs.hold_thread(session, run.thread_id)
            (await runs.locked(session, run.run_id)).ended_at = None
            tidying = asyncio.create_task(retention.tidy(engine.database, saver, range(SHARDS), SETTINGS, at=moment))
            await asyncio.sleep(0.3)
            assert not tidying.done()
        assert await tidying == 0
    assert await counts(engine, run.thread_id) == before


async def test_the_row_goes_last_and_the_record_of_side_effects_with_the_last_checkpoint(
    engine: Engine, database_url: str
) -> None:
    await engine.host()
    old = [await engine.runs.start("counting", {"steps": 2}, {"trail": []}) for _ in range(3)]
    for run in old:
        await engine.ended(run.run_id)
    waiting = await engine.runs.start("twice", {}, {"trail": []})
    await engine.waiting(waiting.run_id)
    reviewed = old[0].run_id
    async with engine.database.begin() as session:
        session.add(
            Review(
                review_id=new_id(),
                run_id=reviewed,
                interrupt_id="i",
                checkpoint="output",
                title="",
                source="",
                state="approved",
                subject={},
                saw="",
                shown=[],
                answers=[],
                reviewers=[],
                agreement={},
                deadline={},
                clock={},
            )
        )

    async def left(table: str) -> set[str]:
        async with engine.database.read() as session:
            return {str(run_id) for run_id in (await session.execute(text(f"SELECT run_id FROM {table}"))).scalars()}

    async with GroupCommitSaver.open(database_url) as saver:

        async def after(seconds: float) -> None:
            moment = now() + timedelta(seconds=seconds)
            await retention.tidy(engine.database, saver, range(SHARDS), SETTINGS, at=moment)

        await after(150)
        assert len(await left("run_effects")) == 4
        await after(250)
        assert await left("run_effects") == {str(waiting.run_id)}
        await after(350)
        assert len(await left("runs")) == 4
        # The history of what people decided is on record for good.
        assert await left("run_events") == {str(reviewed), str(waiting.run_id)}
        await after(450)
        # People decided about one of them; nobody has yet about another.
        assert await left("runs") == {str(reviewed), str(waiting.run_id)}
        await after(500)
        assert (await engine.runs.get(reviewed)).retained == "row"
        # What its steps did is on no record any more, and would be done again.
        async with engine.database.begin() as session:
            await session.execute(text("UPDATE runs SET status = 'failed' WHERE run_id = :id"), {"id": reviewed})
        with pytest.raises(RunConflictError, match="gone by their age"):
            await engine.runs.retry(reviewed)


def rounds(spec: dict[str, Any]) -> Any:
    """A nested graph that does a side effect, round after round."""

    async def act(state: Trail) -> dict[str, Any]:
        async def effect(key: str) -> str:
            return key

        return {"trail": [await current().once("act", effect)]}

    inner = chain(("act", act)).compile()

    async def one(state: Trail) -> dict[str, Any]:
        return {"trail": (await inner.ainvoke({"trail": []}))["trail"]}

    builder = StateGraph(Trail)
    builder.add_node("round", one)
    builder.add_edge(START, "round")
    builder.add_conditional_edges("round", lambda state: "round" if len(state["trail"]) < spec["rounds"] else END)
    return builder


async def test_a_run_that_goes_on_for_long_keeps_its_newest_checkpoints_alone(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    setup = setup_of(
        database_url, redis_url, tmp_path, lambda _: kinds(Kind(name="rounds", graph=rounds)), kept_checkpoints=8
    )

    async def kept(engine: Engine, thread_id: str) -> dict[str, int]:
        async with engine.database.read() as session:
            query = (
                "SELECT (SELECT count(*) FROM run_checkpoints WHERE thread_id = :id AND checkpoint_ns = '') AS own,"
                " (SELECT count(DISTINCT checkpoint_ns) FROM run_checkpoints WHERE thread_id = :id) AS namespaces,"
                " (SELECT count(*) FROM run_checkpoint_writes WHERE thread_id = :id) AS writes,"
                " (SELECT count(*) FROM run_checkpoint_blobs WHERE thread_id = :id) AS blobs,"
                " (SELECT count(*) FROM run_effects WHERE run_id = CAST(:id AS uuid)) AS effects"
            )
            return dict((await session.execute(text(query), {"id": thread_id})).one()._mapping)

    async with opened(setup) as engine:
        await engine.host()
        run = await engine.runs.start("rounds", {"rounds": 60}, {"trail": []})
        ended = await engine.ended(run.run_id)
        assert ended.output is not None
        assert len(set(ended.output["trail"])) == 60
        async with asyncio.timeout(30):
            # The last trimming may still be under way when its run has ended.
            counts: dict[str, int] = {}
            while counts.get("own", 60) > 8 + 8 // 4 or counts != await kept(engine, run.thread_id):
                counts = await kept(engine, run.thread_id)
                await asyncio.sleep(0.3)
        assert all(count < 60 for count in counts.values()), counts
        # What is left can be gone on from.
        oldest = (await engine.runs.checkpoints(run.run_id))[-1]
        fork = await engine.runs.fork(run.run_id, oldest.checkpoint_id)
        output = (await engine.ended(fork.run_id)).output
        assert output is not None
        assert len(output["trail"]) == 60
        assert output["trail"][:50] == ended.output["trail"][:50]
