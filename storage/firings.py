"""Firings: one row per time a schedule was due, and what came of it.

One firing per due time, however many schedulers run: a firing's key is its schedule and its due time. A firing is run
by one scheduler at a time: who claims it raises `attempt` and holds it under a lease, and every later write names the
attempt, so that a scheduler that was cut off can neither write for the firing nor end it. Leases are judged by the
database's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ForeignKey, Index, and_, delete, exists, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column

from storage import schedules
from storage.clock import now
from storage.columns import Timestamp
from storage.engine import Base
from storage.errors import ConflictError, NotFoundError
from storage.schedules import Schedule, clock

# pending → running → completed | failed; a failed attempt makes it pending again. A missed one may be skipped.
UNFINISHED = ("pending", "running")


class Firing(Base):
    """One due time of a schedule, and what came of it."""

    __tablename__ = "schedule_firings"
    __table_args__ = (
        Index("ix_firings_unfinished", "schedule", "due_at", postgresql_where=text("state IN ('pending', 'running')")),
        Index("ix_firings_ended", "ended_at"),
    )

    schedule: Mapped[str] = mapped_column(ForeignKey("schedules.name", ondelete="CASCADE"), primary_key=True)
    due_at: Mapped[Timestamp] = mapped_column(primary_key=True)
    by_hand: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(default="pending")
    attempt: Mapped[int] = mapped_column(default=0)
    # Not run before: later than `due_at` where it is tried again.
    not_before: Mapped[Timestamp]
    host: Mapped[str | None]
    lease_until: Mapped[Timestamp | None]
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Timestamp] = mapped_column(default=now)
    started_at: Mapped[Timestamp | None]
    ended_at: Mapped[Timestamp | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A firing that this scheduler runs now; `attempt` is its fence."""

    schedule: str
    task: str
    due_at: datetime
    attempt: int
    max_attempts: int
    timeout_s: int


async def add(
    session: AsyncSession,
    schedule: str,
    *,
    fired: Sequence[datetime],
    skipped: Sequence[datetime],
    left_out_since: datetime | None = None,
) -> int:
    """One firing for each due time, those of `fired` to be run; answers how many were new.

    `left_out_since`: the due times from then to the first of these were too many for a row each; one row tells of all.
    """
    moment = now()
    told: dict[datetime, dict[str, Any] | None] = dict.fromkeys(skipped)
    if left_out_since is not None:
        told[left_out_since] = {"skipped_until": min([*fired, *skipped]).isoformat()}
    common = {"schedule": schedule, "by_hand": False, "attempt": 0, "created_at": moment}
    rows: list[dict[str, Any]] = [
        {**common, "due_at": at, "not_before": at, "state": "pending", "ended_at": None, "outcome": None}
        for at in fired
    ]
    rows += [
        {**common, "due_at": at, "not_before": at, "state": "skipped", "ended_at": moment, "outcome": outcome}
        for at, outcome in told.items()
    ]
    if not rows:
        return 0
    statement = insert(Firing).values(rows).on_conflict_do_nothing().returning(Firing.due_at)
    return len((await session.execute(statement)).all())


async def skip_waiting(session: AsyncSession, schedule: str) -> None:
    """Due times that have come and were not yet begun are skipped: a later one takes their place."""
    statement = update(Firing).where(
        Firing.schedule == schedule, Firing.state == "pending", Firing.attempt == 0, ~Firing.by_hand
    )
    await session.execute(statement.values(state="skipped", ended_at=func.clock_timestamp()))


async def add_by_hand(session: AsyncSession, name: str) -> Firing:
    """A firing that is due now, also of a paused schedule. Raises `NotFoundError`."""
    await schedules.get(session, name)
    moment = await clock(session)
    firing = Firing(schedule=name, due_at=moment, not_before=moment, by_hand=True)
    session.add(firing)
    await session.flush()
    return firing


async def get(session: AsyncSession, schedule: str, due_at: datetime) -> Firing:
    """One firing. Raises `NotFoundError`."""
    found = await session.get(Firing, (schedule, due_at), populate_existing=True)
    if found is None:
        raise NotFoundError.of("firing", f"{schedule} at {due_at.isoformat()}")
    return found


async def of_schedule(session: AsyncSession, schedule: str, *, limit: int) -> Sequence[Firing]:
    """A schedule's firings, the latest due first."""
    query = select(Firing).where(Firing.schedule == schedule).order_by(Firing.due_at.desc()).limit(limit)
    return (await session.execute(query)).scalars().all()


