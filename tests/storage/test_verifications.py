"""Results of a batch as whoever pages through them while it runs comes to see them."""

from __future__ import annotations

import asyncio
from uuid import UUID

from sqlalchemy import text

from storage import campaigns, contributions, verifications
from storage.engine import Database
from storage.verifications import ResultRow
from tests.storage.test_campaigns import campaign_body
from tests.storage.waiting import settled


async def _batch(database: Database, count: int) -> tuple[UUID, int, list[ResultRow]]:
    """A running batch, its epoch, and a row for each of its contributions."""
    body = dict.fromkeys(contributions.BODY_COLUMNS) | {
        "onchain_contribution_id": "", "contributor": "0xa", "data_url": "x", "transaction_hash": "",
    }  # fmt: skip
    async with database.begin() as session:
        campaign, _ = await campaigns.create(session, campaign_body())
        ids = await contributions.submit_many(session, campaign.campaign_id, [body] * count)
        batch_id = (await verifications.open_batch(session, campaign.campaign_id)).batch_id
        epoch = await verifications.take_over(session, batch_id)
    assert epoch is not None
    return batch_id, epoch, [
        ResultRow(
            campaign_id=campaign.campaign_id, contribution_id=each, contributor="0xa", verdict="ACCEPT", reasoning="r"
        )
        for each in ids
    ]  # fmt: skip


async def _write(database: Database, batch_id: UUID, epoch: int, rows: list[ResultRow]) -> int:
    async with database.begin() as session:
        return await verifications.write_results(session, batch_id, epoch, rows)


async def _new(database: Database, batch_id: UUID, seen: list[int]) -> list[int]:
    """What the next page holds past what was seen."""
    async with database.read() as session:
        page = await verifications.results(session, batch_id, limit=99, after=seen[-1] if seen else None)
    return [row.result_id for row in page]


async def test_whoever_pages_while_a_batch_runs_sees_every_row_once(database: Database) -> None:
    batch_id, epoch, rows = await _batch(database, 6)
    seen: list[int] = []
    async with database.begin() as session:
        # Has given ids to its rows, and is slow to commit them.
        assert await verifications.write_results(session, batch_id, epoch, rows[:3]) == 3
        writing = asyncio.create_task(_write(database, batch_id, epoch, rows[3:]))
        await settled(database, writing)
        seen += await _new(database, batch_id, seen)
    assert await writing == 3
    seen += await _new(database, batch_id, seen)
    async with database.read() as session:
        written = await verifications.results(session, batch_id, limit=99)
    assert seen == [row.result_id for row in written]
    assert len(seen) == 6


async def test_a_writer_that_vanished_in_its_turn_is_not_waited_for_without_an_end(database: Database) -> None:
    batch_id, epoch, rows = await _batch(database, 2)
    async with database.begin() as session:
        await verifications.write_results(session, batch_id, epoch, rows[:1])
        limit = await session.execute(text("SHOW idle_in_transaction_session_timeout"))
        assert limit.scalar_one() == "30s"
    # And it is that transaction's alone.
    async with database.begin() as session:
        limit = await session.execute(text("SHOW idle_in_transaction_session_timeout"))
        assert limit.scalar_one() == "0"
