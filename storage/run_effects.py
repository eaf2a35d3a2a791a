"""The record that a run's side effect was done, and what came of it. What stands here is not done again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.clock import now
from storage.columns import Timestamp
from storage.engine import Base


class RunEffect(Base):
    __tablename__ = "run_effects"

    # No foreign key: its check would cost more than the row.
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    # Of the step and the author's own key: the same each time the step is run.
    key: Mapped[str] = mapped_column(primary_key=True)
    result: Mapped[Any] = mapped_column(JSONB)
    at: Mapped[Timestamp] = mapped_column(default=now)


async def of_run(session: AsyncSession, run_id: UUID) -> dict[str, Any]:
    """The results of the run's side effects by key."""
    query = select(RunEffect.key, RunEffect.result).where(RunEffect.run_id == run_id)
    return dict((await session.execute(query)).tuples().all())
