"""What web clients rely on when they submit and list contributions."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from storage.engine import Database
from tests.serve.bodies import contribution_body, create, submit

CAMPAIGN = "campaign_1740392301784"


async def test_claims_are_kept_apart_from_the_verified_score(client: httpx.AsyncClient, database: Database) -> None:
    campaign = await create(client)
    made = await submit(client, reputation_score=12, unknown_key="ignored")
    assert made["campaign_id"] == campaign["campaign_id"]
    assert made["onchain_contribution_id"] == "contribution_1"
    assert made["ai_verification_score"] is None
    assert made["claimed_scores"] == {"quality_score": 97, "ai_verification_score": 88.5}
    assert made["quality_score"] == "High Quality"
    assert made["is_verified"] is made["reward_claimed"] is False
    async with database.begin() as session:
        await session.execute(
            text("UPDATE contributions SET verified_score = 80, verdict = 'ACCEPT', is_verified = true")
        )
    listed = (await client.get(f"/campaigns/get-contributions/{CAMPAIGN}")).json()["contributions"][0]
    assert listed["ai_verification_score"] == 80
    assert listed["quality_score"] == "Medium Quality"
    assert listed["claimed_scores"]["quality_score"] == 97


@pytest.mark.parametrize(
    ("claim", "category"),
    [(95.1, "High Quality"), (95, "Medium Quality"), (80, "Medium Quality"), (79.9, "Low Quality"), (None, None)],
)
async def test_quality_is_a_category(client: httpx.AsyncClient, claim: float | None, category: str | None) -> None:
    await create(client)
    made = await submit(client, quality_score=claim, ai_verification_score=None)
    assert made["quality_score"] == category


@pytest.mark.parametrize(
    ("verdict", "score", "category"),
    [
        ("ERROR", None, "Low Quality"), ("REJECT", None, "Low Quality"), ("REVIEW", None, "Low Quality"),
        ("REJECT", 40.0, "Low Quality"), ("REJECT", 0.0, "Low Quality"), ("ACCEPT", 84.0, "Medium Quality"),
    ],
)  # fmt: skip
async def test_a_claim_counts_for_nothing_once_there_is_a_verdict(
    client: httpx.AsyncClient, database: Database, verdict: str, score: float | None, category: str
) -> None:
    await create(client)
    assert (await submit(client, quality_score=99))["quality_score"] == "High Quality"
    async with database.begin() as session:
        values = {"verdict": verdict, "score": score}
        await session.execute(text("UPDATE contributions SET verified_score = :score, verdict = :verdict"), values)
    listed = (await client.get(f"/campaigns/get-contributions/{CAMPAIGN}")).json()["contributions"][0]
    assert listed["quality_score"] == category


async def test_lists_filter_by_contributor_page_and_count_distinct_contributors(client: httpx.AsyncClient) -> None:
    await create(client)
    for number in range(5):
        await submit(client, f"x{number}", contributor="0xa" if number % 2 else "0xb")
    url: str | None = f"/campaigns/get-contributions/{CAMPAIGN}?limit=2"
    seen: list[str] = []
    while url:
        page = await client.get(url)
        assert page.json()["unique_contributions_count"] == 2
        seen += [row["onchain_contribution_id"] for row in page.json()["contributions"]]
        url = page.links["next"]["url"] if "next" in page.links else None
    assert seen == ["x0", "x1", "x2", "x3", "x4"]
    mine = await client.get(f"/campaigns/get-contributions/{CAMPAIGN}", params={"contributor": "0xa"})
    assert [row["onchain_contribution_id"] for row in mine.json()["contributions"]] == ["x1", "x3"]
    campaign = (await client.get(f"/campaigns/{CAMPAIGN}")).json()
    assert (campaign["current_contributions"], campaign["unique_contributions_count"]) == (5, 2)
    assert (await client.get("/campaigns/get-contributions/nope")).status_code == 404


async def test_a_repeated_submission_is_the_first_row_or_a_conflict_also_after_the_campaign_closed(
    client: httpx.AsyncClient, database: Database
) -> None:
    await create(client)
    first = await submit(client)
    async with database.begin() as session:
        await session.execute(text("UPDATE campaigns SET is_active = false"))
    again = await client.post("/campaigns/submit-contributions", json=contribution_body())
    assert (again.status_code, again.json()) == (200, first)
    other = await client.post(
        "/campaigns/submit-contributions", json=contribution_body(data_url="https://other.example")
    )
    assert other.status_code == 409
    assert other.json()["subject"] == first["contribution_id"]
    new = await client.post("/campaigns/submit-contributions", json=contribution_body("contribution_2"))
    assert new.status_code == 400
    assert "not active" in new.json()["message"]


async def test_expired_unknown_and_full_campaigns_refuse(client: httpx.AsyncClient) -> None:
    await create(client, "old", expiration=1)
    expired = await client.post("/campaigns/submit-contributions", json=contribution_body(campaign_id="old"))
    assert (expired.status_code, expired.json()["code"]) == (400, "campaign_closed")
    unknown = await client.post("/campaigns/submit-contributions", json=contribution_body(campaign_id="nope"))
    assert unknown.status_code == 404
    await create(client, "small", max_data_count=3)
    answers = await asyncio.gather(*(
        client.post("/campaigns/submit-contributions", json=contribution_body(f"s{n}", campaign_id="small", contributor=f"0x{n}"))
        for n in range(8)
    ))  # fmt: skip
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
    small = (await client.get("/campaigns/small")).json()
    assert (small["current_contributions"], small["unique_contributions_count"]) == (3, 3)


async def test_one_key_sent_many_times_at_once_submits_once(client: httpx.AsyncClient, database: Database) -> None:
    await create(client)
    body = contribution_body("")  # no on-chain id: only the key tells a repeat
    answers = await asyncio.gather(*(
        client.post("/campaigns/submit-contributions", json=body, headers={"Idempotency-Key": "one"}) for _ in range(5)
    ))  # fmt: skip
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["contribution_id"] for answer in answers}) == 1
    async with database.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM contributions"))).scalar_one() == 1
        kinds = (await session.execute(text("SELECT kind, actor FROM activities ORDER BY activity_id"))).all()
    assert [tuple(row) for row in kinds] == [("campaign_created", "0xc"), ("contribution_submitted", "0xa")]


@pytest.mark.parametrize(
    ("field", "value"),
    [("quality_score", -1), ("quality_score", 101), ("quality_score", "97"), ("ai_verification_score", True),
     ("reputation_score", -0.5), ("contributor", ""), ("contributor", "a\x00"), ("contributor", "0xa\u200b"),
     ("data_url", ""), ("data_url", "x" * 3000),
     ("data_url", "https://a\u202eb"), ("blob_id", 5), ("campaign_id", None)],
)  # fmt: skip
async def test_a_wrong_field_is_named(client: httpx.AsyncClient, field: str, value: Any) -> None:
    response = await client.post("/campaigns/submit-contributions", json=contribution_body(**{field: value}))
    assert response.status_code == 422
    assert [entry["path"] for entry in response.json()["errors"]] == [f"$.{field}"]
