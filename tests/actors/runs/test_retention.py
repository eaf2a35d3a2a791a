"""Checkpoints and events do not grow without bound, and nothing that is still needed is removed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from actors.errors import RunConflictError
from actors.runs import retention
from actors.runs.checkpointer import GroupCommitSaver
from actors.settings import RunSettings
from storage.clock import now
from storage.errors import NotFoundError
from storage.runs import SHARDS
from tests.actors.runs.engine import Engine

SETTINGS = RunSettings(history_s=100, checkpoints_s=200, events_s=300)


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
