"""Schedules: what is to be done again and again, and when it is due next.

When something is due is judged by the database's clock alone, so schedulers whose clocks differ agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, and_, case, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.clock import now
from storage.columns import Timestamp
from storage.engine import Base
from storage.errors import NotFoundError


class Schedule(Base):
    """A task and when it is due: every `every_s` seconds on the grid of unix time, or by `cron` in UTC."""

    __tablename__ = "schedules"
    __table_args__ = (CheckConstraint("num_nonnulls(every_s, cron) = 1", name="ck_schedules_one_rule"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str]
    every_s: Mapped[int | None]
    cron: Mapped[str | None]
    missed: Mapped[str]  # what becomes of missed due times: catch_up, latest, skip
    max_attempts: Mapped[int]
    timeout_s: Mapped[int]
    paused: Mapped[bool] = mapped_column(default=False)
    next_due: Mapped[Timestamp]
    created_at: Mapped[Timestamp] = mapped_column(default=now)
    updated_at: Mapped[Timestamp] = mapped_column(default=now)


async def clock(session: AsyncSession) -> datetime:
    """The database's time, which schedulers agree on."""
    moment: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return moment


async def put(session: AsyncSession, name: str, *, next_due: datetime, **columns: Any) -> None:
    """The schedule exists with these columns. A new rule takes the new `next_due`; all else keeps what it has.

    Whether it is paused is the operator's: it stays as it is.
    """
    values = {"name": name, "next_due": next_due, "every_s": None, "cron": None, **columns}
    statement = insert(Schedule).values(**values, paused=False, created_at=now(), updated_at=now())
    new = statement.excluded
    kept = and_(Schedule.every_s.is_not_distinct_from(new.every_s), Schedule.cron.is_not_distinct_from(new.cron))
    changes = {column: new[column] for column in values if column not in ("name", "next_due")}
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={
                **changes,
                "next_due": case((kept, Schedule.next_due), else_=new.next_due),
                "updated_at": new.updated_at,
            },
            where=or_(*(Schedule.__table__.c[column].is_distinct_from(new[column]) for column in changes)),
        )
    )


async def get(session: AsyncSession, name: str, *, lock: bool = False) -> Schedule:
    """The schedule; `lock` holds its row until the unit of work ends. Raises `NotFoundError`."""
    query = select(Schedule).where(Schedule.name == name)
    found = (await session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
    if found is None:
        raise NotFoundError.of("schedule", name)
    return found


async def due(session: AsyncSession, tasks: Sequence[str]) -> tuple[datetime, Sequence[Schedule]]:
    """The moment, and the schedules of these tasks that are due then, locked. Another scheduler's are left to it."""
    moment = await clock(session)
    query = (
        select(Schedule)
        .where(Schedule.task.in_(tasks), Schedule.next_due <= moment, ~Schedule.paused)
        .order_by(Schedule.next_due)
        .with_for_update(skip_locked=True)
    )
    return moment, (await session.execute(query)).scalars().all()


async def pause(session: AsyncSession, name: str) -> Schedule:
    """No due time fires, and nothing is tried again, until `resume`; what runs is finished. Raises `NotFoundError`."""
    schedule = await get(session, name, lock=True)
    schedule.paused, schedule.updated_at = True, now()
    await session.flush()
    return schedule


async def resume(session: AsyncSession, name: str, next_due: datetime) -> Schedule:
    """Due again from `next_due` on: what was due while it was paused was not missed. Raises `NotFoundError`."""
    schedule = await get(session, name, lock=True)
    if schedule.paused:
        schedule.paused, schedule.next_due, schedule.updated_at = False, next_due, now()
        await session.flush()
    return schedule
