"""Callbacks: what a run's owner is told at an address of theirs. An outbox, written with what it tells of.

A row stands from the transaction of what it tells of until its receiver has taken it, or until it is given up. It is
sent by one sender at a time, under a lease; a sender that dies between sending and writing so sends it again under the
same id, so receivers remember ids. Leases are judged by the database's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Index, case, exists, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.clock import now
from storage.columns import Json, Timestamp
from storage.engine import Base
from storage.errors import ConflictError, NotFoundError
from storage.ids import new_id


class CallbackTarget(Base):
    """Where a run's callbacks go, and what signs them; without a secret of its own, the installation's."""

    __tablename__ = "callback_targets"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str]
    secret: Mapped[str | None]
    created_at: Mapped[Timestamp] = mapped_column(default=now)


class Callback(Base):
    """One thing to tell. `callback_id` is the same however often it is sent."""

    __tablename__ = "callbacks"
    __table_args__ = (
        Index(
            "ix_callbacks_due", "next_at", postgresql_where=text("delivered_at IS NULL AND given_up_at IS NULL")
        ),
        Index("ix_callbacks_run", "run_id", "created_at"),
    )  # fmt: skip

    callback_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    run_id: Mapped[UUID]
    # review.asked, review.reminded, review.escalated, run.completed, run.failed, run.cancelled
    event: Mapped[str]
    data: Mapped[Json]
    created_at: Mapped[Timestamp] = mapped_column(default=now)
    # Not sent before; while it is being sent, when another may.
    next_at: Mapped[Timestamp] = mapped_column(default=now)
    attempts: Mapped[int] = mapped_column(default=0)
    delivered_at: Mapped[Timestamp | None]
    given_up_at: Mapped[Timestamp | None]
    # When somebody asked that it be sent again: its time to be taken counts from then.
    resent_at: Mapped[Timestamp | None]
    # Of the last attempt that failed: {message, status?}
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A callback that this sender sends now; `attempt` counts from 1 and is its fence."""

    callback_id: UUID
    run_id: UUID
    event: str
    data: dict[str, Any]
    created_at: datetime
    attempt: int
    url: str
    secret: str | None
    receiver: str  # the URL's host and port


async def aim(session: AsyncSession, run_id: UUID, url: str, secret: str | None) -> None:
    """The run's callbacks go there. A second time, nothing is changed."""
    row = {"run_id": run_id, "url": url, "secret": secret, "created_at": now()}
    await session.execute(insert(CallbackTarget).values(row).on_conflict_do_nothing())


async def tell(
    session: AsyncSession, callback_id: UUID, run_id: UUID, event: str, data: dict[str, Any], *, at: datetime
) -> None:
    """The run's owner is told, where they are called back. The same `callback_id` a second time changes nothing."""
    values = select(
        literal(callback_id),
        literal(run_id),
        literal(event),
        literal(data, JSONB),
        literal(at),
        literal(at),
        literal(0),
    ).where(exists().where(CallbackTarget.run_id == run_id))
    columns = ("callback_id", "run_id", "event", "data", "created_at", "next_at", "attempts")
    await session.execute(insert(Callback).from_select(columns, values).on_conflict_do_nothing())


async def aim_as(session: AsyncSession, source_run_id: UUID, run_id: UUID) -> None:
    """The run's callbacks go where those of the other go, if there is such a place."""
    values = select(literal(run_id), CallbackTarget.url, CallbackTarget.secret, literal(now())).where(
        CallbackTarget.run_id == source_run_id
    )
    columns = ("run_id", "url", "secret", "created_at")
    await session.execute(insert(CallbackTarget).from_select(columns, values).on_conflict_do_nothing())


# Of so many that are due the next are chosen, so that many for few receivers are not all ranked each time.
_RANKED = 2000
# What is looked at in a URL: its host and port.
_RECEIVER = "lower(substring(t.url from '^[^:/]+://(?:[^/?#]*@)?([^/?#]*)'))"
_TAKE = text(
    f"WITH due AS (SELECT c.callback_id, c.next_at, {_RECEIVER} AS receiver"  # noqa: S608 - our own constants
    "  FROM callbacks c JOIN callback_targets t ON t.run_id = c.run_id"
    "  WHERE c.delivered_at IS NULL AND c.given_up_at IS NULL AND c.next_at <= clock_timestamp()"
    f"  AND coalesce((CAST(:busy AS jsonb)->>{_RECEIVER})::int, 0) < :per_receiver"
    "  AND c.callback_id <> ALL(:tried) ORDER BY c.next_at LIMIT :ranked),"
    " placed AS (SELECT callback_id, row_number() OVER (PARTITION BY receiver ORDER BY next_at)"
    "  + coalesce((CAST(:busy AS jsonb)->>receiver)::int, 0) AS place FROM due),"
    " chosen AS (SELECT c.callback_id FROM callbacks c JOIN placed p ON p.callback_id = c.callback_id"
    "  WHERE p.place <= :per_receiver"
    # Again, for another may have taken it since.
    "  AND c.delivered_at IS NULL AND c.given_up_at IS NULL AND c.next_at <= clock_timestamp()"
    "  ORDER BY c.next_at LIMIT :limit FOR UPDATE OF c SKIP LOCKED)"
    " UPDATE callbacks c SET attempts = c.attempts + 1,"
    "  next_at = clock_timestamp() + CAST(:lease_s AS float8) * interval '1 second'"
    " FROM chosen, callback_targets t WHERE c.callback_id = chosen.callback_id AND t.run_id = c.run_id"
    f" RETURNING c.callback_id, c.run_id, c.event, c.data, c.created_at, c.attempts, t.url, t.secret, {_RECEIVER}"
)


