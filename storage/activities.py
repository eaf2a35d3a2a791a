"""Activities: the append-only record of who did what in a campaign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.clock import now
from storage.columns import Json, Timestamp
from storage.engine import Base


class Activity(Base):
    __tablename__ = "activities"
    __table_args__ = (Index("ix_activities_campaign", "campaign_id", "activity_id"),)

    activity_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.campaign_id"))
    # campaign_created, contribution_submitted, batch_started, batch_completed, batch_cancelled…
    kind: Mapped[str]
    actor: Mapped[str]  # the wallet, or "system"
    detail: Mapped[Json]
    created_at: Mapped[Timestamp] = mapped_column(default=now)


def record(session: AsyncSession, campaign_id: UUID, kind: str, actor: str, **detail: Any) -> None:
    """Append one activity to the unit of work."""
    session.add(Activity(campaign_id=campaign_id, kind=kind, actor=actor, detail=detail))


async def of_campaign(
    session: AsyncSession, campaign_id: UUID, *, limit: int, after: int | None = None
) -> Sequence[Activity]:
    """A campaign's activities, newest first."""
    query = select(Activity).where(Activity.campaign_id == campaign_id)
    if after is not None:
        query = query.where(Activity.activity_id < after)
    return (await session.execute(query.order_by(Activity.activity_id.desc()).limit(limit))).scalars().all()
