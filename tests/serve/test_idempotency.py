"""Keys of repeated writes: whose they are, and how long they count."""

from __future__ import annotations

import asyncio

import httpx
from sqlalchemy import text

from storage.engine import Database
from tests.serve.bodies import campaign_body, contribution_body, create

START = "/agent-workflows/verify-campaign-dataset"
SUBMIT = "/campaigns/submit-contributions"
KEY = {"Idempotency-Key": "1"}


async def test_a_stranger_cannot_take_a_key_from_another(client: httpx.AsyncClient) -> None:
    await create(client, "one")
    await create(client, "two")
    first = await client.post(START, json={"onchain_campaign_id": "one"}, headers=KEY)
    second = await client.post(START, json={"onchain_campaign_id": "two"}, headers=KEY)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["batch_id"] != second.json()["batch_id"]
    again = await client.post(START, json={"onchain_campaign_id": "one"}, headers=KEY)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_wallet_that_uses_its_key_for_another_request_is_told(client: httpx.AsyncClient) -> None:
    await create(client)
    assert (await client.post(SUBMIT, json=contribution_body(""), headers=KEY)).status_code == 201
    other = await client.post(SUBMIT, json=contribution_body("", quality_score=1), headers=KEY)
    assert (other.status_code, other.json()["subject"]) == (409, "1")
    stranger = await client.post(SUBMIT, json=contribution_body("", contributor="0xb"), headers=KEY)
    assert stranger.status_code == 201


async def test_a_key_counts_for_a_week(client: httpx.AsyncClient, database: Database) -> None:
    await create(client)
    first = await client.post(SUBMIT, json=contribution_body(""), headers=KEY)
    await older(database, "6 days 23 hours")
    assert (await client.post(SUBMIT, json=contribution_body(""), headers=KEY)).json() == first.json()
    await older(database, "2 hours")
    answers = await asyncio.gather(*(client.post(SUBMIT, json=contribution_body(""), headers=KEY) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {201}
    made = {answer.json()["contribution_id"] for answer in answers}
    assert len(made) == 1, "the key is new, and one key is one contribution"
    assert first.json()["contribution_id"] not in made
    # With another body as well: nothing is left to be in conflict with.
    await older(database, "8 days")
    changed = await client.post(SUBMIT, json=contribution_body("", quality_score=1), headers=KEY)
    assert changed.status_code == 201


async def test_old_keys_do_not_pile_up(client: httpx.AsyncClient, database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text(
            "INSERT INTO idempotency_keys SELECT 's', 'old' || n, '', 201, CAST('{}' AS jsonb), now() - interval '8 days'"
            " FROM generate_series(1, 50) n UNION ALL SELECT 's', 'young', '', 201, CAST('{}' AS jsonb), now()"
        ))  # fmt: skip
    for number in range(3):
        key = {"Idempotency-Key": f"k{number}"}
        made = await client.post("/campaigns/create-campaigns", json=campaign_body(f"c{number}"), headers=key)
        assert made.status_code == 201
        async with database.read() as session:
            left = (
                await session.execute(text("SELECT count(*) FROM idempotency_keys WHERE key LIKE 'old%'"))
            ).scalar_one()
        assert left == max(0, 50 - 20 * (number + 1)), "one call removes some, and no more than some"
    async with database.read() as session:
        keys = (await session.execute(text("SELECT key FROM idempotency_keys ORDER BY key"))).scalars().all()
    assert keys == ["k0", "k1", "k2", "young"]


async def older(database: Database, by: str) -> None:
    async with database.begin() as session:
        await session.execute(text(f"UPDATE idempotency_keys SET created_at = created_at - interval '{by}'"))
