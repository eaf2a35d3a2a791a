"""Contributions: what people handed in, what they claimed of it, and what verification found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, exists, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage import campaigns
from storage.clock import now
from storage.columns import Timestamp
from storage.engine import Base
from storage.errors import ConflictError, NotFoundError
from storage.ids import first_id, new_id


class Contribution(Base):
    """One contribution. `seq` is the order of submission: the earlier of two equal contents is the original.

    `claimed_*` is what the client said of itself; `verified_*` is only ever written by verification.
    """

    __tablename__ = "contributions"
    __table_args__ = (
        # A chain's id is unique where there is one; "" means none.
        Index(
            "uq_contributions_onchain", "onchain_contribution_id", unique=True,
            postgresql_where=text("onchain_contribution_id <> ''"),
        ),
        Index("ix_contributions_campaign", "campaign_id", "seq"),
        Index("ix_contributions_contributor", "campaign_id", "contributor"),
        # Whose content a reference is. A URL may be longer than a row of a B-tree.
        Index("ix_contributions_blob", "blob_id", postgresql_using="hash"),
        Index("ix_contributions_data_url", "data_url", postgresql_using="hash"),
    )  # fmt: skip

    contribution_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    onchain_contribution_id: Mapped[str] = mapped_column(default="")
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.campaign_id"))
    contributor: Mapped[str]
    data_url: Mapped[str]
    blob_id: Mapped[str | None]
    file_type: Mapped[str | None]
    transaction_hash: Mapped[str]
    claimed_quality_score: Mapped[float | None]
    claimed_ai_verification_score: Mapped[float | None]
    reputation_score: Mapped[float | None]
    verdict: Mapped[str | None]
    verified_score: Mapped[float | None]
    verified_at: Mapped[Timestamp | None]
    is_verified: Mapped[bool] = mapped_column(default=False)
    # The content that a person decided on: on equal content the decision stands, whatever is found later.
    reviewed_hash: Mapped[str | None]
    reward_claimed: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[Timestamp] = mapped_column(default=now)


@dataclass(frozen=True, slots=True)
class Source:
    """What verification needs of a contribution."""

    contribution_id: UUID
    seq: int
    contributor: str
    data_url: str
    blob_id: str | None = None
    file_type: str | None = None


BODY_COLUMNS = (
    "onchain_contribution_id", "campaign_id", "contributor", "data_url", "blob_id", "file_type", "transaction_hash",
    "claimed_quality_score", "claimed_ai_verification_score", "reputation_score",
)  # fmt: skip


async def submit(session: AsyncSession, body: dict[str, Any]) -> tuple[Contribution, bool]:
    """The contribution of this body, and whether this call made it. The campaign's counters rise with it.

    The caller holds the campaign's row lock (`campaigns.by_onchain_id(..., lock=True)`), which makes the counters
    exact. A repeated on-chain id with an equal body answers the first row; with another body `ConflictError`,
    whose `subject` is the first row's `contribution_id`.
    """
    onchain_id = body["onchain_contribution_id"]
    if onchain_id:
        query = select(Contribution).where(Contribution.onchain_contribution_id == onchain_id)
        first = (await session.execute(query)).scalar_one_or_none()
        if first is not None:
            return _same(first, body), False
    known = select(exists().where(
        Contribution.campaign_id == body["campaign_id"], Contribution.contributor == body["contributor"]
    ))  # fmt: skip
    first_of_contributor = not (await session.execute(known)).scalar_one()
    statement = (
        insert(Contribution)
        .values(contribution_id=new_id(), is_verified=False, reward_claimed=False, created_at=now(), **body)
        .on_conflict_do_nothing()
        .returning(Contribution)
    )
    made = (await session.execute(statement)).scalar_one_or_none()
    if made is None:  # the same on-chain id arrived for another campaign at the same moment
        query = select(Contribution).where(Contribution.onchain_contribution_id == onchain_id)
        return _same((await session.execute(query)).scalar_one(), body), False
    await campaigns.count_contribution(session, body["campaign_id"], first_of_contributor=first_of_contributor)
    return made, True


def _same(first: Contribution, body: dict[str, Any]) -> Contribution:
    differing = sorted(name for name in BODY_COLUMNS if getattr(first, name) != body.get(name))
    if differing:
        raise ConflictError(
            f"contribution {first.onchain_contribution_id!r} exists already with other values for: "
            f"{', '.join(differing)}",
            subject=str(first.contribution_id),
            noun="contribution",
            fields=differing,
        )
    return first


async def submit_many(session: AsyncSession, campaign_id: UUID, bodies: Sequence[dict[str, Any]]) -> list[UUID]:
    """Insert many new contributions of one campaign at once (no on-chain id repeats), in the order given.

    For bulk ingestion, where one round trip a row would be the cost. The caller holds the campaign's row lock.
    """
    query = select(Contribution.contributor).where(Contribution.campaign_id == campaign_id).distinct()
    before = set((await session.execute(query)).scalars())
    contributors = {body["contributor"] for body in bodies}
    moment = now()
    rows = [
        {**body, "campaign_id": campaign_id, "contribution_id": new_id(), "is_verified": False,
         "reward_claimed": False, "created_at": moment}
        for body in bodies
    ]  # fmt: skip
    if rows:
        await session.execute(insert(Contribution), rows)
    campaign = await campaigns.get(session, campaign_id)
    campaign.current_contributions += len(rows)
    campaign.unique_contributions_count += len(contributors - before)
    await session.flush()
    return [row["contribution_id"] for row in rows]


async def get(session: AsyncSession, contribution_id: UUID) -> Contribution:
    """The contribution by its own id. Raises `NotFoundError`."""
    contribution = await session.get(Contribution, contribution_id)
    if contribution is None:
        raise NotFoundError.of("contribution", str(contribution_id))
    return contribution


async def of_campaign(
    session: AsyncSession, campaign_id: UUID, *, contributor: str | None = None, limit: int, after: int | None = None
) -> Sequence[Contribution]:
    """A campaign's contributions in order of submission, those with `seq` above `after`."""
    query = select(Contribution).where(Contribution.campaign_id == campaign_id)
    if contributor is not None:
        query = query.where(Contribution.contributor == contributor)
    if after is not None:
        query = query.where(Contribution.seq > after)
    return (await session.execute(query.order_by(Contribution.seq).limit(limit))).scalars().all()


