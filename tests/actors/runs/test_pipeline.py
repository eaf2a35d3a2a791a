"""A connection's statements go out and come back together, also where the connection or the server ends meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import psycopg
import pytest
import uvloop

from actors.runs.pipeline import Pipeline, conninfo_of

PID = [(b"SELECT pg_backend_pid()", ())]


async def backend_of(pipeline: Pipeline) -> int:
    (answer,) = await pipeline.run([PID])
    assert not isinstance(answer, psycopg.Error)
    return int(answer[0][0][0])


# Ray's actors run on uvloop, plain users on asyncio's own loop.
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_server_that_dies_with_our_words_unread_is_missed(
    database_url: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def lose_the_server() -> None:
        pipeline = Pipeline(conninfo_of(database_url))
        backend = await backend_of(pipeline)
        os.kill(backend, signal.SIGSTOP)
        # More than it takes at once, so that some of it is unread when the server says its last words and ends.
        unit = [(b"SELECT length($1::bytea)", (b"x" * 50_000,))]
        asked = asyncio.create_task(pipeline.run([unit] * 3))
        await asyncio.sleep(0.1)
        os.kill(backend, signal.SIGTERM)
        os.kill(backend, signal.SIGCONT)
        async with asyncio.timeout(10):
            assert await asked == [[[(50_000,)]]] * 3
        assert await backend_of(pipeline) != backend
        await pipeline.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(lose_the_server())


async def test_what_is_written_is_on_disk_though_the_server_would_leave_it_for_later(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo_of(database_url), autocommit=True) as admin:
        await admin.execute(
            "ALTER ROLE CURRENT_USER IN DATABASE " + admin.info.dbname + " SET synchronous_commit = off"
        )
        pipeline = Pipeline(conninfo_of(database_url))
        shown = await pipeline.run([[(b"SHOW synchronous_commit", ()), (b"SHOW transaction_timeout", ())]])
        assert shown == [[[("on",)], [("2min",)]]]
        await pipeline.close()


@pytest.mark.parametrize("bound", ["silent_s", "transaction_s"])
async def test_a_server_that_keeps_one_waiting_is_given_up_and_asked_anew(database_url: str, bound: str) -> None:
    """Somebody holds what the statement needs, for longer than either end waits for the other."""
    conninfo = conninfo_of(database_url)
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as admin:
        await admin.execute("SELECT pg_advisory_lock(1)")
        pipeline = Pipeline(conninfo, **{bound: 0.5})
        asked = asyncio.create_task(pipeline.run([[(b"SELECT pg_advisory_xact_lock(1)", ()), *PID]]))
        waited: list[int] = []
        async with asyncio.timeout(20):
            while len(waited) < 2:
                await asyncio.sleep(0.01)
                found = await admin.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                waiting = [pid for (pid,) in await found.fetchall()]
                waited += [pid for pid in waiting if pid not in waited]
        # A transaction that the server ends by itself holds nothing any more.
        assert (waited[0] in waiting) == (bound == "silent_s")
        await admin.execute("SELECT pg_advisory_unlock(1)")
        (answer,) = await asked
        assert not isinstance(answer, psycopg.Error)
        assert answer[1] != [(waited[0],)]
        await pipeline.close()
