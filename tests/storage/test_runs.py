"""Runs as rows: pages without a gap, one active run a thread, and who is due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from storage import run_shards, runs
from storage.clock import now
from storage.engine import Database
from storage.errors import NotFoundError
from storage.ids import new_id
from storage.runs import SHARDS, Run, shard_of

EVERY = range(SHARDS)


async def put(database: Database, **values: Any) -> UUID:
    run = Run(**{"run_id": new_id(), "kind": "k", "spec": {}, "input": {}, "shard": 0, **values})
    run.thread_id = run.thread_id or str(run.run_id)
    async with database.begin() as session:
        session.add(run)
    return run.run_id


async def due(database: Database, driven: tuple[UUID, ...] = (), limit: int = 100, shards: Any = EVERY) -> set[UUID]:
    async with database.read() as session:
        return set(await runs.due(session, shards, driven=driven, moment=now(), limit=limit))


async def test_pages_have_every_run_once_newest_first(database: Database) -> None:
    ids = [await put(database, owner="0xa" if number % 2 else "0xb") for number in range(25)]
    for owner, expected in ((None, ids), ("0xa", ids[1::2])):
        found: list[UUID] = []
        while True:
            async with database.read() as session:
                page = await runs.page(session, owner=owner, after=found[-1] if found else None, limit=7)
            if not page:
                break
            found += [run.run_id for run in page]
        assert found == sorted(expected, reverse=True)
    async with database.read() as session:
        assert await runs.page(session, statuses=["failed"], limit=9) == []
        with pytest.raises(NotFoundError):
            await runs.get(session, new_id())


async def test_a_thread_has_one_active_run(database: Database) -> None:
    await put(database, thread_id="t", status="waiting")
    await put(database, thread_id="t", status="pending")
    with pytest.raises(IntegrityError):
        await put(database, thread_id="t", status="running")


async def test_whose_turn_it_is_on_a_thread_is_known_without_reading_what_waits(database: Database) -> None:
    waiting = [await put(database, thread_id="t", input={"large": "x" * 1000}) for _ in range(3)]
    async with database.read() as session:
        assert await runs.next_on(session, "t") == waiting[0]
        assert await runs.unfinished_on(session, "t", limit=2) == [(each, "pending") for each in waiting[:2]]
        assert not list(session.identity_map.values()), "whole runs were loaded"
    active = await put(database, thread_id="t", status="running")
    await put(database, thread_id="t", status="completed")
    async with database.read() as session:
        assert await runs.next_on(session, "t") is None
        assert await runs.next_on(session, "empty") is None
        assert await runs.unfinished_on(session, "t", limit=1) == [(active, "running")]


async def test_only_runs_that_want_their_host_are_due(database: Database) -> None:
    past, future = now() - timedelta(seconds=1), now() + timedelta(hours=1)
    wanted = {
        await put(database, status="running"),
        await put(database, status="waiting", resume={"i": {"value": 1}}),
        await put(database, status="waiting", cancel_requested_at=past),
        await put(database, status="waiting", wake_at=past),
        await put(database, status="waiting", deadline_at=past),
        await put(database, status="pending"),
        await put(database, status="pending", wake_at=past),
        await put(database, thread_id="queue", status="pending"),
    }
    behind = await put(database, thread_id="queue", status="pending")
    await put(database, status="waiting", wake_at=future, deadline_at=future)
    await put(database, status="waiting")
    await put(database, status="pending", wake_at=future)
    await put(database, thread_id="held", status="waiting")
    await put(database, thread_id="held", status="pending")
    for status in runs.ENDED:
        await put(database, status=status, ended_at=past, deadline_at=past, wake_at=past)
    elsewhere = await put(database, status="running", shard=7)
    assert await due(database) == wanted | {elsewhere}
    assert await due(database, shards=range(7)) == wanted
    first = min(wanted)
    assert await due(database, (first,), shards=range(7)) == wanted - {first}
    assert len(await due(database, limit=3)) == 3
    # One that waits its turn may still be cancelled.
    async with database.begin() as session:
        (await runs.locked(session, behind)).cancel_requested_at = past
    assert behind in await due(database)


async def test_a_claim_takes_only_its_shards_and_each_has_an_epoch_of_its_own(database: Database) -> None:
    async def claim(shards: range, host: str) -> int:
        async with database.begin() as session:
            return await run_shards.claim(session, shards, host)

    async def held(epoch: int) -> int:
        async with database.begin() as session:
            return await run_shards.seen(session, epoch)

    first, second = await claim(range(32), "a"), await claim(range(32, 64), "b")
    assert second > first
    third = await claim(range(8), "c")
    assert [await held(epoch) for epoch in (first, second, third)] == [24, 32, 8]
    async with database.read() as session:
        assert not await run_shards.silent(session, range(8), for_s=10)
        assert await run_shards.silent(session, range(8), for_s=0)


def test_a_threads_shard_never_changes() -> None:
    # Rows of earlier versions have these.
    assert [shard_of(each) for each in ("", "a", "thread", "ü")] == [0, 3, 3, 21]
    assert len({shard_of(str(new_id())) for _ in range(2000)}) == SHARDS
