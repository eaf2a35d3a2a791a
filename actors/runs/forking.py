"""The checkpoints of a run, listed, and copied to a thread of its own up to one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import RunInputError
from actors.runs.checkpoint_tables import BLOBS, CHECKPOINTS, WRITES
from actors.runs.group_commit import Table
from storage import run_events
from storage.errors import NotFoundError
from storage.runs import Run

_EPOCH = datetime(1582, 10, 15, tzinfo=UTC)
# Of the keys that a fork may not be given: a body holds a hundred thousand.
_TOLD = 100

# What a kind says of a fork of this run with these values. Raises `RunInputError` for values that its forks may not be
# given, and `RunConflictError` where its runs are not forked at all.
ForkRule = Callable[[Run, Mapping[str, Any]], None]


def as_it_was(run: Run, given: Mapping[str, Any]) -> None:
    """The rule of every kind that has none of its own: a fork goes on with what there was. What people decided stands
    among a run's values, so whoever could change those could decide in their place.
    """
    if given:
        sentence = f"a fork of a {run.kind!r} run goes on with the values that its checkpoint has: leave this out"
        faults = [{"path": f"$.input.{key}", "message": sentence, "code": "forbidden"} for key in sorted(given)[:_TOLD]]
        raise RunInputError(f"$.input: {sentence}", subject=str(run.run_id), errors=faults)


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """`step` is the superstep, -1 of the input's own checkpoint; `source` is input, loop, update or fork."""

    checkpoint_id: str
    parent_id: str | None
    step: int
    source: str
    at: datetime


async def checkpoints(
    session: AsyncSession, run_id: UUID, thread_id: str, *, limit: int, before: str | None = None
) -> Sequence[CheckpointInfo]:
    """The run's checkpoints newest first, those older than `before`."""
    if not await _has_tables(session):
        return []
    query = text(
        "SELECT checkpoint_id, parent_id, metadata->>'step', metadata->>'source' FROM run_checkpoints"
        " WHERE thread_id = :thread_id AND checkpoint_ns = '' AND run_id = :run_id"
        " AND (CAST(:before AS text) IS NULL OR checkpoint_id < :before)"
        " ORDER BY checkpoint_id DESC LIMIT :limit"
    )
    given = {"thread_id": thread_id, "run_id": str(run_id), "before": before, "limit": limit}
    return [
        CheckpointInfo(checkpoint_id, parent_id, int(step or 0), source or "", moment_of(checkpoint_id))
        for checkpoint_id, parent_id, step, source in await session.execute(query, given)
    ]


async def budget_left(session: AsyncSession, run: Run, checkpoint_id: str) -> dict[str, int]:
    """What was left of the run's budget at this checkpoint of it."""
    if not run.budget:
        return {}
    # A checkpoint is made after all that its steps told, and before the next ones begin.
    tokens, cost = await run_events.used_until(session, run.run_id, moment_of(checkpoint_id))
    used = {"max_tokens": tokens, "max_cost_micro_usd": cost}
    return {limit: max(0, allowed - used[limit]) for limit, allowed in run.budget.items()}


async def copy(
    session: AsyncSession, run_id: UUID, thread_id: str, *, checkpoint_id: str | None, target: str, new_run_id: UUID
) -> str:
    """Copy the thread up to a checkpoint of this run, by default its last, to the thread `target`; answers its id.

    Nothing is copied of what the checkpoint's own next steps wrote: they are done anew. Raises `NotFoundError`.
    """
    found = None
    if await _has_tables(session):
        query = text(
            "SELECT checkpoint_id FROM run_checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = ''"
            " AND run_id = :run_id AND (CAST(:id AS text) IS NULL OR checkpoint_id = :id)"
            " ORDER BY checkpoint_id DESC LIMIT 1"
        )
        given = {"thread_id": thread_id, "run_id": str(run_id), "id": checkpoint_id}
        found = (await session.execute(query, given)).scalar_one_or_none()
    if found is None:
        which = "checkpoint" if checkpoint_id is None else f"checkpoint {checkpoint_id!r} (any more)"
        raise NotFoundError(f"run {run_id} has no {which}", subject=checkpoint_id or str(run_id), noun="checkpoint")
    given = {"source": thread_id, "target": target, "id": found, "run_id": str(new_run_id)}
    line = (
        "line AS (SELECT checkpoint_id, parent_id FROM run_checkpoints"
        " WHERE thread_id = :source AND checkpoint_ns = '' AND checkpoint_id = :id"
        " UNION ALL SELECT c.checkpoint_id, c.parent_id FROM run_checkpoints c JOIN line ON c.thread_id = :source"
        " AND c.checkpoint_ns = '' AND c.checkpoint_id = line.parent_id)"
    )
    # Ids of checkpoints grow with time, in nested graphs' namespaces too.
    of_line = "(checkpoint_ns <> '' OR checkpoint_id IN (SELECT checkpoint_id FROM line))"
    checkpoints = _insert(CHECKPOINTS, f"checkpoint_id <= :id AND {of_line}")
    writes = _insert(WRITES, f"checkpoint_id < :id AND {of_line}")
    blobs = _insert(BLOBS, "true")
    # One statement, for it sees one moment: the thread may be trimmed meanwhile, and a checkpoint without its blobs
    # would lack values.
    copying = f"WITH RECURSIVE {line}, checkpoints AS ({checkpoints}), writes AS ({writes}) {blobs}"
    await session.execute(text(copying), given)
    return str(found)


def _insert(table: Table, which: str) -> str:
    # The copies are the new run's own: it goes on from them as from any checkpoint that it made.
    new = {
        "thread_id": ":target",
        "run_id": ":run_id",
        "metadata": "jsonb_set(metadata, '{run_id}', to_jsonb(CAST(:run_id AS text)))",
    }
    values = ", ".join(new.get(column, column) for column in table.columns)
    return (
        f"INSERT INTO {table.name} ({', '.join(table.columns)}) SELECT {values} FROM {table.name}"  # noqa: S608  # constants only
        f" WHERE thread_id = :source AND {which} ON CONFLICT DO NOTHING"
    )


async def _has_tables(session: AsyncSession) -> bool:
    """Savers make their tables when they are first opened."""
    return (await session.execute(text("SELECT to_regclass('run_checkpoints') IS NOT NULL"))).scalar_one()  # type: ignore[no-any-return]


def moment_of(checkpoint_id: str) -> datetime:
    """When a checkpoint was made: its id is a UUID of version 6, whose first 60 bits count 100 ns since 1582."""
    number = UUID(checkpoint_id).int
    ticks = number >> 80 << 12 | number >> 64 & 0xFFF
    return _EPOCH + timedelta(microseconds=ticks // 10)
