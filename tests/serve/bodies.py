"""Requests that clients send."""

from __future__ import annotations

import time
from typing import Any

import httpx


def campaign_body(onchain_id: str = "campaign_1740392301784", **changes: Any) -> dict[str, Any]:
    return {
        "onchain_campaign_id": onchain_id, "title": "Recipes", "description": "Home cooking",
        "data_requirements": "a dish|||its steps", "quality_criteria": "clear|||complete", "unit_price": 25000000.0,
        "total_budget": 10**12, "campaign_type": "Text", "min_data_count": 1, "max_data_count": 100,
        "expiration": int(time.time()) + 3600, "metadata_uri": "ipfs://x", "transaction_hash": "0x1",
        "platform_fee": 250, "creator_wallet_address": "0xc",
    } | changes  # fmt: skip


def contribution_body(onchain_id: str = "contribution_1", **changes: Any) -> dict[str, Any]:
    return {
        "onchain_contribution_id": onchain_id, "campaign_id": "campaign_1740392301784", "contributor": "0xa",
        "data_url": "https://aggregator.example/v1/blobs/abc", "transaction_hash": "0x2", "quality_score": 97,
        "ai_verification_score": 88.5,
    } | changes  # fmt: skip


async def create(client: httpx.AsyncClient, onchain_id: str = "campaign_1740392301784", **changes: Any) -> Any:
    response = await client.post("/campaigns/create-campaigns", json=campaign_body(onchain_id, **changes))
    assert response.status_code == 201, response.text
    return response.json()


async def submit(client: httpx.AsyncClient, onchain_id: str = "contribution_1", **changes: Any) -> Any:
    response = await client.post("/campaigns/submit-contributions", json=contribution_body(onchain_id, **changes))
    assert response.status_code == 201, response.text
    return response.json()
