"""One writer per shard: whoever claimed it last. A host that was cut off cannot write, whatever it believes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from actors.runs.checkpointer import GroupCommitSaver
from actors.runs.group_commit import Guard
from actors.runs.rows import EFFECTS
from storage import run_shards
from storage.clock import now
from storage.ids import new_id
from storage.run_shards import FENCED
from storage.runs import SHARDS
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine


async def test_of_two_hosts_that_believe_to_own_a_shard_only_the_later_writes(engine: Engine) -> None:
    early = await engine.host(name="early")
    run = await engine.runs.start("gated", {"gate": "g"}, {"trail": []})
    await engines.until(lambda: engines.done.count("wait") == 1)
    await engine.host(name="late")
    await engines.until(lambda: engines.done.count("wait") == 2)
    # Both are in the midst of the same step, and go on with it now.
    engines.gate("g").set()
    ended = await engine.ended(run.run_id)
    assert ended.output == {"trail": ["before", "wait", "after"]}
    assert engines.done.count("after") == 1
    told = await engine.told(run.run_id)
    assert told.count("step.completed") == 3
    async with asyncio.timeout(60):
        while early.driving.is_set():
            await asyncio.sleep(0.01)
    # What begins now is driven once.
    again = await engine.runs.start("counting", {"steps": 2}, {"trail": []})
    assert (await engine.ended(again.run_id)).steps == 2
    assert len(engines.done) == len(set(engines.done)) + 1  # "wait", of both


async def test_a_transaction_of_an_earlier_epoch_is_refused_whole(engine: Engine, database_url: str) -> None:
    async def claim(shards: range) -> Guard:
        async with engine.database.begin() as session:
            epoch = await run_shards.claim(session, shards, "someone")
        return Guard(b"SELECT run_fence(%s, %s)", (epoch, len(shards)))

    guard = await claim(range(SHARDS))
    async with GroupCommitSaver.open(database_url, guard=guard) as saver:
        row = (new_id(), "key", b"1", now())
        await saver.writer.write([(EFFECTS, row)])
        # One shard of its many is enough.
        await claim(range(5, 6))
        with pytest.raises(psycopg.Error) as refused:
            await saver.writer.write([(EFFECTS, (new_id(), "key", b"1", now()))])
        assert refused.value.sqlstate == FENCED
        several = await asyncio.gather(
            *(saver.writer.write([(EFFECTS, (new_id(), "key", b"1", now()))]) for _ in range(3)),
            return_exceptions=True,
        )
        assert [getattr(error, "sqlstate", None) for error in several] == [FENCED] * 3


async def test_a_host_that_was_cut_off_comes_back_when_the_other_is_silent(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    setup = engines.setup_of(
        database_url, redis_url, tmp_path, lambda _: engines.kinds(), beat_s=0.1, silent_s=1.0
    )  # fmt: skip
    async with engines.opened(setup) as engine:
        early = await engine.host(name="early")
        late = await engine.host(name="late")
        async with asyncio.timeout(60):
            while early.driving.is_set():
                await asyncio.sleep(0.01)
        await engine.stop(late)
        run = await engine.runs.start("counting", {"steps": 1}, {"trail": []})
        assert (await engine.ended(run.run_id)).status == "completed"
        assert early.driving.is_set()
