"""Whoever follows a run sees each of its events once, in order, and is told when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psutil
import pytest
import redis.asyncio

from actors.runs.events import EventPublisher, FollowedEvent, channel_of, live_event
from cluster.embedded import redis as embedded_redis
from cluster.embedded import start_redis, stop_redis
from storage.errors import NotFoundError
from storage.ids import new_id
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine


async def subscribed(redis_url: str, run_id: UUID) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client, asyncio.timeout(60):
        while not (await client.pubsub_numsub(channel_of(run_id)))[0][1]:
            await asyncio.sleep(0.02)


async def followed(engine: Engine, run_id: UUID, after: int = 0) -> list[FollowedEvent]:
    async with asyncio.timeout(60), aclosing(engine.runs.follower.follow(run_id, after)) as events:
        return [event async for event in events]


def numbers(events: list[FollowedEvent]) -> list[int]:
    return [event.seq for event in events if event.seq is not None]


async def test_followers_of_any_time_see_the_same_events(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("gated", {"gate": "g"}, {"trail": []})
    early = [asyncio.create_task(followed(engine, run.run_id)) for _ in range(3)]
    await engines.until(lambda: "wait" in engines.done)
    midway = asyncio.create_task(followed(engine, run.run_id, 4))
    await asyncio.sleep(0.1)
    engines.gate("g").set()
    seen = await asyncio.gather(*early, midway)
    late = await followed(engine, run.run_id)
    stored = await engine.runs.events(run.run_id)
    for each in (*seen[:3], late):
        assert [(event.seq, event.type, event.step, event.at, event.data) for event in each] == [
            (row.seq, row.type, row.step, row.at, row.data) for row in stored
        ]
    assert numbers(seen[3]) == [row.seq for row in stored][4:]
    assert late[-1].type == "run.completed"
    with pytest.raises(NotFoundError):
        await followed(engine, new_id())


async def test_what_is_streamed_is_shown_and_not_kept(engine: Engine, redis_url: str) -> None:
    await engine.host()
    run = await engine.runs.start("streaming", {"gate": "g"}, {"trail": []})
    following = asyncio.create_task(followed(engine, run.run_id))
    await subscribed(redis_url, run.run_id)
    engines.gate("g").set()
    seen = await following
    assert [event.data["token"] for event in seen if event.seq is None] == ["a", "b", "c"]
    assert "step.streamed" not in await engine.told(run.run_id)


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


async def test_a_step_may_stream_what_json_cannot_say(engine: Engine, redis_url: str) -> None:
    run_id = new_id()
    publisher = EventPublisher(redis_url)
    said: list[Any] = ["\ud800", {1: {("a", "b"): "\ud83d\ude00"}}, 2**70, nested(5_000), "the end"]
    async with redis.asyncio.Redis.from_url(redis_url) as client, client.pubsub() as feed, asyncio.timeout(60):
        await feed.subscribe(channel_of(run_id))
        for each in said:
            publisher.publish(run_id, [live_event("step.streamed", "talk", {"token": each})])
        shown: list[Any] = []
        while "the end" not in shown:
            message = await feed.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is not None:
                shown += [event["data"]["token"] for event in orjson.loads(message["data"])]
    await publisher.close()
    # The one that is too deep is left out.
    assert shown == ["\ufffd", {"1": {"('a', 'b')": "\U0001f600"}}, str(2**70), "the end"]


@pytest.fixture
async def own_redis(tmp_path: Path, database_url: str) -> AsyncIterator[tuple[Engine, Path]]:
    directory = tmp_path / "redis"
    url = start_redis(directory)
    async with engines.opened(engines.setup_of(database_url, url, tmp_path, lambda _: engines.kinds())) as engine:
        yield engine, directory
    stop_redis(directory)


async def test_a_follower_outlives_redis(own_redis: tuple[Engine, Path]) -> None:
    engine, directory = own_redis
    await engine.host()
    run = await engine.runs.start("counting", {"steps": 30, "pause_s": 0.05}, {"trail": []})
    following = asyncio.create_task(followed(engine, run.run_id))
    for _ in range(2):
        await asyncio.sleep(0.3)
        process = embedded_redis(directory).process()
        assert process is not None
        process.kill()
        await asyncio.sleep(0.2)
        await asyncio.to_thread(start_redis, directory)
    seen = await following
    assert numbers(seen) == list(range(1, len(await engine.told(run.run_id)) + 1))
    assert seen[-1].type == "run.completed"


async def test_a_lost_message_is_read_from_the_table(engine: Engine, redis_url: str) -> None:
    await engine.host()
    run = await engine.runs.start("gated", {"gate": "g"}, {"trail": []})
    await engines.until(lambda: "wait" in engines.done)
    following = asyncio.create_task(followed(engine, run.run_id))
    await subscribed(redis_url, run.run_id)
    # As if those before it had been lost, and once more.
    client = redis.asyncio.Redis.from_url(redis_url)
    message = '[{"seq": 99, "type": "later", "step": null, "at": "2026-01-01T00:00:00+00:00", "data": {}}]'
    for _ in range(2):
        await client.publish(channel_of(run.run_id), message)
    await client.aclose()
    engines.gate("g").set()
    seen = await following
    assert numbers(seen) == list(range(1, len(seen) + 1))
    assert "later" not in [event.type for event in seen]


async def test_what_waits_for_an_absent_redis_has_an_end(redis_url: str, tmp_path: Path) -> None:
    publisher = EventPublisher(f"unix://{tmp_path}/nobody")
    process = psutil.Process()
    before = process.memory_info().rss
    for _ in range(2_000):
        publisher.publish(new_id(), [live_event("step.streamed", "talk", {"token": "x" * 50_000})])
    assert process.memory_info().rss - before < 60 * 1024 * 1024  # of 100
    await publisher.close()
