"""The events of a run: append-only, numbered from 1 within the run without a gap.

The database refuses to change one, and to remove those of a run that people were asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, cast, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage import runs
from storage.clock import now
from storage.columns import Json, Timestamp
from storage.engine import Base
from storage.reviews import Review


class RunEvent(Base):
    __tablename__ = "run_events"

    # No foreign key: its check would cost more than the row.
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[Timestamp] = mapped_column(default=now)
    # run.created, run.started, step.started, step.completed, run.waiting, run.completed…
    type: Mapped[str]
    step: Mapped[str | None]
    data: Mapped[Json]


def first(session: AsyncSession, run: runs.Run, type_: str, **data: Any) -> None:
    """The event that a new run begins with. All later ones are its host's."""
    run.event_seq = 1
    session.add(RunEvent(run_id=run.run_id, seq=1, type=type_, step=None, data=data))


async def after(session: AsyncSession, run_id: UUID, seq: int, *, limit: int) -> Sequence[RunEvent]:
    """Events numbered above `seq`, in order."""
    query = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.seq > seq).order_by(RunEvent.seq).limit(limit)
    return (await session.execute(query)).scalars().all()


async def used_until(session: AsyncSession, run_id: UUID, moment: datetime) -> tuple[int, int]:
    """The tokens, and the cost in micro-USD, that the run had told of using by then."""
    prompt, completion, cost = (
        func.coalesce(func.sum(cast(RunEvent.data[name].astext, BigInteger)), 0)
        for name in ("prompt_tokens", "completion_tokens", "cost_micro_usd")
    )
    used = RunEvent.run_id == run_id, RunEvent.type == "llm.used", RunEvent.at <= moment
    tokens, spent = (await session.execute(select(prompt + completion, cost).where(*used))).one()
    return int(tokens), int(spent)


async def forget(session: AsyncSession, run_ids: Sequence[UUID]) -> None:
    """Remove all events of those of these runs that asked nothing of people: what people decided keeps its history."""
    asked = select(Review.review_id).where(Review.run_id == RunEvent.run_id)
    await session.execute(delete(RunEvent).where(RunEvent.run_id.in_(run_ids), ~asked.exists()))
