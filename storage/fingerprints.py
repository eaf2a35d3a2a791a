"""Content fingerprints: the index in which equal and near-equal contributions of one campaign find each other.

A row per contribution holds its content hash and its similarity signature; a row per band key makes the signature
searchable (locality-sensitive hashing: two contents that share a band key are candidates). What a signature and a
band key are is `actors/verification/duplicates.py`'s business; here they are bytes and 64-bit integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, text
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


class FingerprintBand(Base):
    """Rows that only an index needs: no foreign keys, whose checks would cost more than the rows themselves."""

    __tablename__ = "fingerprint_bands"

    campaign_id: Mapped[UUID] = mapped_column(primary_key=True)
    band_key: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintRow:
    """One contribution's fingerprint. `band_keys` are signed 64-bit integers."""

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


async def register(session: AsyncSession, campaign_id: UUID, rows: Sequence[FingerprintRow]) -> None:
    """Make these contributions findable, in two statements. Repeating it changes nothing.

    A contribution whose content has changed since is found by its new content.
    """
    if not rows:
        return
    # One order for all writers, so that two that register the same rows at once wait instead of deadlocking.
    ordered = sorted(rows, key=lambda row: row.seq)
    await session.execute(
        text(
            "INSERT INTO content_fingerprints"
            " (contribution_id, campaign_id, seq, contributor, content_hash, kind, signature)"
            " SELECT r.id, :campaign_id, r.seq, r.contributor, r.hash, r.kind, r.signature"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS bigint[]), CAST(:contributors AS text[]),"
            "  CAST(:hashes AS text[]), CAST(:kinds AS text[]), CAST(:signatures AS bytea[]))"
            " AS r(id, seq, contributor, hash, kind, signature)"
            " ON CONFLICT (contribution_id) DO UPDATE SET content_hash = EXCLUDED.content_hash,"
            "  kind = EXCLUDED.kind, signature = EXCLUDED.signature"
            " WHERE content_fingerprints.content_hash <> EXCLUDED.content_hash"
            "  OR content_fingerprints.signature <> EXCLUDED.signature"
        ),
        {
            "campaign_id": campaign_id,
            "ids": [row.contribution_id for row in ordered],
            "seqs": [row.seq for row in ordered],
            "contributors": [row.contributor for row in ordered],
            "hashes": [row.content_hash for row in ordered],
            "kinds": [row.kind for row in ordered],
            "signatures": [row.signature for row in ordered],
        },
    )
    bands = sorted({(key, row.seq) for row in ordered for key in row.band_keys})
    if bands:
        await session.execute(
            text(
                "INSERT INTO fingerprint_bands (campaign_id, band_key, seq)"
                " SELECT :campaign_id, b.band_key, b.seq"
                " FROM unnest(CAST(:keys AS bigint[]), CAST(:seqs AS bigint[])) AS b(band_key, seq)"
                " ON CONFLICT DO NOTHING"
            ),
            {"campaign_id": campaign_id, "keys": [key for key, _ in bands], "seqs": [seq for _, seq in bands]},
        )


# One look-up per row found: a plain join invites the planner, whose statistics lag behind a batch, to read the whole
# campaign for each chunk.
_LOOKED_UP = "CROSS JOIN LATERAL (SELECT c.* FROM content_fingerprints c WHERE c.seq = {seq} LIMIT 1) f"
_COLUMNS = "f.contribution_id, f.seq, f.contributor, f.content_hash, f.kind, f.signature"


async def equal(
    session: AsyncSession, campaign_id: UUID, rows: Sequence[tuple[FingerprintRow, int | None]]
) -> dict[int, list[FingerprintRow]]:
    """Per `seq`: the earliest earlier submission of the same bytes, and that of the same equality key, in order.

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
    """Per `seq`: earlier submissions that share a band key, in order of submission; at most `LIKEST` + `EARLIEST` each.

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
    for of_seq, contribution_id, seq, contributor, content_hash, kind, signature in found:
        groups.setdefault(of_seq, []).append(
            FingerprintRow(
                contribution_id=contribution_id, seq=seq, contributor=contributor, content_hash=content_hash,
                kind=kind, signature=bytes(signature), band_keys=(),
            )
        )  # fmt: skip
    return groups
