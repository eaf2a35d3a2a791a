"""A run followed live over Server-Sent Events, under a real HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest
import redis.asyncio
from fastapi import FastAPI
from sqlalchemy import make_url

from actors.runs.events import channel_of
from actors.settings import VerificationSettings
from cluster.embedded import start_redis, stop_redis
from serve.app import build_app
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine, gate
from tests.serve.event_stream import listening, stream
from tests.serve.length_verification import LengthVerification
from tests.serve.test_runs import becomes, start

WALLET = {"X_Wallet_Address": "0xowner"}
HEARTBEAT_S = 0.3


@pytest.fixture
async def engine(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    setup = engines.setup_of(database_url, redis_url, tmp_path, lambda _: engines.kinds())
    async with engines.opened(setup) as opened:
        await opened.host()
        yield opened


@pytest.fixture
async def url(database: Database, storage_settings: StorageSettings) -> AsyncIterator[str]:
    async with listening(app_over(database, storage_settings)) as address:
        yield address


def app_over(database: Database, storage: StorageSettings) -> FastAPI:
    return build_app(
        database=database, storage_settings=storage, serve_settings=ServeSettings(heartbeat_s=HEARTBEAT_S),
        verification_settings=VerificationSettings(), verification=LengthVerification(database),
    )  # fmt: skip


async def subscribers(redis_url: str, run_id: str) -> int:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        ((_, count),) = await client.pubsub_numsub(channel_of(run_id))
    return int(count)


async def subscribed(redis_url: str, run_id: str, count: int, timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while await subscribers(redis_url, run_id) != count:
            await asyncio.sleep(0.02)


async def test_a_run_is_followed_from_its_first_event_to_its_last(url: str, engine: Engine, redis_url: str) -> None:
    run_id = await start(engine, "gated", {"gate": "g"})
    async with stream(url, f"/runs/{run_id}/events", **WALLET) as events:
        assert events.response.headers["content-type"].startswith("text/event-stream")
        assert events.response.headers["cache-control"] == "no-store"
        assert "content-length" not in events.response.headers
        begun = await events.until("step.completed")
        assert events.retry == "2000"
        await subscribed(redis_url, run_id, 1)
        gate("g").set()
        rest = await events.until("run.completed")
        assert await events.next() is None, "it did not end with the run"
    told = begun + rest
    assert [each.id for each in told] == [str(n) for n in range(1, len(told) + 1)]
    assert told[0].type == "run.created"
    assert [each.data["seq"] for each in told] == list(range(1, len(told) + 1))
    await subscribed(redis_url, run_id, 0)


@pytest.mark.parametrize("by", ["header", "query", "both"])
async def test_who_connects_again_goes_on_where_it_was(url: str, engine: Engine, by: str) -> None:
    run_id = await start(engine, "counting", {"steps": 4})
    async with stream(url, f"/runs/{run_id}/events", **WALLET) as events:
        whole = await events.until("run.completed")
    last = whole[3].id
    assert last is not None
    headers = {} if by == "query" else {"Last_Event_ID": last}
    path = f"/runs/{run_id}/events" + {"header": "", "query": f"?after={last}", "both": "?after=1"}[by]
    async with stream(url, path, **WALLET, **headers) as events:
        assert await events.until("run.completed") == whole[4:]
    # A browser's EventSource connects again after any end but this.
    async with stream(url, f"/runs/{run_id}/events", **WALLET, Last_Event_ID=str(whole[-1].id)) as events:
        assert events.response.status_code == 204


async def test_a_quiet_stream_is_kept_alive_by_comments(url: str, engine: Engine) -> None:
    run_id = await start(engine, "asking")
    async with stream(url, f"/runs/{run_id}/events", **WALLET) as events:
        await events.until("run.waiting")
        reading = asyncio.create_task(events.next(timeout_s=60))
        async with asyncio.timeout(30):
            while events.comments < 3:
                await asyncio.sleep(0.05)
        assert not reading.done()
        reading.cancel()


async def test_a_client_that_goes_away_frees_its_subscription(url: str, engine: Engine, redis_url: str) -> None:
    run_id = await start(engine, "asking")
    for _ in range(3):
        async with stream(url, f"/runs/{run_id}/events", **WALLET) as events:
            await events.until("run.waiting")
            await subscribed(redis_url, run_id, 1)
        await subscribed(redis_url, run_id, 0)


async def test_live_tokens_are_shown_without_a_number(url: str, engine: Engine, redis_url: str) -> None:
    run_id = await start(engine, "gated", {"gate": "g"})
    async with stream(url, f"/runs/{run_id}/events", **WALLET) as events:
        begun = await events.until("step.completed")
        await subscribed(redis_url, run_id, 1)
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            message = b'[{"seq":null,"type":"llm.token","step":"s","at":"2026-11-21T00:00:00+00:00","data":{"t":"hi"}}]'
            await client.publish(channel_of(run_id), message)
        meanwhile = await events.until("llm.token")
        shown = meanwhile[-1]
        assert (shown.id, shown.type, shown.data["data"]) == (None, "llm.token", {"t": "hi"})
        gate("g").set()
        rest = await events.until("run.completed")
    numbers = [int(each.id) for each in begun + meanwhile + rest if each.id is not None]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_redis_that_restarts_ends_no_stream(
    database: Database, storage_settings: StorageSettings, services_dir: Path
) -> None:
    """A Redis of this test's own, for others share theirs."""
    own = services_dir / "own"
    own.mkdir(exist_ok=True)
    address = start_redis(own)
    try:
        storage = storage_settings.model_copy(update={"redis_url": address})
        setup = engines.setup_of(storage.database_url, address, storage.data_dir, lambda _: engines.kinds())
        async with engines.opened(setup) as engine, listening(app_over(database, storage)) as url:
            await engine.host()
            run_id = await start(engine, "gated", {"gate": "g"})
            async with stream(url, f"/runs/{run_id}/events", **WALLET) as events:
                begun = await events.until("step.completed")
                await subscribed(address, run_id, 1)
                await asyncio.to_thread(stop_redis, own)
                gate("g").set()  # the run goes on without Redis, and is told from the table
                rest = await events.until("run.completed")
                assert await events.next() is None
            numbers = [int(str(each.id)) for each in begun + rest]
            assert numbers == list(range(1, len(numbers) + 1))

            await asyncio.to_thread(start_redis, own)
            run_id = await start(engine, "gated", {"gate": "h"})
            async with stream(url, f"/runs/{run_id}/events", **WALLET) as events:
                begun = await events.until("step.completed")
                await subscribed(address, run_id, 1)
                await asyncio.to_thread(stop_redis, own)
                await asyncio.to_thread(start_redis, own)
                await subscribed(address, run_id, 1)  # the same stream, live again
                gate("h").set()
                assert (await events.until("run.completed"))[-1].type == "run.completed"
            await subscribed(address, run_id, 0)
    finally:
        await asyncio.to_thread(stop_redis, own)


