"""Content fingerprints: the index in which equal and near-equal contributions of one campaign find each other.

A row per contribution holds its content hash and its similarity signature; a row per band key makes the signature
searchable (locality-sensitive hashing: two contents that share a band key are candidates). What a signature and a
band key are is `actors/verification/duplicates.py`'s business; here they are bytes and 64-bit integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.engine import Base


class ContentFingerprint(Base):
    __tablename__ = "content_fingerprints"
    __table_args__ = (
        Index("ix_fingerprints_hash", "campaign_id", "content_hash", "seq"),
        # Not by campaign: with two indexes that begin with it, the planner, to whom a new campaign is empty, takes the
        # wrong one for a hash and reads the whole campaign.
        Index("ix_fingerprints_seq", "seq", unique=True),
    )

    contribution_id: Mapped[UUID] = mapped_column(ForeignKey("contributions.contribution_id"), primary_key=True)
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.campaign_id"))
    seq: Mapped[int] = mapped_column(BigInteger)
    contributor: Mapped[str]
    content_hash: Mapped[str]
    kind: Mapped[str]  # "text", "image"
    signature: Mapped[bytes]
    # Of its rows in `fingerprint_bands`, so that they are found when the content changes.
    band_keys: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class FingerprintBand(Base):
    """Rows that only an index needs: no foreign keys, whose checks would cost more than the rows themselves."""

    __tablename__ = "fingerprint_bands"

    campaign_id: Mapped[UUID] = mapped_column(primary_key=True)
    band_key: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintRow:
    """One contribution's fingerprint. `band_keys` are signed 64-bit integers.

    `seq` is its place: of two equal contents, that of the lower `seq` is the original. See `register`.
    """

    contribution_id: UUID
    seq: int
    contributor: str
    content_hash: str
    kind: str
    signature: bytes
    band_keys: Sequence[int]


# These bound the work where thousands of contributions are alike. Of a band key, the earliest submissions are looked
# at; of a contribution's candidates, those that share most bands, which are the likest, and the earliest, one of which
# a crowd of copies must be traced to.
PER_KEY = 16
LIKEST = 12
EARLIEST = 6
# The place of what comes after all others.
LAST = 2**63 - 1
_COLUMNS = "f.contribution_id, f.seq, f.contributor, f.content_hash, f.kind, f.signature"


async def register(session: AsyncSession, campaign_id: UUID, rows: Sequence[FingerprintRow]) -> list[FingerprintRow]:
    """Make these contributions findable; answers the rows in the order given, with the `seq` that each now holds.

    That of a contribution's first content is the order of its submission, and equal content keeps it, however often it
    is registered. One whose content has changed is found by its new content alone, and in a new place: after all that
    has been submitted so far, for what stands at an address today was not handed in before those. One statement for
    contributions that were not registered yet, a second one for others.
    """
    made = await _insert(session, campaign_id, rows)
    others = [row for row in rows if row.seq not in made]
    if not others:
        return list(rows)
    places = await _places(session, others)
    if not _changed(others, places):
        return [_placed(row, places) for row in rows]
    # One at a time in a campaign: whoever gets a place then sees all that got an earlier one, and two that have read
    # the same new content give it one place.
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
    await session.execute(lock, {"name": f"changed content of {campaign_id}"})
    places = await _places(session, others)
    if changed := _changed(others, places):
        await _replace(session, campaign_id, changed, places)
        places = await _places(session, others)
    return [_placed(row, places) for row in rows]


async def place(session: AsyncSession, row: FingerprintRow) -> int:
    """The `seq` that this content of a contribution would hold if it were registered now."""
    places = await _places(session, [row])
    if row.contribution_id not in places:
        return row.seq
    return LAST if _moves(row, places[row.contribution_id]) else places[row.contribution_id].seq


async def _insert(session: AsyncSession, campaign_id: UUID, rows: Sequence[FingerprintRow]) -> set[int]:
    """Insert those that are not registered, and their bands; answers their `seq`s."""
    # One order for all writers, so that two that register the same rows at once wait instead of deadlocking.
    ordered = sorted(rows, key=lambda row: row.seq)
    bands = _bands(ordered)
    found = await session.execute(
        text(
            "WITH new AS (INSERT INTO content_fingerprints"
            "  (contribution_id, campaign_id, seq, contributor, content_hash, kind, signature, band_keys)"
            "  SELECT r.id, :campaign_id, r.seq, r.contributor, r.hash, r.kind, r.signature,"
            "   CAST(r.keys AS bigint[])"
            "  FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS bigint[]), CAST(:contributors AS text[]),"
            "   CAST(:hashes AS text[]), CAST(:kinds AS text[]), CAST(:signatures AS bytea[]), CAST(:keys AS text[]))"
            "  AS r(id, seq, contributor, hash, kind, signature, keys)"
            "  ON CONFLICT (contribution_id) DO NOTHING RETURNING seq),"
            " bands AS (INSERT INTO fingerprint_bands (campaign_id, band_key, seq)"
            "  SELECT :campaign_id, b.band_key, b.seq"
            "  FROM unnest(CAST(:band_keys AS bigint[]), CAST(:band_seqs AS bigint[])) AS b(band_key, seq)"
            "  JOIN new ON new.seq = b.seq)"
            " SELECT seq FROM new"
        ),
        {
            "campaign_id": campaign_id,
            **_values(ordered),
            "contributors": [row.contributor for row in ordered],
            "seqs": [row.seq for row in ordered],
            "band_keys": [key for key, _ in bands],
            "band_seqs": [seq for _, seq in bands],
        },
    )
    return set(found.scalars())


def _values(rows: Sequence[FingerprintRow]) -> dict[str, Any]:
    return {
        "ids": [row.contribution_id for row in rows],
        "hashes": [row.content_hash for row in rows],
        "kinds": [row.kind for row in rows],
        "signatures": [row.signature for row in rows],
        # Arrays in an array would have to be of one length.
        "keys": ["{" + ",".join(map(str, dict.fromkeys(row.band_keys))) + "}" for row in rows],
    }


def _bands(rows: Iterable[FingerprintRow]) -> list[tuple[int, int]]:
    return sorted({(key, row.seq) for row in rows for key in row.band_keys})


async def _places(session: AsyncSession, rows: Sequence[FingerprintRow]) -> dict[UUID, FingerprintRow]:
    """What is registered of these contributions, by their ids."""
    query = text(
        f"SELECT {_COLUMNS}, f.band_keys FROM content_fingerprints f"  # noqa: S608  # constants only
        " WHERE f.contribution_id = ANY(CAST(:ids AS uuid[]))"
    )
    found = await session.execute(query, {"ids": [row.contribution_id for row in rows]})
    return {each.contribution_id: _row(each, each.band_keys) for each in found}


def _placed(row: FingerprintRow, places: dict[UUID, FingerprintRow]) -> FingerprintRow:
    held = places.get(row.contribution_id)
    return row if held is None or held.seq == row.seq else replace(row, seq=held.seq)


def _changed(rows: Sequence[FingerprintRow], places: dict[UUID, FingerprintRow]) -> list[FingerprintRow]:
    """Those of which something else is registered, in the order of the places that they hold."""
    found = [
        row
        for row in rows
        if (row.content_hash, row.signature) != ((held := places[row.contribution_id]).content_hash, held.signature)
    ]
    return sorted(found, key=lambda row: places[row.contribution_id].seq)


def _moves(row: FingerprintRow, held: FingerprintRow) -> bool:
    """Whether this is another content than the registered one.

    Other bytes of one signature are not: a page whose markup is made anew for each request says what it said before.
    """
    return row.content_hash != held.content_hash and (row.signature != held.signature or not row.signature)


async def _replace(
    session: AsyncSession, campaign_id: UUID, rows: Sequence[FingerprintRow], places: dict[UUID, FingerprintRow]
) -> None:
    """Register the new content of these in place of the old: its bands go, and another content gets a new place."""
    gone = _bands(places[row.contribution_id] for row in rows)
    await session.execute(
        text(
            "DELETE FROM fingerprint_bands b"
            " USING unnest(CAST(:keys AS bigint[]), CAST(:seqs AS bigint[])) AS g(band_key, seq)"
            " WHERE b.campaign_id = :campaign_id AND b.band_key = g.band_key AND b.seq = g.seq"
        ),
        {"campaign_id": campaign_id, "keys": [key for key, _ in gone], "seqs": [seq for _, seq in gone]},
    )
    # The numbers of submissions go on from there, so a new place is after all that were submitted and before all that
    # will be, and no two are one.
    await session.execute(
        text(
            "WITH now AS MATERIALIZED (SELECT r.*, CASE WHEN r.moves"
            "  THEN nextval(pg_get_serial_sequence('contributions', 'seq')) ELSE r.held END AS seq"
            "  FROM unnest(CAST(:ids AS uuid[]), CAST(:hashes AS text[]), CAST(:kinds AS text[]),"
            "   CAST(:signatures AS bytea[]), CAST(:keys AS text[]), CAST(:held AS bigint[]),"
            "   CAST(:moves AS boolean[]))"
            "  AS r(id, hash, kind, signature, keys, held, moves)),"
            " changed AS (UPDATE content_fingerprints f SET seq = now.seq, content_hash = now.hash, kind = now.kind,"
            "  signature = now.signature, band_keys = CAST(now.keys AS bigint[])"
            "  FROM now WHERE f.contribution_id = now.id)"
            " INSERT INTO fingerprint_bands (campaign_id, band_key, seq)"
            " SELECT :campaign_id, b.band_key, now.seq FROM now, unnest(CAST(now.keys AS bigint[])) AS b(band_key)"
        ),
        {
            "campaign_id": campaign_id,
            **_values(rows),
            "held": [places[row.contribution_id].seq for row in rows],
            "moves": [_moves(row, places[row.contribution_id]) for row in rows],
        },
    )


# One look-up per row found: a plain join invites the planner, whose statistics lag behind a batch, to read the whole
# campaign for each chunk.
_LOOKED_UP = "CROSS JOIN LATERAL (SELECT c.* FROM content_fingerprints c WHERE c.seq = {seq} LIMIT 1) f"


async def equal(
    session: AsyncSession, campaign_id: UUID, rows: Sequence[tuple[FingerprintRow, int | None]]
) -> dict[int, list[FingerprintRow]]:
    """Per `seq`: the first before it of the same bytes, and that of the same equality key, in order.

    The key is a 64-bit hash: the caller compares what it stands for. One statement.
    """
    found = await session.execute(
        text(
            f"SELECT DISTINCT ON (q.seq, f.seq) q.seq AS of_seq, {_COLUMNS}"  # noqa: S608  # constants only
            " FROM unnest(CAST(:seqs AS bigint[]), CAST(:hashes AS text[]), CAST(:keys AS bigint[]))"
            "  AS q(seq, hash, key)"
            " CROSS JOIN LATERAL ("
            "  (SELECT h.seq FROM content_fingerprints h WHERE h.campaign_id = :campaign_id"
            "   AND h.content_hash = q.hash AND h.seq < q.seq ORDER BY h.seq LIMIT 1)"
            "  UNION ALL"
            "  (SELECT b.seq FROM fingerprint_bands b WHERE b.campaign_id = :campaign_id"
            "   AND b.band_key = q.key AND b.seq < q.seq ORDER BY b.seq LIMIT 1)) e"
            f" {_LOOKED_UP.format(seq='e.seq')}"
            " ORDER BY q.seq, f.seq"
        ),
        {
            "campaign_id": campaign_id,
            "seqs": [row.seq for row, _ in rows],
            "hashes": [row.content_hash for row, _ in rows],
            "keys": [key for _, key in rows],
        },
    )
    return _grouped(found)


async def candidates(
    session: AsyncSession, campaign_id: UUID, rows: Sequence[FingerprintRow]
) -> dict[int, list[FingerprintRow]]:
    """Per `seq`: those before it that share a band key, in order of place; at most `LIKEST` + `EARLIEST` each.

    One statement.
    """
    bands = [(row.seq, key) for row in rows for key in row.band_keys]
    if not bands:
        return {}
    found = await session.execute(
        text(
            f"SELECT p.of_seq, {_COLUMNS}"  # noqa: S608  # constants only
            " FROM fingerprint_candidates(:campaign_id, CAST(:seqs AS bigint[]), CAST(:keys AS bigint[]),"
            "  :per_key, :likest, :earliest) p"
            f" {_LOOKED_UP.format(seq='p.seq')}"
            " ORDER BY p.of_seq, f.seq"
        ),
        {
            "campaign_id": campaign_id,
            "seqs": [seq for seq, _ in bands],
            "keys": [key for _, key in bands],
            "per_key": PER_KEY,
            "likest": LIKEST,
            "earliest": EARLIEST,
        },
    )
    return _grouped(found)


def _grouped(found: Iterable[Any]) -> dict[int, list[FingerprintRow]]:
    groups: dict[int, list[FingerprintRow]] = {}
    for each in found:
        groups.setdefault(each.of_seq, []).append(_row(each))
    return groups


def _row(found: Any, band_keys: Sequence[int] = ()) -> FingerprintRow:
    return FingerprintRow(
        contribution_id=found.contribution_id, seq=found.seq, contributor=found.contributor,
        content_hash=found.content_hash, kind=found.kind, signature=bytes(found.signature), band_keys=band_keys,
    )  # fmt: skip
