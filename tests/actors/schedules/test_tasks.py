"""The periodic work itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from actors.schedules.callbacks import KEPT as KEPT_OF_CALLBACKS
from actors.schedules.callbacks import forget_old_callbacks, send_callbacks
from actors.schedules.campaigns import mark_expired_campaigns_inactive
from actors.schedules.firings import FREQUENT_S, KEPT, KEPT_OF_FREQUENT, forget_old_firings
from actors.schedules.registry import PERIODIC
from actors.schedules.reviews import keep_review_time
from actors.schedules.task import Task, Work
from storage import activities, callbacks, campaigns, firings, schedules, webhooks
from storage.engine import Database
from storage.ids import new_id
from storage.settings import FetchSettings, StorageSettings
from tests.actors.schedules.periodic import by_hand, fired, known
from tests.storage.test_campaigns import campaign_body
from tests.stubs.http import Reply, Request, StubServer

PAST = 1_600_000_000


@pytest.fixture
def storage(database_url: str, tmp_path: Path) -> StorageSettings:
    return StorageSettings(database_url=database_url, redis_url="unix:///none", data_dir=tmp_path)


async def do(task: Task, database: Database, storage: StorageSettings) -> dict[str, Any]:
    """One firing of the task, as a scheduler would run it."""
    name = next(each.name for each in PERIODIC if each.task is task)
    await known(database, *PERIODIC)
    await by_hand(database, name)
    async with database.begin() as session:
        (claim,) = await firings.claim(session, [name], host="test", lease_s=30, limit=1)
    outcome = await task(Work(database, storage, claim))
    async with database.begin() as session:
        assert await firings.complete(session, claim, outcome)
    return outcome


async def make_campaigns(database: Database, count: int, **changes: Any) -> list[UUID]:
    async with database.begin() as session:
        made = [
            await campaigns.create(session, campaign_body(f"{changes or 'open'}-{n}", **changes)) for n in range(count)
        ]
    return [campaign.campaign_id for campaign, _ in made]


async def activity_kinds(database: Database, campaign_id: UUID) -> list[tuple[str, str, dict[str, Any]]]:
    async with database.read() as session:
        found = await activities.of_campaign(session, campaign_id, limit=10)
    return [(each.kind, each.actor, each.detail) for each in found]


async def test_expired_campaigns_become_inactive_once_and_open_ones_stay(
    database: Database, storage: StorageSettings
) -> None:
    expired = await make_campaigns(database, 450, expiration=PAST)  # more than are locked at once
    (still_open,) = await make_campaigns(database, 1)
    assert await do(mark_expired_campaigns_inactive, database, storage) == {"campaigns": 450}
    assert await do(mark_expired_campaigns_inactive, database, storage) == {"campaigns": 0}
    async with database.read() as session:
        assert not any([(await campaigns.get(session, each)).is_active for each in expired])
        assert (await campaigns.get(session, still_open)).is_active
    for each in (expired[0], expired[-1]):
        assert await activity_kinds(database, each) == [("campaign_expired", "system", {"expiration": PAST})]
    assert await activity_kinds(database, still_open) == []


async def test_a_campaign_that_somebody_writes_to_is_left_to_the_next_firing(
    database: Database, storage: StorageSettings
) -> None:
    busy, free = await make_campaigns(database, 2, expiration=PAST)
    async with database.begin() as session:
        await session.execute(text("SELECT 1 FROM campaigns WHERE campaign_id = :id FOR UPDATE"), {"id": busy})
        async with asyncio.timeout(60):
            assert await do(mark_expired_campaigns_inactive, database, storage) == {"campaigns": 1}
    assert await activity_kinds(database, busy) == []
    assert len(await activity_kinds(database, free)) == 1
    assert await do(mark_expired_campaigns_inactive, database, storage) == {"campaigns": 1}


async def test_the_record_of_firings_is_bounded_and_keeps_each_schedules_last(
    database: Database, storage: StorageSettings
) -> None:
    name = "mark_expired_campaigns_inactive"
    for _ in range(3):
        await do(mark_expired_campaigns_inactive, database, storage)
    async with database.begin() as session:
        aged = {"age": KEPT + timedelta(days=1)}
        await session.execute(
            text("UPDATE schedule_firings SET due_at = due_at - :age, ended_at = ended_at - :age"), aged
        )
    last = (await fired(database, name))[0]
    assert await do(forget_old_firings, database, storage) == {"firings": 2}
    (kept,) = await fired(database, name)
    assert kept.due_at == last.due_at


async def test_of_what_comes_to_nothing_every_two_seconds_the_last_is_on_record(
    database: Database, storage: StorageSettings
) -> None:
    name, nothing = "keep_review_time", {"leases": 0, "deadlines": 0, "deliveries": 0}
    await known(database, *PERIODIC)
    since = datetime.now(UTC).replace(microsecond=0)

    async def came_to(second: int, outcome: dict[str, Any]) -> None:
        async with database.begin() as session:
            await firings.add(session, name, fired=[since - timedelta(seconds=20 - second)], skipped=[])
            (claim,) = await firings.claim(session, [name], host="test", lease_s=30, limit=1)
            assert await firings.complete(session, claim, outcome, frequent_s=FREQUENT_S)
            on_time = text("UPDATE schedule_firings SET started_at = due_at + :late WHERE due_at = :due_at")
            late = timedelta(seconds=30 if second == 8 else 1)
            await session.execute(on_time, {"due_at": claim.due_at, "late": late})

    for second in range(0, 20, 2):
        await came_to(second, {**nothing, "deadlines": 1} if second == 4 else nothing)
    kept = [20 - round((since - each.due_at).total_seconds()) for each in reversed(await fired(database, name))]
    # The last before something was done, that, the last that came in time and the one that came late, and the last.
    assert kept == [2, 4, 8, 18]


async def test_callbacks_that_are_due_are_sent_and_forgotten_in_time(
    database: Database, storage: StorageSettings
) -> None:
    taken: list[Request] = []

    def take(request: Request) -> Reply:
        taken.append(request)
        return Reply(b"", 204)

    reaching = storage.model_copy(update={"fetch": FetchSettings(allowed_networks=("127.0.0.0/8",))})
    run_id = new_id()
    async with StubServer(take) as receiver:
        async with database.begin() as session:
            await callbacks.aim(session, run_id, f"{receiver.url}/hook", "whsec_c2VjcmV0IG9mIGEgcmVjZWl2ZXI=")
            for _ in range(2):
                await callbacks.tell(session, new_id(), run_id, "run.completed", {}, at=await schedules.clock(session))
            await webhooks.record(session, "replicate", "taken", delivery_id="1")
        assert await do(send_callbacks, database, reaching) == {"delivered": 2, "put_off": 0, "given_up": 0}
        assert await do(send_callbacks, database, reaching) == {"delivered": 0, "put_off": 0, "given_up": 0}
    assert [each.json()["type"] for each in taken] == ["run.completed"] * 2
    # One of them is still to be taken, however old it is.
    aged = {"age": KEPT_OF_CALLBACKS + timedelta(hours=1)}
    async with database.begin() as session:
        await callbacks.tell(session, new_id(), run_id, "run.failed", {}, at=await schedules.clock(session))
    assert await do(forget_old_callbacks, database, storage) == {"callbacks": 0, "webhooks": 0}
    async with database.begin() as session:
        await session.execute(text("UPDATE callbacks SET created_at = created_at - :age"), aged)
        await session.execute(text("UPDATE webhook_deliveries SET at = at - :age"), aged)
    assert await do(forget_old_callbacks, database, storage) == {"callbacks": 2, "webhooks": 1}
    async with database.read() as session:
        assert [each.event for each in await callbacks.of_run(session, run_id)] == ["run.failed"]


async def test_what_is_done_every_two_seconds_is_on_record_for_a_day(
    database: Database, storage: StorageSettings
) -> None:
    for task in (mark_expired_campaigns_inactive, keep_review_time):
        for _ in range(2):
            await do(task, database, storage)
    async with database.begin() as session:
        aged = {"age": KEPT_OF_FREQUENT + timedelta(hours=1)}
        await session.execute(
            text("UPDATE schedule_firings SET due_at = due_at - :age, ended_at = ended_at - :age"), aged
        )
    assert await do(forget_old_firings, database, storage) == {"firings": 1}
    assert len(await fired(database, "keep_review_time")) == 1
    assert len(await fired(database, "mark_expired_campaigns_inactive")) == 2
