"""Runs: one row per long piece of work, from the moment it is accepted.

pending → running ⇄ waiting → completed | failed | cancelled. While a host drives a run, that host alone writes the
row's standing (in `actors/runs`, under its shard's epoch); everybody else only asks, by the columns for asking:
`resume`, `cancel_requested_at`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, SmallInteger, case, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, defer, mapped_column

from storage.clock import now
from storage.columns import Json, JsonList, Timestamp
from storage.engine import Base
from storage.errors import NotFoundError
from storage.ids import first_id, new_id

SHARDS = 64

# A run of these states has work left; the others never change again unless somebody retries the run.
UNFINISHED = ("pending", "running", "waiting")
ENDED = ("completed", "failed", "cancelled")
STATUSES = (*UNFINISHED, *ENDED)
# What is kept (`Run.retained`) of a run that can still be retried or forked.
RETRIED = ("all", "latest")

# Hosts listen here: a word that a run wants attention. A lost one only delays, for they also look by themselves.
CHANNEL = "hyvve_runs"

_THREAD_LOCK = 0x6879


class Run(Base):
    """`shard` follows from `thread_id`: all runs of a thread belong to one host."""

    __tablename__ = "runs"
    __table_args__ = (
        Index(
            "uq_runs_thread_active", "thread_id", unique=True,
            postgresql_where=text("status IN ('running', 'waiting')"),
        ),
        Index(
            "ix_runs_to_drive", "status", "shard", "run_id", postgresql_where=text("status IN ('pending', 'running')")
        ),
        Index(
            "ix_runs_asked", "shard",
            postgresql_where=text("status = 'waiting' AND (resume <> '{}' OR cancel_requested_at IS NOT NULL)"),
        ),
        Index(
            "ix_runs_wake", "wake_at",
            postgresql_where=text("status IN ('pending', 'waiting') AND wake_at IS NOT NULL"),
        ),
        Index(
            "ix_runs_deadline", "deadline_at",
            postgresql_where=text("status IN ('pending', 'waiting') AND deadline_at IS NOT NULL"),
        ),
        Index("ix_runs_thread", "thread_id", "run_id"),
        Index("ix_runs_owner", "owner", "run_id"),
        Index("ix_runs_status", "status", "run_id"),
        Index("ix_runs_kind", "kind", "run_id"),
        Index("ix_runs_parent", "parent_run_id", postgresql_where=text("parent_run_id IS NOT NULL")),
        Index("ix_runs_session", "session_id", "run_id", postgresql_where=text("session_id IS NOT NULL")),
        Index("ix_runs_retained", "retained", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        # A step changes columns that stand in no index; the room keeps the new version on the same page.
        {"postgresql_with": {"fillfactor": 70}},
    )  # fmt: skip

    run_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    thread_id: Mapped[str]
    shard: Mapped[int] = mapped_column(SmallInteger)
    kind: Mapped[str]
    # The wallet it acts for; none is the system.
    owner: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="pending")
    # The node that runs, or several with commas; of a failed run, the one that failed.
    step: Mapped[str | None]
    # Nodes completed.
    steps: Mapped[int] = mapped_column(default=0)
    progress: Mapped[Json] = mapped_column(default=dict)
    # What the kind builds its graph from, pinned when the run is accepted.
    spec: Mapped[Json]
    input: Mapped[Json]
    output: Mapped[Json | None]
    # {code, message, step, class, retryable}
    error: Mapped[Json | None]
    # Questions without an answer yet: [{id, task, step, value}]
    interrupts: Mapped[JsonList] = mapped_column(default=list)
    # Answers by interrupt id, given and not yet consumed by a step.
    resume: Mapped[Json] = mapped_column(default=dict)
    # {max_cost_micro_usd?, max_tokens?}
    budget: Mapped[Json] = mapped_column(default=dict)
    # {cost_micro_usd, prompt_tokens, completion_tokens, models: {model: {…, calls}}}
    usage: Mapped[Json] = mapped_column(default=dict)
    parent_run_id: Mapped[UUID | None]
    # What it belongs to in whoever asked for it, in their word: a conversation, a visit.
    session_id: Mapped[str | None]
    # The checkpoint of the parent's thread that a fork began at.
    forked_from: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(default=1)
    # Times in a row that a host was lost under it before a step was completed.
    recoveries: Mapped[int] = mapped_column(default=0)
    # The number of its last event.
    event_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    # What retention has left of its checkpoints: all, latest, none; then of its events too: nothing. The row goes next,
    # or is kept for good, where reviews refer to it: row.
    retained: Mapped[str] = mapped_column(default="all")
    # The time that it is given from its acceptance, or its last retry, on; it ends at `deadline_at`.
    deadline_s: Mapped[float | None]
    deadline_at: Mapped[Timestamp | None]
    # Not to be driven before (pending), or to be woken at (waiting).
    wake_at: Mapped[Timestamp | None]
    cancel_requested_at: Mapped[Timestamp | None]
    created_at: Mapped[Timestamp] = mapped_column(default=now)
    started_at: Mapped[Timestamp | None]
    updated_at: Mapped[Timestamp] = mapped_column(default=now)
    ended_at: Mapped[Timestamp | None]


async def get(session: AsyncSession, run_id: UUID) -> Run:
    """The run. Raises `NotFoundError`."""
    row = await session.get(Run, run_id, populate_existing=True)
    if row is None:
        raise NotFoundError.of("run", str(run_id))
    return row


async def locked(session: AsyncSession, run_id: UUID) -> Run:
    """The run, which nobody else changes until the unit of work ends. Raises `NotFoundError`."""
    row = await session.get(Run, run_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFoundError.of("run", str(run_id))
    return row


async def standing(session: AsyncSession, run_id: UUID) -> tuple[str, int]:
    """The run's status and the number of its last event; the row itself may be megabytes. Raises `NotFoundError`."""
    query = select(Run.status, Run.event_seq).where(Run.run_id == run_id)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError.of("run", str(run_id))
    return row[0], row[1]


