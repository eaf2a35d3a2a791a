import time
from typing import Any

import pytest
from sqlalchemy import text

from storage import campaigns, contributions, verifications
from storage.engine import Database
from storage.errors import ConflictError


def campaign_body(onchain_id: str = "campaign_1", **changes: Any) -> dict[str, Any]:
    return {
        "onchain_campaign_id": onchain_id, "title": "Recipes", "description": "Home cooking", "data_requirements": "a|||b",
        "quality_criteria": "clear", "unit_price": 10**8, "total_budget": 10**12, "campaign_type": "Text",
        "min_data_count": 1, "max_data_count": 100, "expiration": int(time.time()) + 3600, "metadata_uri": "u",
        "transaction_hash": "0x1", "platform_fee": 250, "creator_wallet_address": "0xc", "is_premium": False,
        "required_quality_score": 70.0,
    } | changes  # fmt: skip


async def test_repeated_create_is_the_same_row_or_a_conflict(database: Database) -> None:
    body = campaign_body()
    async with database.begin() as session:
        first, made = await campaigns.create(session, body)
    assert made
    async with database.begin() as session:
        again, made = await campaigns.create(session, body)
    assert not made
    assert again.campaign_id == first.campaign_id
    with pytest.raises(ConflictError) as caught:
        async with database.begin() as session:
            await campaigns.create(session, {**body, "title": "Other"})
    assert caught.value.subject == str(first.campaign_id)


async def test_any_update_raises_the_version(database: Database) -> None:
    async with database.begin() as session:
        await campaigns.create(session, campaign_body())
    async with database.begin() as session:
        await session.execute(text("UPDATE campaigns SET title = 'x'"))
    async with database.read() as session:
        assert (await campaigns.by_onchain_id(session, "campaign_1")).version == 2


async def test_results_are_written_once_and_only_by_the_present_epoch(database: Database) -> None:
    async with database.begin() as session:
        campaign, _ = await campaigns.create(session, campaign_body())
        bodies = [
            {"onchain_contribution_id": "", "contributor": f"0x{i % 2}", "data_url": "x", "blob_id": None,
             "file_type": None, "transaction_hash": "", "claimed_quality_score": None,
             "claimed_ai_verification_score": None, "reputation_score": None}
            for i in range(5)
        ]  # fmt: skip
        ids = await contributions.submit_many(session, campaign.campaign_id, bodies)
        batch = await verifications.open_batch(session, campaign.campaign_id)
        epoch = await verifications.take_over(session, batch.batch_id)
    assert campaign.current_contributions == 5
    assert campaign.unique_contributions_count == 2
    assert epoch == 1
    rows = [
        verifications.ResultRow(
            campaign_id=campaign.campaign_id, contributor="0x0", verdict="ACCEPT", reasoning="", score=90.0,
            contribution_id=i,
        )
        for i in ids[:3]
    ]  # fmt: skip
    async with database.begin() as session:
        assert await verifications.write_results(session, batch.batch_id, 1, rows) == 3
        assert await verifications.write_results(session, batch.batch_id, 1, rows) == 0
    async with database.begin() as session:
        assert [item for _, item in await verifications.missing(session, batch.batch_id, after=-1, limit=9)] == ids[3:]
        assert await verifications.take_over(session, batch.batch_id) == 2
    with pytest.raises(ConflictError):
        async with database.begin() as session:
            await verifications.write_results(session, batch.batch_id, 1, rows)
    async with database.read() as session:
        assert (await contributions.get(session, ids[0])).verified_score == 90.0
