"""What is kept of runs, and for how long.

Of one that has ended: all checkpoints → the last one → none, and no record of side effects → no events either → no row
(`Run.retained`: all, latest, none, nothing). The events and the row of one that people were asked about stay (row). Of
a thread that goes on: its newest checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from actors.runs.checkpointer import GroupCommitSaver
from actors.runs.forking import moment_of
from actors.settings import RunSettings
from storage import run_effects, run_events, runs
from storage.clock import now
from storage.engine import Database

# Runs at a time: the work of one transaction.
_BATCH = 100

# A thread's checkpoints belong to its newest run too, so its age is that run's.
_AGED = text(
    "SELECT run_id, thread_id FROM runs r WHERE retained = :retained AND ended_at < :before AND shard = ANY(:shards)"
    " AND NOT EXISTS (SELECT FROM runs o WHERE o.thread_id = r.thread_id AND o.run_id <> r.run_id"
    "  AND (o.ended_at IS NULL OR o.ended_at >= :before))"
    " AND (CAST(:among AS uuid[]) IS NULL OR run_id = ANY(:among)) ORDER BY ended_at LIMIT :limit"
)

# What people decided is on record for good, and so is what about.
_REMOVE = text(
    "DELETE FROM runs r WHERE run_id = ANY(:run_ids) AND ended_at IS NOT NULL"
    " AND NOT EXISTS (SELECT FROM reviews v WHERE v.run_id = r.run_id)"
)


async def tidy(
    database: Database,
    saver: GroupCommitSaver,
    shards: Sequence[int],
    settings: RunSettings,
    *,
    at: datetime | None = None,
) -> int:
    """Remove what is older than the settings keep; answers how many runs' retention went down a stage."""
    moment = at or now()
    count = 0
    for stage, following, kept_s in (
        ("all", "latest", settings.history_s),
        ("latest", "none", settings.checkpoints_s),
        ("none", "nothing", settings.events_s),
        ("nothing", "row", settings.rows_s),
    ):
        before = moment - timedelta(seconds=kept_s)
        while True:
            async with database.begin() as session:
                found = await _aged(session, stage, before, shards)
                if not found:
                    break
                # Nobody begins or retries anything on these threads until this is done; who did so before that, stays.
                for thread_id in sorted({thread_id for _, thread_id in found}):
                    await runs.hold_thread(session, thread_id)
                aged = await _aged(session, stage, before, shards, among=[run_id for run_id, _ in found])
                run_ids = [run_id for run_id, _ in aged]
                if following in ("latest", "none"):
                    threads = sorted({thread_id for _, thread_id in aged})
                    await saver.aprune(threads, strategy="keep_latest" if following == "latest" else "delete")
                if following == "none":
                    await run_effects.forget(session, run_ids)
                elif following == "nothing":
                    await run_events.forget(session, run_ids)
                elif following == "row":
                    await session.execute(_REMOVE, {"run_ids": run_ids})
                await session.execute(
                    text("UPDATE runs SET retained = :following WHERE run_id = ANY(:run_ids)"),
                    {"following": following, "run_ids": run_ids},
                )
            count += len(aged)
    return count


async def trim(database: Database, saver: GroupCommitSaver, thread_id: str, settings: RunSettings) -> None:
    """Keep the newest checkpoints of a thread that goes on, and the side effects since."""
    oldest = await saver.atrim(thread_id, keep=settings.kept_checkpoints)
    if oldest is not None:
        async with database.begin() as session:
            await run_effects.forget_before(session, thread_id, moment_of(oldest))


async def _aged(
    session: AsyncSession, stage: str, before: datetime, shards: Sequence[int], *, among: Sequence[UUID] | None = None
) -> Sequence[tuple[UUID, str]]:
    given = {"retained": stage, "before": before, "shards": list(shards), "limit": _BATCH, "among": among}
    return (await session.execute(_AGED, given)).tuples().all()