async def page(
    session: AsyncSession,
    *,
    limit: int,
    after: UUID | None = None,
    owner: str | None = None,
    unowned: bool = False,
    statuses: Sequence[str] = (),
    kind: str | None = None,
    thread_id: str | None = None,
    parent_run_id: UUID | None = None,
    session_id: str | None = None,
    since: datetime | None = None,
    light: bool = False,
    stages: Sequence[str] = (),
) -> Sequence[Run]:
    """Runs newest first, those older than `after`. `unowned`: the system's only; `since`: accepted then or later;
    `light`: without spec, input and output, which may be megabytes; `stages`: where they stand, by their own word
    (`progress.state`, `created` before there is one) or, once they ended, by their status.
    """
    query = select(Run)
    if light:
        query = query.options(*(defer(column, raiseload=True) for column in (Run.spec, Run.input, Run.output)))
    for column, value in (
        (Run.owner, owner), (Run.kind, kind), (Run.thread_id, thread_id), (Run.parent_run_id, parent_run_id),
        (Run.session_id, session_id),
    ):  # fmt: skip
        if value is not None:
            query = query.where(column == value)
    if unowned:
        query = query.where(Run.owner.is_(None))
    if statuses:
        query = query.where(Run.status.in_(statuses))
    if stages:
        told = func.coalesce(Run.progress["state"].astext, "created")
        query = query.where(case((Run.status.in_(ENDED), Run.status), else_=told).in_(stages))
    if since is not None:
        # Ids sort by time, and the index that gives the order ends the search too.
        query = query.where(Run.created_at >= since, Run.run_id >= first_id(since))
    if after is not None:
        query = query.where(Run.run_id < after)
    return (await session.execute(query.order_by(Run.run_id.desc()).limit(limit))).scalars().all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many runs stand how: those with work left, by state; and those ended since a moment, by minute and state."""

    unfinished: dict[str, int]
    ended: list[tuple[datetime, str, int]]


async def tally(session: AsyncSession, *, since: datetime, owner: str | None = None, unowned: bool = False) -> Tally:
    """Of one owner's runs, of the system's alone (`unowned`), or of all."""
    whose = [Run.owner.is_(None)] if unowned else [] if owner is None else [Run.owner == owner]
    standing = select(Run.status, func.count()).where(Run.status.in_(UNFINISHED), *whose).group_by(Run.status)
    minute = func.date_trunc("minute", Run.ended_at)
    ended = (
        # What retention has left of a run is the first column of the index that holds its end.
        select(minute, Run.status, func.count())
        .where(Run.retained.in_(("all", "latest", "none", "nothing")), Run.ended_at >= since, *whose)
        .group_by(minute, Run.status)
        .order_by(minute)
    )
    return Tally(
        unfinished={row[0]: row[1] for row in await session.execute(standing)},
        ended=[(at, status, count) for at, status, count in await session.execute(ended)],
    )


async def hold_thread(session: AsyncSession, thread_id: str) -> None:
    """Until the unit of work ends, nobody else begins anything on this thread."""
    query = text("SELECT pg_advisory_xact_lock(:class, hashtext(:thread_id))")
    await session.execute(query, {"class": _THREAD_LOCK, "thread_id": thread_id})


async def unfinished_on(session: AsyncSession, thread_id: str, *, limit: int) -> list[tuple[UUID, str]]:
    """Ids and states of this thread's first `limit` runs with work left, in the order in which their turn comes.

    No more of them than that: the rows may be megabytes, and every start and every turn on the thread asks.
    """
    query = select(Run.run_id, Run.status).where(Run.thread_id == thread_id, Run.status.in_(UNFINISHED))
    found = await session.execute(query.order_by(Run.status == "pending", Run.run_id).limit(limit))
    return [(run_id, status) for run_id, status in found]


async def last_on(session: AsyncSession, thread_id: str) -> Run | None:
    """The newest run of this thread, or none."""
    query = select(Run).where(Run.thread_id == thread_id).order_by(Run.run_id.desc()).limit(1)
    return (await session.execute(query)).scalar_one_or_none()


async def call_host(session: AsyncSession, run: Run) -> None:
    """Tell the run's host, once this is committed, that the run wants attention."""
    await session.execute(select(func.pg_notify(CHANNEL, f"{run.shard} {run.run_id}")))