async def test_a_database_that_is_away_for_a_while_ends_no_stream(
    url: str, engine: Engine, database_url: str, postgres: str
) -> None:
    name = make_url(database_url).database
    server = make_url(postgres).set(drivername="postgresql").render_as_string(hide_password=False)
    run_id = await start(engine, "gated", {"gate": "g"})
    async with stream(url, f"/runs/{run_id}/events", **WALLET) as events:
        begun = await events.until("step.completed")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            connection.execute(b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            gate("g").set()
            reading = asyncio.create_task(events.until("run.completed", timeout_s=60))
            before = events.comments
            async with asyncio.timeout(60):  # it lives, although nothing can be written or read
                while events.comments < before + 10:
                    await asyncio.sleep(0.05)
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        rest = await reading
    numbers = [int(str(each.id)) for each in begun + rest]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_twenty_clients_of_one_run_all_see_all_of_it(url: str, engine: Engine) -> None:
    run_id = await start(engine, "counting", {"steps": 10, "pause_s": 0.02})

    async def follow() -> list[str | None]:
        async with stream(url, f"/runs/{run_id}/events", **WALLET) as events:
            return [each.id for each in await events.until("run.completed")]

    followed = await asyncio.gather(*(follow() for _ in range(20)))
    async with httpx.AsyncClient(base_url=url) as client:
        last = (await becomes(client, run_id, "completed"))["last_event"]
    assert all(numbers == [str(n) for n in range(1, last + 1)] for numbers in followed)