async def take(
    session: AsyncSession,
    *,
    limit: int,
    lease_s: float,
    per_receiver: int = 1_000_000,
    busy: Mapping[str, int] | None = None,
    tried: Sequence[UUID] = (),
) -> list[Due]:
    """Callbacks that are due, the longest due first, nobody else's for `lease_s` seconds.

    None that this sender has `tried` already, and of one receiver no more than `per_receiver`, less the `busy` ones
    that it is sending there now.
    """
    given = {
        "limit": limit, "lease_s": lease_s, "per_receiver": per_receiver, "ranked": _RANKED,
        "tried": list(tried), "busy": orjson.dumps(dict(busy or {})).decode(),
    }  # fmt: skip
    rows = (await session.execute(_TAKE, given)).all()
    return [
        Due(
            callback_id=row[0], run_id=row[1], event=row[2], data=row[3], created_at=row[4], attempt=row[5], url=row[6],
            secret=row[7], receiver=row[8] or "",
        )
        for row in sorted(rows, key=lambda row: row[4])
    ]  # fmt: skip


async def delivered(session: AsyncSession, due: Due) -> None:
    """Its receiver has taken it."""
    await _write(session, due, delivered_at=func.clock_timestamp(), error=None)


async def put_off(session: AsyncSession, due: Due, *, wait_s: float, give_up_s: float, error: dict[str, Any]) -> bool:
    """It could not be delivered: after `wait_s` it is tried again. Whether it is given up instead, for `give_up_s` have
    passed since it was written, or was to be sent again.
    """
    moment = func.clock_timestamp()
    over = func.coalesce(Callback.resent_at, Callback.created_at) + timedelta(seconds=give_up_s) <= moment
    values = {"next_at": moment + timedelta(seconds=wait_s), "error": error, "given_up_at": case((over, moment))}
    statement = update(Callback).where(*_mine(due)).values(**values).returning(Callback.given_up_at)
    found = (await session.execute(statement.execution_options(synchronize_session=False))).scalar_one_or_none()
    return found is not None


async def give_up(session: AsyncSession, due: Due, *, error: dict[str, Any]) -> None:
    """It will never be taken."""
    await _write(session, due, given_up_at=func.clock_timestamp(), error=error)


async def _write(session: AsyncSession, due: Due, **values: Any) -> None:
    statement = update(Callback).where(*_mine(due)).values(**values)
    await session.execute(statement.execution_options(synchronize_session=False))


def _mine(due: Due) -> tuple[Any, ...]:
    # Another sender has it where the lease ran out meanwhile: what that one writes counts.
    return Callback.callback_id == due.callback_id, Callback.attempts == due.attempt


async def of_run(session: AsyncSession, run_id: UUID) -> Sequence[Callback]:
    """The run's callbacks in the order in which they were written: the first thousand."""
    query = select(Callback).where(Callback.run_id == run_id).order_by(Callback.created_at, Callback.callback_id)
    return (await session.execute(query.limit(1000))).scalars().all()


async def resend(session: AsyncSession, run_id: UUID, callback_id: UUID) -> Callback:
    """It is due again, under its id, with its whole time to be taken.

    Raises `NotFoundError` where the run has no such callback, and `ConflictError` where it is still being tried.
    """
    query = select(Callback).where(Callback.callback_id == callback_id, Callback.run_id == run_id).with_for_update()
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise NotFoundError.of("callback", str(callback_id))
    if row.delivered_at is None and row.given_up_at is None:
        raise ConflictError(
            f"callback {callback_id} is neither delivered nor given up: it is tried again by itself, after "
            f"{row.next_at.isoformat()}",
            subject=str(callback_id),
            state={"status": "waiting", "attempts": row.attempts, "next_at": row.next_at},
        )
    moment = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    row.delivered_at = row.given_up_at = row.error = None
    row.resent_at = row.next_at = moment
    return row


_FORGOTTEN = text(
    "WITH old AS (SELECT callback_id FROM callbacks WHERE created_at < :before"
    " AND (delivered_at IS NOT NULL OR given_up_at IS NOT NULL) ORDER BY created_at LIMIT :limit)"
    " DELETE FROM callbacks c USING old WHERE c.callback_id = old.callback_id RETURNING c.callback_id"
)


async def forget(session: AsyncSession, before: datetime, *, limit: int) -> int:
    """Remove callbacks that were written before then and are done with; answers how many."""
    return len((await session.execute(_FORGOTTEN, {"before": before, "limit": limit})).all())