async def claim(session: AsyncSession, tasks: Sequence[str], *, host: str, lease_s: float, limit: int) -> list[Claim]:
    """Take over up to `limit` firings of these tasks that wait, or whose scheduler has let its lease run out.

    A schedule's firings are run one at a time, the earliest first; one that waits to be tried again holds back the
    later ones, but none that was asked for by hand. A firing whose last attempt was cut off becomes failed here.
    """
    moment = await clock(session)
    waiting = and_(Firing.state == "pending", Firing.not_before <= moment, or_(Firing.by_hand, ~Schedule.paused))
    abandoned = and_(Firing.state == "running", Firing.lease_until < moment)
    # Those that are being run yield nothing now, and keep no other from its turn.
    live = aliased(Firing)
    busy = exists().where(live.schedule == Schedule.name, live.state == "running", live.lease_until >= moment)
    query = (
        select(Schedule)
        .where(
            Schedule.task.in_(tasks), ~busy, exists().where(Firing.schedule == Schedule.name, or_(waiting, abandoned))
        )
        .order_by(Schedule.next_due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claimed = []
    # The schedule's row is ours: what is read from here on, by statements of their own, no other scheduler changes.
    for schedule in (await session.execute(query)).scalars().all():
        while (found := await _next(session, schedule, moment)) is not None:
            if found.attempt >= schedule.max_attempts:
                error = {"code": "host_lost", "message": f"its host {found.host} did not finish it"}
                found.state, found.error, found.ended_at, found.lease_until = "failed", error, moment, None
                await session.flush()
                continue
            found.state, found.host, found.attempt = "running", host, found.attempt + 1
            found.lease_until = moment + timedelta(seconds=lease_s)
            # The clock of now, and not of before the schedule's row was ours: the firing before this one may have ended
            # in between, and the record would show the two side by side.
            found.started_at = found.started_at or await clock(session)
            await session.flush()
            claimed.append(
                Claim(
                    schedule=schedule.name, task=schedule.task, due_at=found.due_at, attempt=found.attempt,
                    max_attempts=schedule.max_attempts, timeout_s=schedule.timeout_s,
                )
            )  # fmt: skip
            break
    return claimed


async def _next(session: AsyncSession, schedule: Schedule, moment: datetime) -> Firing | None:
    """The firing of this schedule to be run now, locked; `None` where one is being run, or none may be."""
    heads = (
        select(Firing.due_at, Firing.state, Firing.by_hand, Firing.not_before, Firing.lease_until)
        .distinct(Firing.state, Firing.by_hand)
        .where(Firing.schedule == schedule.name, Firing.state.in_(UNFINISHED))
        .order_by(Firing.state, Firing.by_hand, Firing.due_at)
    )
    candidates: list[datetime] = []
    for due_at, state, by_hand, not_before, lease_until in await session.execute(heads):
        if state == "running":
            if lease_until is not None and lease_until >= moment:
                return None
            candidates.insert(0, due_at)
        elif not_before <= moment and (by_hand or not schedule.paused):
            candidates.append(due_at)
    if not candidates:
        return None
    # Not while a scheduler that was cut off holds it (`hold`): its unit of work ends first.
    # Looked at again under the lock, for its scheduler may have renewed its lease, or ended it, meanwhile.
    free = or_(
        and_(Firing.state == "pending", Firing.not_before <= moment),
        and_(Firing.state == "running", Firing.lease_until < moment),
    )
    query = (
        select(Firing)
        .where(Firing.schedule == schedule.name, Firing.due_at == candidates[0], free)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def renew(session: AsyncSession, claim: Claim, *, lease_s: float) -> bool:
    """Hold the firing for `lease_s` seconds from now; `False` where it is no longer this claim's."""
    lease_until = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, lease_s)
    statement = update(Firing).where(*_ours(claim)).values(lease_until=lease_until).returning(Firing.due_at)
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def hold(session: AsyncSession, claim: Claim) -> None:
    """The firing stays this claim's until the unit of work ends: what it writes there is written by one scheduler.

    Raises `ConflictError` where another has taken it over. The lock lets `renew` and ends pass, but no `claim`.
    """
    query = select(Firing.due_at).where(*_ours(claim)).with_for_update(key_share=True, read=True)
    if (await session.execute(query)).scalar_one_or_none() is None:
        raise ConflictError(
            f"the firing of {claim.schedule} due {claim.due_at.isoformat()} was taken over by another scheduler",
            subject=claim.schedule,
        )


# The firing before this one, where it came in time, at its first try, to the same.
_SAME_BEFORE = text(
    "DELETE FROM schedule_firings f WHERE schedule = :schedule AND due_at = (SELECT max(due_at) FROM schedule_firings"
    "  WHERE schedule = :schedule AND due_at < :due_at)"
    " AND state = 'completed' AND attempt = 1 AND NOT by_hand AND outcome = CAST(:outcome AS jsonb)"
    " AND started_at < due_at + interval '10 seconds'"
    " AND EXISTS (SELECT FROM schedules WHERE name = :schedule AND every_s < :frequent_s)"
)


async def complete(session: AsyncSession, claim: Claim, outcome: dict[str, Any], *, frequent_s: int = 0) -> bool:
    """End the firing well; `False` where it is no longer this claim's.

    Of a schedule that is due more often than every `frequent_s` seconds, a firing that came to nothing (all that it
    counts is 0) takes the place of the one before it that did: of a quiet hour the last one is kept.
    """
    ended = await _end(session, claim, state="completed", outcome=outcome, error=None, ended_at=func.clock_timestamp())
    if ended and frequent_s and outcome and not any(outcome.values()):
        given = {"schedule": claim.schedule, "due_at": claim.due_at, "frequent_s": frequent_s}
        await session.execute(_SAME_BEFORE, {**given, "outcome": orjson.dumps(outcome).decode()})
    return ended


async def fail(session: AsyncSession, claim: Claim, error: dict[str, Any], *, again_in_s: float | None) -> bool:
    """Record why the attempt failed, and have it tried again after a while, or never; `False` as `complete`."""
    if again_in_s is None:
        return await _end(session, claim, state="failed", error=error, ended_at=func.clock_timestamp())
    not_before = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, again_in_s)
    return await _end(session, claim, state="pending", error=error, not_before=not_before)


async def _end(session: AsyncSession, claim: Claim, **values: Any) -> bool:
    statement = update(Firing).where(*_ours(claim)).values(lease_until=None, **values).returning(Firing.due_at)
    return (await session.execute(statement)).scalar_one_or_none() is not None


def _ours(claim: Claim) -> tuple[Any, ...]:
    return (
        Firing.schedule == claim.schedule,
        Firing.due_at == claim.due_at,
        Firing.attempt == claim.attempt,
        Firing.state == "running",
    )


async def last_of_each(session: AsyncSession) -> list[tuple[Schedule, Firing | None]]:
    """Every schedule by name, each with the firing that began or was skipped last, or else waits."""
    last = (
        select(Firing.schedule, Firing.due_at)
        .distinct(Firing.schedule)
        .order_by(Firing.schedule, (Firing.state == "pending").asc(), Firing.due_at.desc())
        .subquery()
    )
    query = (
        select(Schedule, Firing)
        .outerjoin(last, last.c.schedule == Schedule.name)
        .outerjoin(Firing, and_(Firing.schedule == last.c.schedule, Firing.due_at == last.c.due_at))
        .order_by(Schedule.name)
    )
    return [(schedule, firing) for schedule, firing in await session.execute(query)]


async def forget(
    session: AsyncSession, before: datetime, *, frequent_s: int, frequent_before: datetime, limit: int
) -> int:
    """Remove up to `limit` firings that ended before then, but the last of each schedule; answers how many.

    Those of schedules that are due more often than every `frequent_s` seconds are removed from `frequent_before` on.
    """
    later = Firing.__table__.alias("later")
    frequent = select(Schedule.name).where(Schedule.every_s < frequent_s)
    old = (
        select(Firing.schedule, Firing.due_at)
        .where(
            Firing.ended_at < frequent_before,
            or_(Firing.ended_at < before, Firing.schedule.in_(frequent)),
            exists().where(later.c.schedule == Firing.schedule, later.c.due_at > Firing.due_at),
        )
        .order_by(Firing.ended_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Firing)
    )
    statement = delete(Firing).where(tuple_(Firing.schedule, Firing.due_at).in_(old)).returning(Firing.due_at)
    return len((await session.execute(statement, execution_options={"synchronize_session": False})).all())
