"""Everything that existing web clients send and read, by the very names: one who drops or renames a field breaks them."""

from __future__ import annotations

import time
from typing import Any

import httpx

from tests.serve.bodies import contribution_body

CAMPAIGN = "campaign_1740392301784"
SENT = {
    "onchain_campaign_id": CAMPAIGN, "title": "Recipes", "description": "Home cooking",
    "data_requirements": "a dish|||its steps", "quality_criteria": "clear|||complete", "unit_price": 25000000.0,
    "total_budget": 100000000000, "campaign_type": "Text", "min_data_count": 1, "max_data_count": 100,
    "expiration": int(time.time()) + 3600, "metadata_uri": "ipfs://meta", "transaction_hash": "0x1", "platform_fee": 250,
    "creator_wallet_address": "0xc",
}  # fmt: skip
OPTIONAL = {"is_premium": True, "required_quality_score": 82.5}
CAMPAIGN_ANSWER = {
    *SENT, *OPTIONAL, "campaign_id", "is_active", "current_contributions", "unique_contributions_count", "created_at",
}  # fmt: skip
CONTRIBUTION_ANSWER = {
    "contribution_id", "onchain_contribution_id", "campaign_id", "contributor", "data_url", "transaction_hash",
    "ai_verification_score", "reputation_score", "is_verified", "reward_claimed", "created_at", "quality_score",
}  # fmt: skip
VERDICT = {
    "decision", "score", "reasoning", "message", "file_type_processed", "onchain_campaign_id",
    "contributor_wallet_address",
}  # fmt: skip


async def test_a_campaign_from_both_ends(client: httpx.AsyncClient) -> None:
    made = await client.post("/campaigns/create-campaigns", json=SENT | OPTIONAL)
    assert made.status_code == 201, made.text
    polled = (await client.get(f"/campaigns/{CAMPAIGN}")).json()
    assert set(polled) >= CAMPAIGN_ANSWER
    assert {name: polled[name] for name in SENT | OPTIONAL} == SENT | OPTIONAL
    for path in ("all", "active", "0xc/campaigns/created"):
        assert (await client.get(f"/campaigns/{path}")).json() == [polled]


async def test_each_required_field_of_a_campaign_is_missed_by_its_name(client: httpx.AsyncClient) -> None:
    for name in SENT:
        body = {key: value for key, value in SENT.items() if key != name}
        refused = await client.post("/campaigns/create-campaigns", json=body)
        assert refused.status_code == 422, name
        assert [each["path"] for each in refused.json()["errors"]] == [f"$.{name}"]
        # They read the sentence in `message`; FastAPI's own key is `detail`.
        assert name in refused.json()["message"] == refused.json()["detail"]


async def test_a_contribution_from_both_ends(client: httpx.AsyncClient) -> None:
    await client.post("/campaigns/create-campaigns", json=SENT)
    optional: dict[str, Any] = {
        "reputation_score": 12,
        "blob_id": "b",
        "file_type": "text/plain",
        "a_key_of_tomorrow": 1,
    }
    made = await client.post("/campaigns/submit-contributions", json=contribution_body(**optional))
    assert made.status_code == 201, made.text
    listed = (await client.get(f"/campaigns/get-contributions/{CAMPAIGN}?contributor=0xa")).json()
    assert listed["contributions"] == [made.json()]
    assert listed["unique_contributions_count"] == 1
    assert set(made.json()) >= CONTRIBUTION_ANSWER


async def test_verification_of_both_generations(client: httpx.AsyncClient) -> None:
    await client.post("/campaigns/create-campaigns", json=SENT)
    form, path = {"onchain_campaign_id": CAMPAIGN, "wallet_address": "0xa"}, "/ai-verification"
    sent = {"submission_file": ("a.txt", b"x" * 90)}
    newer = (await client.post(f"{path}/verify-submission", data=form, files=sent)).json()
    assert set(newer) >= VERDICT
    for kind, data in (("text", b"x" * 90), ("image", b"\x89PNG\r\n\x1a\n" + b"x" * 90)):
        older = await client.post(f"{path}/contributions/verify-{kind}", data=form, files={"file": ("a", data)})
        assert older.json()["verification_score"] >= 80
