"""Campaigns: what a creator asks for, what it pays, and how full it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, FetchedValue, Index, and_, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.clock import now
from storage.columns import Money, Timestamp
from storage.engine import Base
from storage.errors import ConflictError, NotFoundError
from storage.ids import new_id


class Campaign(Base):
    """One campaign. `version` rises with every update (a trigger does it), so a cached copy can be proved fresh."""

    __tablename__ = "campaigns"
    __table_args__ = (
        Index("ix_campaigns_creator", "creator_wallet_address", "created_at"),
        Index("ix_campaigns_active", "is_active", "expiration"),
    )

    campaign_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    onchain_campaign_id: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    description: Mapped[str]
    data_requirements: Mapped[str]
    quality_criteria: Mapped[str]
    unit_price: Mapped[int] = mapped_column(Money)
    total_budget: Mapped[int] = mapped_column(Money)
    campaign_type: Mapped[str]
    min_data_count: Mapped[int] = mapped_column(BigInteger)
    max_data_count: Mapped[int] = mapped_column(BigInteger)
    expiration: Mapped[int] = mapped_column(BigInteger)
    metadata_uri: Mapped[str]
    transaction_hash: Mapped[str]
    platform_fee: Mapped[int]
    creator_wallet_address: Mapped[str]
    is_premium: Mapped[bool] = mapped_column(default=False)
    required_quality_score: Mapped[float] = mapped_column(default=70.0)
    # {required_score, review_margin, min_confidence} by which verdicts are given here, where they were calibrated.
    thresholds: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    is_active: Mapped[bool] = mapped_column(default=True)
    current_contributions: Mapped[int] = mapped_column(default=0)
    unique_contributions_count: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Timestamp] = mapped_column(default=now)
    # Filled by the trigger `campaigns_version`; read back, never written by us.
    version: Mapped[int] = mapped_column(BigInteger, server_default="1", server_onupdate=FetchedValue(), nullable=False)

    def open_at(self, moment: datetime) -> bool:
        """Whether the campaign takes contributions at that moment: active and not expired."""
        return self.is_active and self.expiration > moment.timestamp()

    @property
    def accepted_from(self) -> float:
        """The score in force: the calibrated one where there is one, else that which the campaign was opened with."""
        return self.required_quality_score if self.thresholds is None else float(self.thresholds["required_score"])


# The columns that make up "the body" of a create request; equal bodies make a repeated create a no-op.
BODY_COLUMNS = (
    "onchain_campaign_id", "title", "description", "data_requirements", "quality_criteria", "unit_price",
    "total_budget", "campaign_type", "min_data_count", "max_data_count", "expiration", "metadata_uri",
    "transaction_hash", "platform_fee", "creator_wallet_address", "is_premium", "required_quality_score",
)  # fmt: skip


async def create(session: AsyncSession, body: dict[str, Any]) -> tuple[Campaign, bool]:
    """The campaign with this on-chain id, and whether this call made it.

    `body` holds `BODY_COLUMNS`. A repeated id with an equal body answers the first row; with another body it
    raises `ConflictError` whose `subject` is the first row's `campaign_id`.
    """
    statement = (
        insert(Campaign)
        .values(campaign_id=new_id(), is_active=True, created_at=now(), **body)
        .on_conflict_do_nothing(index_elements=["onchain_campaign_id"])
        .returning(Campaign)
    )
    made = (await session.execute(statement)).scalar_one_or_none()
    if made is not None:
        return made, True
    first = await by_onchain_id(session, body["onchain_campaign_id"])
    differing = sorted(name for name in BODY_COLUMNS if name in body and getattr(first, name) != body[name])
    if differing:
        raise ConflictError(
            f"campaign {first.onchain_campaign_id!r} exists already with other values for: {', '.join(differing)}",
            subject=str(first.campaign_id),
            noun="campaign",
            fields=differing,
        )
    return first, False


async def by_onchain_id(session: AsyncSession, onchain_campaign_id: str, *, lock: bool = False) -> Campaign:
    """The campaign; `lock` holds its row until the unit of work ends. Raises `NotFoundError`."""
    query = select(Campaign).where(Campaign.onchain_campaign_id == onchain_campaign_id)
    if lock:
        query = query.with_for_update()
    campaign = (await session.execute(query)).scalar_one_or_none()
    if campaign is None:
        raise NotFoundError.of("campaign", onchain_campaign_id)
    return campaign


async def get(session: AsyncSession, campaign_id: UUID) -> Campaign:
    """The campaign by its own id. Raises `NotFoundError`."""
    campaign = await session.get(Campaign, campaign_id)
    if campaign is None:
        raise NotFoundError.of("campaign", str(campaign_id))
    return campaign


async def listed(
    session: AsyncSession,
    *,
    limit: int,
    after: UUID | None = None,
    active_at: datetime | None = None,
    creator: str | None = None,
) -> Sequence[Campaign]:
    """Campaigns, newest first, at most `limit`, those after the one with id `after`."""
    conditions: list[ColumnElement[bool]] = []
    if active_at is not None:
        conditions.append(and_(Campaign.is_active, Campaign.expiration > int(active_at.timestamp())))
    if creator is not None:
        conditions.append(Campaign.creator_wallet_address == creator)
    if after is not None:
        # UUIDv7 sorts by time of creation, so the id is the cursor.
        conditions.append(Campaign.campaign_id < after)
    query = select(Campaign).where(*conditions).order_by(Campaign.campaign_id.desc()).limit(limit)
    return (await session.execute(query)).scalars().all()


async def count_contribution(session: AsyncSession, campaign_id: UUID, *, first_of_contributor: bool) -> None:
    """Raise the campaign's counters by one contribution."""
    await session.execute(
        update(Campaign)
        .where(Campaign.campaign_id == campaign_id)
        .values(
            current_contributions=Campaign.current_contributions + 1,
            unique_contributions_count=Campaign.unique_contributions_count + int(first_of_contributor),
        )
    )


async def deactivate_expired(session: AsyncSession, moment: datetime, *, limit: int) -> list[tuple[UUID, int]]:
    """Mark up to `limit` campaigns whose expiration does not lie after `moment` inactive; answers their ids and
    expirations. Those that another unit of work is at are left out.
    """
    expired = (
        select(Campaign.campaign_id)
        .where(Campaign.is_active, Campaign.expiration <= int(moment.timestamp()))
        .order_by(Campaign.expiration)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    result = await session.execute(
        update(Campaign)
        .where(Campaign.campaign_id.in_(expired))
        .values(is_active=False)
        .returning(Campaign.campaign_id, Campaign.expiration),
        execution_options={"synchronize_session": False},
    )
    return [(campaign_id, expiration) for campaign_id, expiration in result]
