"""The thresholds of a campaign that were calibrated: what was proposed, on which grounds, and who applied it.

The present ones stand on the campaign too, where verification reads them with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.campaigns import Campaign
from storage.clock import now
from storage.columns import Json, Timestamp
from storage.engine import Base


class CampaignThresholds(Base):
    """One application. Never changed; the newest holds. `proposal` is all that was shown before it was applied."""

    __tablename__ = "campaign_thresholds"
    __table_args__ = (Index("ix_campaign_thresholds", "campaign_id", "version"),)

    version: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.campaign_id"))
    required_score: Mapped[float]
    review_margin: Mapped[float]
    min_confidence: Mapped[float]
    digest: Mapped[str]
    proposal: Mapped[Json]
    applied_by: Mapped[str]
    applied_at: Mapped[Timestamp] = mapped_column(default=now)


async def apply(
    session: AsyncSession, campaign: Campaign, thresholds: dict[str, float], *, digest: str, proposal: dict[str, Any],
    by: str,
) -> CampaignThresholds:  # fmt: skip
    """Let verification of this campaign go by these from now on. The caller holds the campaign's row lock."""
    row = CampaignThresholds(
        campaign_id=campaign.campaign_id, digest=digest, proposal=proposal, applied_by=by, **thresholds
    )
    session.add(row)
    campaign.thresholds = dict(thresholds)
    await session.flush()
    return row


async def history(session: AsyncSession, campaign_id: UUID, *, limit: int) -> Sequence[CampaignThresholds]:
    """What was applied, newest first."""
    query = select(CampaignThresholds).where(CampaignThresholds.campaign_id == campaign_id)
    return (await session.execute(query.order_by(CampaignThresholds.version.desc()).limit(limit))).scalars().all()