async def of_ids(session: AsyncSession, contribution_ids: Sequence[UUID]) -> dict[UUID | None, Contribution]:
    """Those of these contributions that there are, by their ids."""
    query = select(Contribution).where(Contribution.contribution_id.in_(contribution_ids))
    return {row.contribution_id: row for row in (await session.execute(query)).scalars()}


async def judged(
    session: AsyncSession, campaign_id: UUID, *, verdict: str | None = None, limit: int, after: int | None = None
) -> Sequence[Contribution]:
    """A campaign's contributions of this verdict, or of any, in order of submission, those with `seq` above `after`.
    The verdict `NONE` is that of those that nobody has judged yet.
    """
    query = select(Contribution).where(Contribution.campaign_id == campaign_id)
    if verdict is not None:
        query = query.where(Contribution.verdict.is_(None) if verdict == "NONE" else Contribution.verdict == verdict)
    if after is not None:
        query = query.where(Contribution.seq > after)
    return (await session.execute(query.order_by(Contribution.seq).limit(limit))).scalars().all()


async def scores(session: AsyncSession, campaign_id: UUID, *, step: int) -> list[tuple[float | None, str | None, int]]:
    """How many of a campaign's contributions have which verdict at which score, rounded down to whole `step`s."""
    score = func.floor(Contribution.verified_score / step) * step
    query = select(score, Contribution.verdict, func.count()).where(Contribution.campaign_id == campaign_id)
    found = await session.execute(query.group_by(score, Contribution.verdict))
    return [(None if at is None else float(at), verdict, count) for at, verdict, count in found]


async def submitted_since(session: AsyncSession, since: datetime) -> int:
    """How many were handed in then or later, of all campaigns."""
    # Ids sort by time, so the primary key ends the search.
    query = select(func.count()).where(Contribution.contribution_id >= first_id(since))
    return int((await session.execute(query)).scalar_one())


async def sources(session: AsyncSession, contribution_ids: Sequence[UUID]) -> list[Source]:
    """Where the contents of these contributions are, in order of submission; plain values, for batches."""
    query = text(
        "SELECT contribution_id, seq, contributor, data_url, blob_id, file_type FROM contributions"
        " WHERE contribution_id = ANY(CAST(:ids AS uuid[])) ORDER BY seq"
    )
    return [Source(*row) for row in await session.execute(query, {"ids": list(contribution_ids)})]


async def unread(session: AsyncSession, campaign_id: UUID, *, before: int, limit: int) -> list[Source]:
    """Of the campaign's contributions with a `seq` below `before`, the oldest that nobody has read yet.

    Those have no fingerprint. What could not be read when it was tried is left out.
    """
    query = text(
        "SELECT c.contribution_id, c.seq, c.contributor, c.data_url, c.blob_id, c.file_type FROM contributions c"
        " WHERE c.campaign_id = :campaign_id AND c.seq < :before AND c.verdict IS DISTINCT FROM 'ERROR'"
        " AND NOT EXISTS (SELECT 1 FROM content_fingerprints f WHERE f.contribution_id = c.contribution_id)"
        " ORDER BY c.seq LIMIT :limit"
    )
    given = {"campaign_id": campaign_id, "before": before, "limit": limit}
    return [Source(*row) for row in await session.execute(query, given)]
