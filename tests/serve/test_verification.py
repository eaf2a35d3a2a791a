"""Judging one file or one contribution while the caller waits."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text

from storage.engine import Database
from tests.serve.bodies import create, submit
from tests.serve.length_verification import LengthVerification

CAMPAIGN = "campaign_1740392301784"
SUBMISSION = "/ai-verification/verify-submission"
OLDER = "/ai-verification/contributions"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 100


async def send(client: httpx.AsyncClient, path: str, data: bytes, name: str = "a.txt", **form: str) -> httpx.Response:
    field = "submission_file" if path == SUBMISSION else "file"
    form = {"onchain_campaign_id": CAMPAIGN, "wallet_address": "0xa", **form}
    return await client.post(path, data=form, files={field: (name, data)})


async def test_a_submission_is_judged_with_what_clients_read(client: httpx.AsyncClient, database: Database) -> None:
    await create(client)
    answer = (await send(client, SUBMISSION, b"x" * 90)).json()
    assert answer["decision"] == "ACCEPT"
    assert answer["score"] == 90
    assert answer["file_type_processed"] == "text"
    assert answer["onchain_campaign_id"] == CAMPAIGN
    assert answer["contributor_wallet_address"] == "0xa"
    assert answer["reasoning"]
    assert "90" in answer["message"]
    image = (await send(client, SUBMISSION, PNG, "a.png")).json()
    assert image["file_type_processed"] == "image"
    async with database.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM verification_results"))).scalar_one() == 2


async def test_a_provider_that_fails_is_a_decision_error_and_never_a_score(client: httpx.AsyncClient) -> None:
    await create(client)
    response = await send(client, SUBMISSION, b"provider down")
    assert response.status_code == 200
    assert response.json()["decision"] == "ERROR"
    assert response.json()["score"] is None
    assert response.json()["error_code"] == "scorer_unavailable"
    older = await send(client, "/ai-verification/contributions/verify-text", b"provider down")
    assert older.status_code == 503
    assert "Retry-After" in older.headers


async def test_refusals_before_judging(client: httpx.AsyncClient) -> None:
    await create(client)
    await create(client, "old", expiration=1)
    assert (await send(client, SUBMISSION, b"x", onchain_campaign_id="nope")).status_code == 404
    assert (await send(client, SUBMISSION, b"x", onchain_campaign_id="old")).status_code == 400
    assert (await send(client, SUBMISSION, b"\xff\xfe\xfd\x00")).status_code == 415
    assert (await send(client, SUBMISSION, b"")).status_code == 415
    named = await send(client, SUBMISSION, b"x", "invoice\u202efdp.exe")
    assert (named.status_code, named.json()["errors"][0]["path"]) == (422, "$.submission_file")
    wallet = await send(client, SUBMISSION, b"x", wallet_address="a\x00b")
    assert (wallet.status_code, wallet.json()["errors"][0]["path"]) == (422, "$.wallet_address")
    missing = await client.post(SUBMISSION, data={"onchain_campaign_id": CAMPAIGN, "wallet_address": "0xa"})
    assert (missing.status_code, missing.json()["errors"][0]["path"]) == (422, "$.submission_file")


async def test_too_large_is_refused_with_and_without_a_declared_length(client: httpx.AsyncClient) -> None:
    await create(client)
    declared = await send(client, SUBMISSION, b"x" * 100_001)
    assert (declared.status_code, declared.json()["code"]) == (413, "body_too_large")
    arrived = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal arrived
        yield b'--b\r\nContent-Disposition: form-data; name="submission_file"; filename="a"\r\n\r\n'
        for _ in range(10_000):
            arrived += 65536
            yield b"x" * 65536

    streamed = await client.post(
        SUBMISSION, content=endless(), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert streamed.status_code == 413
    assert streamed.headers["content-type"] == "application/problem+json"
    assert arrived < 1_000_000, "the rest of the body was read all the same"
    announced = await client.post(
        "/campaigns/create-campaigns",
        content=b"{}",
        headers={"content-length": str(2**40), "content-type": "application/json"},
    )
    assert announced.status_code == 413


async def test_older_clients_read_a_verification_score_of_the_right_kind(client: httpx.AsyncClient) -> None:
    await create(client)
    text_score = await send(client, "/ai-verification/contributions/verify-text", b"x" * 85)
    assert text_score.json()["verification_score"] == 85
    image_score = await send(client, "/ai-verification/contributions/verify-image", PNG, "a.png")
    assert image_score.json()["verification_score"] == 100
    for path, data, name in (("verify-text", PNG, "a.png"), ("verify-image", b"words", "a.txt")):
        wrong = await send(client, f"/ai-verification/contributions/{path}", data, name)
        assert (wrong.status_code, wrong.json()["code"]) == (415, "wrong_kind")


async def test_a_repeated_upload_under_one_key_is_judged_once(client: httpx.AsyncClient, database: Database) -> None:
    await create(client)
    form = {"onchain_campaign_id": CAMPAIGN, "wallet_address": "0xa"}
    answers = [
        await client.post(
            SUBMISSION, data=form, files={"submission_file": ("a.txt", b"x" * 90)}, headers={"Idempotency-Key": "u"}
        )
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    async with database.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM verification_results"))).scalar_one() == 1


async def test_a_stored_contribution_is_judged(client: httpx.AsyncClient, verification: LengthVerification) -> None:
    await create(client)
    await create(client, "other")
    made = await submit(client, data_url="x" * 80)
    body = {"contribution_id": made["contribution_id"], "onchain_campaign_id": CAMPAIGN}
    answer = (await client.post("/agent-workflows/verify-contribution", json=body)).json()
    assert (answer["decision"], answer["score"]) == ("ACCEPT", 80)
    assert answer["contribution_id"] == made["contribution_id"]
    listed = (await client.get(f"/campaigns/get-contributions/{CAMPAIGN}")).json()["contributions"][0]
    assert listed["is_verified"] is True
    assert listed["ai_verification_score"] == 80
    foreign = await client.post("/agent-workflows/verify-contribution", json={**body, "onchain_campaign_id": "other"})
    assert foreign.status_code == 404
    unknown = await client.post("/agent-workflows/verify-contribution", json={"contribution_id": str(uuid.uuid4())})
    assert unknown.status_code == 404


@pytest.mark.parametrize("closed", ["is_active = false", "expiration = 1"])
async def test_what_was_handed_in_is_verified_after_closing_and_new_files_are_not(
    client: httpx.AsyncClient, database: Database, verification: LengthVerification, closed: str
) -> None:
    await create(client)
    made = await submit(client, data_url="x" * 80)
    async with database.begin() as session:
        await session.execute(text(f"UPDATE campaigns SET {closed}"))
    judged = await client.post(
        "/agent-workflows/verify-contribution", json={"contribution_id": made["contribution_id"]}
    )
    assert (judged.status_code, judged.json()["decision"]) == (200, "ACCEPT")
    batch = await client.post("/agent-workflows/verify-campaign-dataset", json={"onchain_campaign_id": CAMPAIGN})
    assert (batch.status_code, batch.json()["triggered_count"]) == (202, 1)
    assert [str(batch_id) for batch_id in verification.woken] == [batch.json()["batch_id"]]
    for path in (SUBMISSION, f"{OLDER}/verify-text"):
        refused = await send(client, path, b"x" * 90)
        assert (refused.status_code, refused.json()["code"]) == (400, "campaign_closed")


@pytest.mark.parametrize("body", [{}, {"contribution_id": "x"}, [], "x", 5, None])
async def test_a_body_of_another_shape_is_422(client: httpx.AsyncClient, body: object) -> None:
    response = await client.post("/agent-workflows/verify-contribution", json=body)
    assert response.status_code == 422


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data_url", ""),
        ("data_url", " "),
        ("data_url", 5),
        ("data_url", "https://a\u202eb"),
        ("onchain_campaign_id", ""),
    ],
)
async def test_a_wrong_field_of_what_is_to_be_verified_is_named(
    client: httpx.AsyncClient, field: str, value: object
) -> None:
    """An empty address is no address: what stands there must not be judged in place of the contribution."""
    body = {"contribution_id": str(uuid.uuid4()), field: value}
    response = await client.post("/agent-workflows/verify-contribution", json=body)
    assert response.status_code == 422
    assert [entry["path"] for entry in response.json()["errors"]] == [f"$.{field}"]
