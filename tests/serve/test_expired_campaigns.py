"""A campaign that a scheduler marks inactive is so at once for everybody who polls it."""

from __future__ import annotations

import time

import httpx
from sqlalchemy import text

from actors.schedules.campaigns import mark_expired_campaigns_inactive
from actors.schedules.registry import PERIODIC
from actors.schedules.task import Work
from storage import firings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.schedules.periodic import by_hand, known
from tests.serve.bodies import create

CAMPAIGN = "campaign_1740392301784"


async def expire_campaigns(database: Database, storage: StorageSettings) -> None:
    name = "mark_expired_campaigns_inactive"
    await known(database, *PERIODIC)
    await by_hand(database, name)
    async with database.begin() as session:
        (claim,) = await firings.claim(session, [name], host="test", lease_s=30, limit=1)
    await mark_expired_campaigns_inactive(Work(database, storage, claim))


async def expires(database: Database, moment: float) -> None:
    async with database.begin() as session:
        await session.execute(text("UPDATE campaigns SET expiration = :at"), {"at": int(moment)})


async def test_the_poll_never_shows_an_older_campaign_than_the_scheduler_left(
    client: httpx.AsyncClient, database: Database, storage_settings: StorageSettings
) -> None:
    await create(client)
    assert (await client.get(f"/campaigns/{CAMPAIGN}")).json()["is_active"]
    tag = (await client.get(f"/campaigns/{CAMPAIGN}")).headers["etag"]
    await expires(database, time.time() - 5)
    await expire_campaigns(database, storage_settings)
    # Were the row not read anew, a later expiration would bring the cached campaign back to life.
    await expires(database, time.time() + 3600)
    polled = await client.get(f"/campaigns/{CAMPAIGN}", headers={"If-None-Match": tag})
    assert (polled.status_code, polled.json()["is_active"]) == (200, False)
    assert (await client.get("/campaigns/active")).json() == []