# Each branch reads one partial index; runs that wait for nothing but a person are in none of them.
_DUE = text(
    "(SELECT run_id FROM runs WHERE status = 'running' AND shard = ANY(:shards) AND run_id <> ALL(:driven)"
    " ORDER BY run_id LIMIT :limit)"
    " UNION ALL (SELECT run_id FROM runs WHERE status = 'waiting' AND shard = ANY(:shards)"
    "  AND (resume <> '{}' OR cancel_requested_at IS NOT NULL) AND run_id <> ALL(:driven) LIMIT :limit)"
    " UNION ALL (SELECT run_id FROM runs WHERE status IN ('pending', 'waiting') AND wake_at <= :moment"
    "  AND status = 'waiting' AND shard = ANY(:shards) AND run_id <> ALL(:driven) ORDER BY wake_at LIMIT :limit)"
    " UNION ALL (SELECT run_id FROM runs WHERE status IN ('pending', 'waiting') AND deadline_at <= :moment"
    "  AND shard = ANY(:shards) AND run_id <> ALL(:driven) ORDER BY deadline_at LIMIT :limit)"
    " UNION ALL (SELECT r.run_id FROM runs r WHERE status = 'pending' AND shard = ANY(:shards)"
    "  AND run_id <> ALL(:driven) AND (cancel_requested_at IS NOT NULL OR (coalesce(wake_at <= :moment, true)"
    "  AND NOT EXISTS (SELECT FROM runs e WHERE e.thread_id = r.thread_id AND (e.status IN ('running', 'waiting')"
    "   OR (e.status = 'pending' AND e.run_id < r.run_id))))) ORDER BY run_id LIMIT :limit)"
)


async def due(
    session: AsyncSession, shards: Sequence[int], *, driven: Sequence[UUID], moment: datetime, limit: int
) -> list[UUID]:
    """Up to `limit` runs of these shards that want their host now, without those that are driven already.

    Those are: running ones that nobody drives, waiting ones with an answer, a cancel, a wake time or a deadline come,
    and the pending one whose turn it is on its thread.
    """
    given = {"shards": list(shards), "driven": list(driven), "moment": moment, "limit": limit}
    found = (await session.execute(_DUE, given)).scalars()
    return list(dict.fromkeys(found))[:limit]


async def told_to_stop(session: AsyncSession, run_ids: Sequence[UUID]) -> Sequence[UUID]:
    """Those of these runs that somebody asked to cancel."""
    query = select(Run.run_id).where(Run.run_id.in_(run_ids), Run.cancel_requested_at.is_not(None))
    return (await session.execute(query)).scalars().all()


async def next_on(session: AsyncSession, thread_id: str) -> UUID | None:
    """The run whose turn it is on this thread, where none is under way."""
    first = await unfinished_on(session, thread_id, limit=1)
    return first[0][0] if first and first[0][1] == "pending" else None


def shard_of(thread_id: str) -> int:
    """The thread's shard, the same in every process and version."""
    return zlib.crc32(thread_id.encode()) % SHARDS
