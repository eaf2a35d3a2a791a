"""Webhooks that came in: which were acted upon, which were repeated, which were refused and why.

Anybody can send some, so of those that were refused only so many an hour are kept, and all only for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import Index, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.clock import now
from storage.columns import Timestamp
from storage.engine import Base
from storage.ids import new_id

Result = Literal["taken", "repeated", "ignored", "refused"]
_REFUSED_AN_HOUR = 1000


class WebhookDelivery(Base):
    """`delivery_id` is the sender's own, `job_id` what the delivery tells of."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index("ix_webhook_deliveries_result", "result", "at"), Index("ix_webhook_deliveries_at", "at"))

    row_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    provider: Mapped[str]
    delivery_id: Mapped[str | None]
    job_id: Mapped[str | None]
    result: Mapped[str]
    reason: Mapped[str | None]
    at: Mapped[Timestamp] = mapped_column(default=now)


async def record(
    session: AsyncSession,
    provider: str,
    result: Result,
    *,
    delivery_id: str | None = None,
    job_id: str | None = None,
    reason: str | None = None,
) -> None:
    """Keep that it came and what became of it."""
    if result == "refused":
        hour = select(func.count()).where(
            WebhookDelivery.result == "refused", WebhookDelivery.at > now() - timedelta(hours=1)
        )
        if (await session.execute(hour)).scalar_one() >= _REFUSED_AN_HOUR:
            return
    session.add(
        WebhookDelivery(provider=provider, delivery_id=delivery_id, job_id=job_id, result=result, reason=reason)
    )


async def latest(session: AsyncSession, provider: str, *, limit: int) -> Sequence[WebhookDelivery]:
    """What came last of this provider, newest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.provider == provider)
    return (await session.execute(query.order_by(WebhookDelivery.at.desc()).limit(limit))).scalars().all()


async def forget(session: AsyncSession, before: datetime, *, limit: int) -> int:
    """Remove what came before then; answers how many."""
    old = select(WebhookDelivery.row_id).where(WebhookDelivery.at < before).limit(limit)
    removed = delete(WebhookDelivery).where(WebhookDelivery.row_id.in_(old.scalar_subquery()))
    found = removed.returning(WebhookDelivery.row_id).execution_options(synchronize_session=False)
    return len((await session.execute(found)).all())
