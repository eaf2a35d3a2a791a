"""Who owns which shard of runs. Each claim has an epoch of its own, and only the present one's holder can write."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, SmallInteger, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from storage.columns import Timestamp
from storage.engine import Base

# Writers share this lock for the length of a transaction; who claims has it alone. See `run_fence` in migration 0002.
LOCK = 0x68797277
# What `run_fence` raises: this SQLSTATE.
FENCED = "RF001"


class RunShard(Base):
    __tablename__ = "run_shards"

    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    host: Mapped[str]
    claimed_at: Mapped[Timestamp]
    # The holder says every few seconds that it lives.
    seen_at: Mapped[Timestamp]


async def claim(session: AsyncSession, shards: Sequence[int], host: str) -> int:
    """Become the holder of these shards, whoever held them; answers the epoch.

    Waits for transactions of the earlier holder that are under way. When the unit of work is committed, none of its
    later ones can be.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    query = text(
        "INSERT INTO run_shards (shard, epoch, host, claimed_at, seen_at)"
        " SELECT shard, (SELECT coalesce(max(epoch), 0) + 1 FROM run_shards), :host, now(), now()"
        " FROM unnest(CAST(:shards AS smallint[])) shard"
        " ON CONFLICT (shard) DO UPDATE SET epoch = excluded.epoch, host = excluded.host,"
        "  claimed_at = excluded.claimed_at, seen_at = excluded.seen_at"
        " RETURNING epoch"
    )
    return int((await session.execute(query, {"shards": list(shards), "host": host})).scalars().all()[0])


async def host_of(session: AsyncSession, shard: int) -> str | None:
    """The name of who holds this shard, or held it last."""
    return (await session.execute(select(RunShard.host).where(RunShard.shard == shard))).scalar_one_or_none()


async def seen(session: AsyncSession, epoch: int) -> int:
    """Say that the holder of this epoch lives; answers how many shards it still holds."""
    query = text("UPDATE run_shards SET seen_at = now() WHERE epoch = :epoch")
    return int((await session.execute(query, {"epoch": epoch})).rowcount)  # type: ignore[attr-defined]


async def silent(session: AsyncSession, shards: Sequence[int], *, for_s: float) -> bool:
    """Whether none of these shards has a holder that was heard of within `for_s` seconds."""
    query = text(
        "SELECT NOT EXISTS (SELECT FROM run_shards WHERE shard = ANY(:shards)"
        " AND seen_at > now() - make_interval(secs => :for_s))"
    )
    return bool((await session.execute(query, {"shards": list(shards), "for_s": for_s})).scalar_one())
