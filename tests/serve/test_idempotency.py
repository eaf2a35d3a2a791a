"""Keys of repeated writes: whose they are, how long they count, and that they are kept with what was done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlalchemy import text

from storage.engine import Database
from storage.reviews import Review
from tests.actors.reviews.asking import People
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


async def test_a_deed_is_kept_with_its_key_or_not_at_all(
    client: httpx.AsyncClient, people: People, database: Database
) -> None:
    """A process that is killed before its answer is out has either done nothing, or is answered for by its key."""
    for address, body, looked_at in await deeds(people):

        async def standing(address: str = looked_at) -> dict[str, Any]:
            found = (await client.get(address)).json()
            return {name: found.get(name) for name in ("attempt", "cancel_requested", "interrupts", "decisions")}

        before = await standing()
        async with cut_off_at_the_commit(database):
            assert (await client.post(address, json=body, headers=KEY)).status_code == 500, address
        assert await standing() == before, address
        first = await client.post(address, json=body, headers=KEY)
        after = await standing()
        again = await client.post(address, json=body, headers=KEY)
        assert first.status_code in (200, 202), (address, first.text)
        assert "idempotency-replayed" not in first.headers
        assert after != before, address
        assert (again.status_code, again.json()) == (first.status_code, first.json()), address
        assert again.headers["idempotency-replayed"] == "true"


async def test_equal_calls_at_once_do_it_once_and_are_answered_alike(
    client: httpx.AsyncClient, people: People, database: Database
) -> None:
    for address, body, _ in await deeds(people):
        several = await asyncio.gather(*(client.post(address, json=body, headers=KEY) for _ in range(4)))
        assert {each.status_code for each in several} <= {200, 202}, [each.text for each in several]
        assert all(each.json() == several[0].json() for each in several), address
        assert len([each for each in several if "idempotency-replayed" not in each.headers]) == 1, address
    async with database.read() as session:
        done = text("SELECT (SELECT count(*) FROM review_decisions), (SELECT max(attempt) FROM runs)")
        assert tuple((await session.execute(done)).one()) == (1, 2)


async def test_a_refused_decision_is_on_record_and_takes_no_key(client: httpx.AsyncClient, people: People) -> None:
    _, review = await people.asked()
    await people.reviews.claim(review.review_id, by="bob")
    address, body = f"/teams/reviews/{review.review_id}/decide", approval(review)
    refused = await client.post(address, json=body, headers=KEY)
    assert (refused.status_code, refused.json()["conflict"], refused.json()["state"]["holder"]) == (409, "held", "bob")
    assert (await people.actions(review.review_id))[-1] == "refused"
    await people.reviews.release(review.review_id, by="bob")
    taken = await client.post(address, json=body, headers=KEY)
    assert (taken.status_code, taken.json()["state"]) == (200, "approved")


def approval(review: Review) -> dict[str, Any]:
    return {"answer": "approve", "review_id": str(review.review_id), "saw": review.saw, "reviewer": "ann"}


async def deeds(people: People) -> list[tuple[str, Any, str]]:
    """What is done to runs and reviews under a key: where, with which body, and where it shows."""
    runs = people.engine.runs
    failing, asking, gated = [
        (await runs.start(kind, spec, {"trail": []})).run_id
        for kind, spec in (("failing", {}), ("asking", {}), ("gated", {"gate": "never"}))
    ]
    _, review = await people.asked()
    await people.engine.ended(failing)
    questions = (await people.engine.waiting(asking)).interrupts
    return [
        (f"/runs/{failing}/retry", None, f"/runs/{failing}"),
        (f"/runs/{asking}/resume", {"answers": {questions[0]["id"]: "yes"}}, f"/runs/{asking}"),
        (f"/runs/{gated}/cancel", None, f"/runs/{gated}"),
        (
            f"/teams/reviews/{review.review_id}/decide", approval(review), f"/teams/reviews/{review.review_id}"
        ),
    ]  # fmt: skip


@asynccontextmanager
async def cut_off_at_the_commit(database: Database) -> AsyncIterator[None]:
    """Whoever writes a key meanwhile comes as far as its commit, and no further."""
    async with database.begin() as session:
        await session.execute(text(
            "CREATE FUNCTION cut_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'killed here'; END $$"
        ))  # fmt: skip
        await session.execute(text(
            "CREATE CONSTRAINT TRIGGER cut_off AFTER INSERT ON idempotency_keys DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION cut_off()"
        ))  # fmt: skip
    yield
    async with database.begin() as session:
        await session.execute(text("DROP FUNCTION cut_off() CASCADE"))


async def older(database: Database, by: str) -> None:
    async with database.begin() as session:
        await session.execute(text(f"UPDATE idempotency_keys SET created_at = created_at - interval '{by}'"))
