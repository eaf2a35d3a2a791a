"""Many follow many runs in one process."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from uuid import UUID

import redis.asyncio

from actors.runs.events import EventPublisher, FollowedEvent, channel_of, live_event
from storage import run_events
from storage.clock import now
from tests.actors.runs.engine import Engine

COUNT = 150


async def listeners(client: redis.asyncio.Redis, run_ids: list[UUID]) -> int:
    return sum(count for _, count in await client.pubsub_numsub(*map(channel_of, run_ids)))


async def test_a_process_follows_many_runs_over_one_connection_and_leaves_each_with_its_last_follower(
    engine: Engine, redis_url: str
) -> None:
    later = now() + timedelta(hours=1)
    run_ids = [(await engine.runs.start("counting", {}, {}, start_at=later)).run_id for _ in range(COUNT)]
    shown: dict[UUID, FollowedEvent] = {}

    async def follow(run_id: UUID) -> None:
        async with aclosing(engine.runs.follower.follow(run_id, 1)) as events:
            async for event in events:
                shown[run_id] = event
                return

    publisher = EventPublisher(redis_url)
    async with redis.asyncio.Redis.from_url(redis_url) as client, asyncio.timeout(60):
        first = [asyncio.create_task(follow(run_id)) for run_id in run_ids]
        second = asyncio.create_task(follow(run_ids[0]))
        while await listeners(client, run_ids) < COUNT:
            await asyncio.sleep(0.02)
        assert len(await client.client_list(_type="pubsub")) == 1
        for number, run_id in enumerate(run_ids):
            publisher.publish(run_id, [live_event("llm.token", "s", {"n": number})])
        await asyncio.gather(*first, second)
        assert {run_id: event.data for run_id, event in shown.items()} == {
            run_id: {"n": number} for number, run_id in enumerate(run_ids)
        }
        while await listeners(client, run_ids):
            await asyncio.sleep(0.02)
    await publisher.close()


async def test_a_follower_that_is_slower_than_its_run_misses_no_number(engine: Engine) -> None:
    await engine.host()
    run_id = (await engine.runs.start("counting", {"steps": 40}, {"trail": []})).run_id
    numbers = []
    async with aclosing(engine.runs.follower.follow(run_id)) as events:
        async for event in events:
            numbers.append(event.seq)
            await asyncio.sleep(0.01)
    run = await engine.runs.get(run_id)
    assert numbers == list(range(1, run.event_seq + 1))


async def test_a_run_whose_events_are_gone_by_their_age_is_followed_to_its_end(engine: Engine) -> None:
    await engine.host()
    run_id = (await engine.runs.start("counting", {"steps": 1}, {"trail": []})).run_id
    await engine.ended(run_id)
    async with engine.database.begin() as session:
        await run_events.forget(session, [run_id])
    async with asyncio.timeout(60):
        assert [event async for event in engine.runs.follower.follow(run_id)] == []
