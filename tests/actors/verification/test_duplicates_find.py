"""Duplicates through the database: who is named as the original, how fast, and that copies cannot hide in a crowd."""

import time
from typing import Any
from uuid import UUID

from sqlalchemy import event, func, select

from actors.verification import duplicates
from actors.verification.models import Content
from storage import campaigns, contributions, fingerprints
from storage.engine import Database
from storage.fingerprints import ContentFingerprint, FingerprintBand, FingerprintRow


def _text(text: str, content_hash: str | None = None) -> Content:
    return Content(
        content_hash=content_hash or f"hash of {text}", kind="text", media_type="text/plain", size=len(text), text=text
    )


async def _campaign(database: Database, texts: list[str], onchain_id: str = "c1") -> tuple[UUID, list[FingerprintRow]]:
    """A campaign with these contributions, wallet `0x<n>` each, and their rows in order of submission."""
    body: dict[str, Any] = {
        "onchain_campaign_id": onchain_id, "title": "t", "description": "d", "data_requirements": "a",
        "quality_criteria": "b", "unit_price": 1, "total_budget": 1, "campaign_type": "Text", "min_data_count": 1,
        "max_data_count": 10, "expiration": int(time.time()) + 99, "metadata_uri": "", "transaction_hash": "",
        "platform_fee": 0, "creator_wallet_address": "0xc", "is_premium": False, "required_quality_score": 70.0,
    }  # fmt: skip
    item = {
        "onchain_contribution_id": "", "data_url": "", "blob_id": None, "file_type": None, "transaction_hash": "",
        "claimed_quality_score": None, "claimed_ai_verification_score": None, "reputation_score": None,
    }  # fmt: skip
    async with database.begin() as session:
        campaign, _ = await campaigns.create(session, body)
        ids = await contributions.submit_many(
            session, campaign.campaign_id, [item | {"contributor": f"0x{n}"} for n in range(len(texts))]
        )
        stored = {row.contribution_id: row.seq for row in await contributions.sources(session, ids)}
    rows = [
        duplicates.row(_text(text), contribution_id=id_, seq=stored[id_], contributor=f"0x{n}")
        for n, (id_, text) in enumerate(zip(ids, texts, strict=True))
    ]
    return campaign.campaign_id, rows


RICE = "please boil two cups of rice with a pinch of salt"
CAR = "the engine of my old car makes a loud noise when it is cold"


async def test_the_earliest_equal_or_near_content_is_named_whatever_the_wallet(database: Database) -> None:
    texts = [
        RICE,
        CAR,
        RICE.upper() + "!",
        RICE.replace("pinch", "bit"),
        CAR + " outside",
        "something else entirely, a walk by the sea",
    ]
    campaign_id, rows = await _campaign(database, texts)
    async with database.begin() as session:
        await fingerprints.register(session, campaign_id, rows)
        found = await duplicates.find(session, campaign_id, rows, threshold=0.8)
    assert set(found) == {rows[i].contribution_id for i in (2, 3, 4)}
    same, near, longer = (found[rows[i].contribution_id] for i in (2, 3, 4))
    assert (same.kind, same.similarity, same.contribution_id, same.contributor) == (
        "exact", 1.0, rows[0].contribution_id, "0x0",
    )  # fmt: skip
    assert (near.kind, near.contribution_id) == ("near", rows[0].contribution_id)
    assert 0.8 <= near.similarity < 1
    assert (longer.kind, longer.contribution_id) == ("near", rows[1].contribution_id)


async def test_an_equal_copy_is_called_equal_even_where_an_earlier_one_is_near(database: Database) -> None:
    variant = RICE.replace("pinch", "bit")
    campaign_id, rows = await _campaign(database, [RICE, variant, variant])
    async with database.begin() as session:
        await fingerprints.register(session, campaign_id, rows)
        found = await duplicates.find(session, campaign_id, rows, threshold=0.8)
    assert found[rows[2].contribution_id].kind == "exact"
    assert found[rows[2].contribution_id].contribution_id == rows[1].contribution_id


async def test_later_submissions_and_other_campaigns_make_no_duplicate(database: Database) -> None:
    first, rows = await _campaign(database, [RICE, RICE])
    other, others = await _campaign(database, [RICE], "c2")
    async with database.begin() as session:
        await fingerprints.register(session, first, rows)
        await fingerprints.register(session, other, others)
        assert set(await duplicates.find(session, first, rows[:1], threshold=0.8)) == set()
        assert await duplicates.find(session, other, others, threshold=0.8) == {}
        assert await duplicates.find(session, first, [], threshold=0.8) == {}


async def test_registering_twice_changes_nothing_and_new_content_replaces_the_old(database: Database) -> None:
    campaign_id, rows = await _campaign(database, [RICE, CAR, CAR])
    for _ in range(2):
        async with database.begin() as session:
            await fingerprints.register(session, campaign_id, rows)
    async with database.read() as session:
        assert (await session.execute(select(func.count()).select_from(ContentFingerprint))).scalar_one() == 3
        bands = (await session.execute(select(func.count()).select_from(FingerprintBand))).scalar_one()
        assert bands == sum(len(set(row.band_keys)) for row in rows)
    changed = duplicates.row(
        _text(CAR), contribution_id=rows[0].contribution_id, seq=rows[0].seq, contributor=rows[0].contributor
    )
    async with database.begin() as session:
        await fingerprints.register(session, campaign_id, [changed])
        found = await duplicates.find(session, campaign_id, rows[1:], threshold=0.8)
    assert {each.contribution_id for each in found.values()} == {rows[0].contribution_id}


# Of the present transaction. Counted, because seconds depend on what else the machine does.
ROWS_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), pg_stat_force_next_flush()
FROM pg_stat_xact_user_tables
"""


async def test_a_chunk_costs_four_statements_and_a_crowd_of_copies_stays_cheap(database: Database) -> None:
    """Spam: 2,000 near-equal rows. Work per chunk must not grow with them, and each copy names the first."""
    crowd = [f"{RICE} number {n} of many and a little more to read" for n in range(2_000)]
    campaign_id, rows = await _campaign(database, crowd)
    statements: list[str] = []
    event.listen(
        database.engine.sync_engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )
    read: list[int] = []
    for start in range(0, len(rows), 64):
        chunk = rows[start : start + 64]
        async with database.begin() as session:
            await fingerprints.register(session, campaign_id, chunk)
            found = await duplicates.find(session, campaign_id, chunk, threshold=0.8)
            connection = await (await session.connection()).get_raw_connection()
            assert connection.driver_connection is not None
            cursor = await connection.driver_connection.execute(ROWS_READ)
            read.append(int((await cursor.fetchone())[0]))
        assert {each.contribution_id for each in found.values()} == {rows[0].contribution_id}
        assert len(found) == len(chunk) - (start == 0)
    assert len(statements) == 4 * len(read)
    assert max(read) < 1.5 * read[0]
