"""A batch over HTTP: started at once, watched, paged through, cancelled."""

from __future__ import annotations

import uuid

import httpx
from sqlalchemy import text

from storage import verifications
from storage.engine import Database
from storage.verifications import ResultRow
from tests.serve.bodies import create, submit
from tests.serve.length_verification import LengthVerification

CAMPAIGN = "campaign_1740392301784"
START = "/agent-workflows/verify-campaign-dataset"


async def test_a_batch_from_start_to_end(
    client: httpx.AsyncClient, database: Database, verification: LengthVerification
) -> None:
    campaign = await create(client)
    made = [await submit(client, f"x{number}", contributor=f"0x{number}") for number in range(4)]
    response = await client.post(START, json={"onchain_campaign_id": CAMPAIGN})
    assert response.status_code == 202
    started = response.json()
    assert (started["triggered_count"], started["total_found_in_campaign"]) == (4, 4)
    assert started["message"]
    batch_id = uuid.UUID(started["batch_id"])
    assert verification.woken == [batch_id]

    url = f"/verification-batches/{batch_id}"
    waiting = (await client.get(url)).json()
    assert (waiting["state"], waiting["judged"], waiting["throughput_per_s"]) == ("pending", 0, None)
    assert waiting["estimated_seconds_left"] is None
    async with database.begin() as session:
        epoch = await verifications.take_over(session, batch_id)
        assert epoch is not None
        await session.execute(text("UPDATE verification_batches SET started_at = now() - interval '100 s'"))
        rows = [
            ResultRow(
                campaign_id=uuid.UUID(campaign["campaign_id"]), contributor=row["contributor"],
                contribution_id=uuid.UUID(row["contribution_id"]), verdict=verdict, reasoning="r",
                score=score, error_code=code,
            )
            for row, (verdict, score, code) in zip(
                made, [("ACCEPT", 90.0, None), ("REJECT", 20.0, None), ("ERROR", None, "unreadable")], strict=False
            )
        ]  # fmt: skip
        await verifications.write_results(session, batch_id, epoch, rows)
    running = (await client.get(url)).json()
    assert running["state"] == "running"
    assert running["verdicts"] == {"ACCEPT": 1, "REJECT": 1, "REVIEW": 0, "ERROR": 1}
    assert running["errors"] == {"unreadable": 1}
    assert running["throughput_per_s"] == 0.03
    assert 33 <= running["estimated_seconds_left"] < 41

    # An hour in which nothing ran counts neither for the pace nor for the time that is left.
    async with database.begin() as session:
        await session.execute(text("UPDATE verification_batches SET started_at = now() - interval '1 h'"))
        moved = "UPDATE verification_results SET created_at = now() - interval '1 h' WHERE verdict = :verdict"
        await session.execute(text(moved), {"verdict": "ACCEPT"})
    resumed = (await client.get(url)).json()
    assert (resumed["judged"], resumed["throughput_per_s"], resumed["estimated_seconds_left"]) == (3, 0.02, 60.0)
    async with database.begin() as session:
        for verdict in ("REJECT", "ERROR"):
            await session.execute(text(moved), {"verdict": verdict})
    standing = (await client.get(url)).json()
    assert (standing["throughput_per_s"], standing["estimated_seconds_left"]) == (None, None)

    page = await client.get(f"{url}/results", params={"limit": 2})
    assert [row["decision"] for row in page.json()] == ["ACCEPT", "REJECT"]
    rest = await client.get(page.links["next"]["url"])
    assert [(row["decision"], row["score"]) for row in rest.json()] == [("ERROR", None)]
    errors = (await client.get(f"{url}/results", params={"verdict": "ERROR"})).json()
    assert [row["contribution_id"] for row in errors] == [made[2]["contribution_id"]]
    assert (await client.get(f"{url}/results", params={"verdict": "MAYBE"})).status_code == 422

    cancelling = (await client.post(f"{url}/cancel")).json()
    assert (cancelling["state"], cancelling["cancel_requested"]) == ("running", True)
    async with database.begin() as session:
        await verifications.finish(session, batch_id, epoch, "cancelled")
    ended = (await client.post(f"{url}/cancel")).json()
    assert (ended["state"], ended["estimated_seconds_left"]) == ("cancelled", 0)
    async with database.read() as session:
        kinds = (await session.execute(text("SELECT kind FROM activities ORDER BY activity_id"))).scalars().all()
    assert kinds[-2:] == ["batch_started", "batch_cancelled"]


async def test_a_sample_and_a_waiting_batch_cancelled(client: httpx.AsyncClient) -> None:
    await create(client)
    for number in range(5):
        await submit(client, f"x{number}")
    started = (await client.post(START, json={"onchain_campaign_id": CAMPAIGN, "sample_size": 2.0})).json()
    assert (started["triggered_count"], started["total_found_in_campaign"]) == (2, 5)
    cancelled = (await client.post(f"/verification-batches/{started['batch_id']}/cancel")).json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["finished_at"] is not None


async def test_only_what_nothing_could_judge_yet(client: httpx.AsyncClient, database: Database) -> None:
    await create(client)
    ids = [(await submit(client, f"x{number}"))["contribution_id"] for number in range(3)]
    async with database.begin() as session:
        given = {"verdict": "ERROR", "id": ids[0]}
        await session.execute(text("UPDATE contributions SET verdict = :verdict WHERE contribution_id = :id"), given)
        given = {"verdict": "REJECT", "id": ids[1]}
        await session.execute(text("UPDATE contributions SET verdict = :verdict WHERE contribution_id = :id"), given)
    asked = {"onchain_campaign_id": CAMPAIGN, "only_unjudged": True}
    started = (await client.post(START, json=asked)).json()
    assert (started["triggered_count"], started["total_found_in_campaign"]) == (2, 3)
    wrong = await client.post(START, json={**asked, "only_unjudged": "perhaps"})
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "$.only_unjudged")


async def test_a_repeated_start_under_one_key_is_one_batch(client: httpx.AsyncClient, database: Database) -> None:
    await create(client)
    headers = {"Idempotency-Key": "b"}
    answers = [await client.post(START, json={"onchain_campaign_id": CAMPAIGN}, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    async with database.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM verification_batches"))).scalar_one() == 1


async def test_unknown_and_wrong(client: httpx.AsyncClient) -> None:
    assert (await client.post(START, json={"onchain_campaign_id": "nope"})).status_code == 404
    for size in (0, -1, 2**31, 1.5, "3"):
        wrong = await client.post(START, json={"onchain_campaign_id": CAMPAIGN, "sample_size": size})
        assert wrong.status_code == 422, size
    for path in ("", "/results"):
        assert (await client.get(f"/verification-batches/{uuid.uuid4()}{path}")).status_code == 404
        assert (await client.get(f"/verification-batches/x{path}")).status_code == 422
    assert (await client.post(f"/verification-batches/{uuid.uuid4()}/cancel")).status_code == 404
