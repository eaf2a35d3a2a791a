"""Duplicates through the database: who is named as the original, how fast, and that copies cannot hide in a crowd."""

import asyncio
import time
from typing import Any
from uuid import UUID

from sqlalchemy import event, func, select, text

from actors.verification import duplicates
from actors.verification.models import Content
from storage import campaigns, contributions, fingerprints
from storage.engine import Database
from storage.fingerprints import ContentFingerprint, FingerprintBand, FingerprintRow
from storage.migrations import schema
from tests.storage.waiting import settled


def _text(words: str, content_hash: str | None = None) -> Content:
    return Content(
        content_hash=content_hash or f"hash of {words}",
        kind="text",
        media_type="text/plain",
        size=len(words),
        text=words,
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
SEA = "a walk by the sea, and nothing else"


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
    changed = _rewritten(rows[0], CAR)
    for _ in range(2):
        async with database.begin() as session:
            registered = await fingerprints.register(session, campaign_id, [*rows[1:], changed])
            found = await duplicates.find(session, campaign_id, registered, threshold=0.8)
        # Whoever has the content only now is the copy, however early the submission was.
        assert {each.contribution_id for each in found.values()} == {rows[1].contribution_id}
        assert set(found) == {rows[0].contribution_id, rows[2].contribution_id}


def _rewritten(row: FingerprintRow, content: str) -> FingerprintRow:
    """The row as it is read now, at an address where another content was."""
    return duplicates.row(_text(content), contribution_id=row.contribution_id, seq=row.seq, contributor=row.contributor)


async def test_a_place_is_kept_as_long_as_the_content_is_and_a_new_one_is_after_all_that_was_submitted(
    database: Database,
) -> None:
    campaign_id, rows = await _campaign(database, [RICE, CAR, SEA])
    unread = rows[2]
    async with database.begin() as session:
        await fingerprints.register(session, campaign_id, rows[:2])
    # Other bytes of the same text, as of a page that is made anew for each request.
    rendered = duplicates.row(
        _text(RICE + " ", "other bytes"), contribution_id=rows[0].contribution_id, seq=rows[0].seq, contributor="0x0"
    )
    async with database.begin() as session:
        (kept,) = await fingerprints.register(session, campaign_id, [rendered])
    assert kept.seq == rows[0].seq
    places = []
    for content in (CAR, SEA):
        changed = _rewritten(rows[0], content)
        async with database.begin() as session:
            assert await fingerprints.place(session, changed) == fingerprints.LAST
            (moved,) = await fingerprints.register(session, campaign_id, [changed])
            assert await fingerprints.place(session, changed) == moved.seq
        places.append(moved.seq)
    assert unread.seq < places[0] < places[1]
    # So one that nobody had read yet is the original all the same.
    async with database.begin() as session:
        registered = await fingerprints.register(session, campaign_id, [unread, changed])
        found = await duplicates.find(session, campaign_id, registered, threshold=0.8)
    assert {each: by.contribution_id for each, by in found.items()} == {rows[0].contribution_id: unread.contribution_id}
    # And what is submitted after that is after it.
    _, later = await _campaign(database, [RICE], "c2")
    assert later[0].seq > places[1]


async def test_what_a_contribution_was_before_hides_no_original(database: Database) -> None:
    """One wallet hands in near-equal texts, and changes the first ones: the others must still be found to be copies."""
    alike = [f"{RICE} number {n} of many and a little more to read" for n in range(40)]
    campaign_id, rows = await _campaign(database, alike)
    async with database.begin() as session:
        await fingerprints.register(session, campaign_id, rows)
    gone = [_rewritten(row, f"{n} is a text on its own {'x' * n}") for n, row in enumerate(rows[:30])]
    async with database.begin() as session:
        await fingerprints.register(session, campaign_id, gone)
        found = await duplicates.find(session, campaign_id, rows[30:], threshold=0.8)
        bands = (await session.execute(select(func.count()).select_from(FingerprintBand))).scalar_one()
    assert {each.contribution_id for each in found.values()} == {rows[30].contribution_id}
    assert len(found) == 9
    assert bands == sum(len(set(row.band_keys)) for row in [*gone, *rows[30:]])


async def test_what_was_registered_before_0013_goes_too_when_it_changes(database: Database, database_url: str) -> None:
    campaign_id, rows = await _campaign(database, [RICE, "rice"])
    async with database.begin() as session:
        await fingerprints.register(session, campaign_id, rows)
        await session.execute(text("ALTER TABLE content_fingerprints DROP COLUMN band_keys"))
        await session.execute(text("UPDATE alembic_version SET version_num = '0012'"))
    await asyncio.to_thread(schema.upgrade, database_url)
    gone = [_rewritten(rows[0], CAR), _rewritten(rows[1], "car")]
    async with database.begin() as session:
        await fingerprints.register(session, campaign_id, gone)
        bands = (await session.execute(select(func.count()).select_from(FingerprintBand))).scalar_one()
    assert bands == sum(len(set(row.band_keys)) for row in gone)


async def test_two_that_read_the_same_new_content_give_it_one_place(database: Database) -> None:
    campaign_id, rows = await _campaign(database, [RICE, CAR])
    async with database.begin() as session:
        await fingerprints.register(session, campaign_id, rows)
    changed = _rewritten(rows[0], CAR)

    async def register() -> int:
        async with database.begin() as session:
            (registered,) = await fingerprints.register(session, campaign_id, [changed])
        return registered.seq

    async with database.begin() as session:
        (first,) = await fingerprints.register(session, campaign_id, [changed])
        second = asyncio.create_task(register())
        await settled(database, second)
    assert first.seq == await second > rows[1].seq


# Of the present transaction. Counted, because seconds depend on what else the machine does.
ROWS_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), pg_stat_force_next_flush()
FROM pg_stat_xact_user_tables
"""


async def test_a_chunk_costs_three_statements_and_a_crowd_of_copies_stays_cheap(database: Database) -> None:
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
    assert len(statements) == 3 * len(read)
    assert max(read) < 1.5 * read[0]
