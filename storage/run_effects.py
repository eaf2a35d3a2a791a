"""The record that a run's side effect was done, and what came of it. What stands here is not done again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.clock import now
from storage.columns import Timestamp
from storage.engine import Base
from storage.runs import Run


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


async def forget(session: AsyncSession, run_ids: Sequence[UUID]) -> None:
    """Remove the record of these runs' side effects: were a step of theirs run again, it would do its own anew."""
    await session.execute(delete(RunEffect).where(RunEffect.run_id.in_(run_ids)))


async def forget_before(session: AsyncSession, thread_id: str, moment: datetime) -> None:
    """`forget`, of the thread's runs what was recorded before that moment."""
    of_thread = select(Run.run_id).where(Run.thread_id == thread_id)
    await session.execute(delete(RunEffect).where(RunEffect.run_id.in_(of_thread), RunEffect.at < moment))
