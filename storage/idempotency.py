"""Idempotency keys: for a week, a repeated write with the same `Idempotency-Key` answers what the first one did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Index, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.clock import now
from storage.columns import Timestamp
from storage.engine import Base
from storage.errors import ConflictError

# Clients repeat within seconds, queues within days. An older key is as good as new.
KEPT = timedelta(days=7)
# More than one call makes, so that what is old shrinks; few enough that no caller notices.
_FORGOTTEN_AT_ONCE = 20


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_created", "created_at"),)

    scope: Mapped[str] = mapped_column(primary_key=True)  # principal, method and route
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int]
    body: Mapped[Any] = mapped_column(JSONB)
    created_at: Mapped[Timestamp] = mapped_column(default=now)


async def replay(session: AsyncSession, scope: str, key: str, request_hash: str) -> IdempotencyKey | None:
    """The first answer to this key, or `None`. Holds a lock on the key until the unit of work ends.

    Raises `ConflictError` where the key was used for another request.
    """
    lock = func.pg_advisory_xact_lock(func.hashtextextended(f"{scope}\n{key}", 0))
    await session.execute(select(lock))
    first = await session.get(IdempotencyKey, (scope, key))
    if first is not None and first.created_at < now() - KEPT:
        await session.execute(
            delete(IdempotencyKey).where(IdempotencyKey.scope == scope, IdempotencyKey.key == key),
            execution_options={"synchronize_session": False},
        )
        session.expunge(first)
        return None
    if first is not None and first.request_hash != request_hash:
        raise ConflictError(f"Idempotency-Key {key!r} was used for another request; send a new key", subject=key)
    return first


def remember(session: AsyncSession, scope: str, key: str, request_hash: str, *, status: int, body: Any) -> None:
    """Record the answer in the same transaction as the write it answers."""
    session.add(IdempotencyKey(scope=scope, key=key, request_hash=request_hash, status=status, body=body))


async def forget(session: AsyncSession) -> None:
    """Remove a few keys that are too old to count. Keys that another unit of work is at are left to it."""
    columns = (IdempotencyKey.scope, IdempotencyKey.key)
    old = (
        select(*columns)
        .where(IdempotencyKey.created_at < now() - KEPT)
        .order_by(IdempotencyKey.created_at)
        .limit(_FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await session.execute(
        delete(IdempotencyKey).where(tuple_(*columns).in_(old)), execution_options={"synchronize_session": False}
    )
