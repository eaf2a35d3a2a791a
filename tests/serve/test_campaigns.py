"""What web clients rely on when they create, list and poll campaigns."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from storage.engine import Database
from tests.serve.bodies import campaign_body, create


async def test_a_created_campaign_is_answered_with_what_clients_read(client: httpx.AsyncClient) -> None:
    made = await create(client)
    assert made["unit_price"] == 25_000_000
    assert isinstance(made["unit_price"], int)
    assert made["is_active"] is True
    assert made["is_premium"] is False
    assert made["required_quality_score"] == 70
    assert made["current_contributions"] == made["unique_contributions_count"] == 0
    polled = await client.get("/campaigns/campaign_1740392301784")
    assert polled.json() == made
    assert list(polled.json()) == list(made)


async def test_a_repeated_create_is_the_first_row_or_a_conflict_that_names_it(client: httpx.AsyncClient) -> None:
    body = campaign_body()
    first = await client.post("/campaigns/create-campaigns", json=body)
    again = await client.post("/campaigns/create-campaigns", json={**body, "unknown": 1})
    assert again.status_code == 200
    assert again.json() == first.json()
    other = await client.post("/campaigns/create-campaigns", json={**body, "title": "Other"})
    assert other.status_code == 409
    assert other.json()["subject"] == first.json()["campaign_id"]
    assert other.json()["fields"] == ["title"]
    assert other.json()["message"] == other.json()["detail"]


async def test_lists_are_bare_arrays_newest_first_with_a_link_to_the_next_page(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await create(client, f"c{number}", creator_wallet_address="0xa" if number % 2 else "0xb")
    await create(client, "old", expiration=1)
    seen: list[str] = []
    url: str | None = "/campaigns/all?limit=2"
    while url:
        page = await client.get(url)
        seen += [row["onchain_campaign_id"] for row in page.json()]
        url = page.links["next"]["url"] if "next" in page.links else None
    assert seen == ["old", "c4", "c3", "c2", "c1", "c0"]
    active = (await client.get("/campaigns/active")).json()
    assert [row["onchain_campaign_id"] for row in active] == ["c4", "c3", "c2", "c1", "c0"]
    created = (await client.get("/campaigns/0xa/campaigns/created")).json()
    assert [row["onchain_campaign_id"] for row in created] == ["c3", "c1"]
    assert (await client.get("/campaigns/0xnobody/campaigns/created")).json() == []


async def test_an_unknown_campaign_is_a_problem_document(client: httpx.AsyncClient) -> None:
    response = await client.get("/campaigns/nope")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == "not_found"
    assert problem["subject"] == "nope"
    assert problem["instance"] == "/campaigns/nope"
    assert "nope" in problem["message"]


async def test_an_idempotency_key_replays_the_first_answer(client: httpx.AsyncClient, database: Database) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = campaign_body()
    first = await client.post("/campaigns/create-campaigns", json=body, headers=headers)
    again = await client.post("/campaigns/create-campaigns", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    misused = await client.post("/campaigns/create-campaigns", json=campaign_body("c2"), headers=headers)
    assert misused.status_code == 409
    async with database.read() as session:
        activities = (await session.execute(text("SELECT kind, actor FROM activities"))).all()
    assert [tuple(row) for row in activities] == [("campaign_created", "0xc")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unit_price", -1), ("unit_price", 2**64), ("unit_price", 1e300), ("unit_price", 1.5), ("unit_price", True),
        ("unit_price", "ten"), ("unit_price", None), ("expiration", -5), ("platform_fee", 10_001),
        ("required_quality_score", 101), ("title", "x" * 1_000_000), ("title", "a\x00b"), ("title", "a\u202eb"),
        ("title", " "), ("title", 5), ("description", "\u2066x"), ("quality_criteria", 80), ("quality_criteria", "80"),
        ("data_requirements", "99.5"), ("onchain_campaign_id", "all"), ("onchain_campaign_id", "a/b"),
        ("creator_wallet_address", "0x\n1"), ("creator_wallet_address", "0x\u20281"), ("title", "\u200b \ufeff"),
        ("onchain_campaign_id", "camp\u200baign"), ("metadata_uri", "\ufeff"), ("max_data_count", 2**63), ("description", "\ud800"),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named_by_its_path(client: httpx.AsyncClient, field: str, value: Any) -> None:
    response = await client.post(
        "/campaigns/create-campaigns",
        content=json.dumps(campaign_body(**{field: value})),
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 422, response.text[:300]
    assert [(entry["in"], entry["path"]) for entry in response.json()["errors"]] == [("body", f"$.{field}")]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
async def test_numbers_that_json_does_not_have_are_refused(client: httpx.AsyncClient, number: str) -> None:
    body = json.dumps(campaign_body()).replace("25000000.0", number)
    response = await client.post(
        "/campaigns/create-campaigns", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 422, response.text


@pytest.mark.parametrize(
    "path",
    ["/campaigns/a%00b", "/campaigns/a%E2%80%AEb", "/campaigns/all?limit=0", "/campaigns/all?limit=99999999999999999999",
     "/campaigns/all?after=x", "/campaigns/a%00b/campaigns/created", "/campaigns/" + "x" * 5000],
)  # fmt: skip
async def test_wrong_paths_and_queries_are_422(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 422, response.text
    assert response.json()["errors"]
