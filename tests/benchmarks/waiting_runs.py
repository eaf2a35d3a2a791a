"""Many waiting runs, made from one that the engine brought to its wait: the same rows under other ids."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from actors.runs.checkpoint_tables import BLOBS, CHECKPOINTS, WRITES
from storage.engine import Database
from storage.runs import SHARDS

_RUNS = """
CREATE TEMPORARY TABLE copies ON COMMIT DROP AS
SELECT uuidv7() AS run_id, number FROM generate_series(1, :count) number
"""
_COLUMNS = (
    "kind, owner, status, step, steps, progress, spec, input, output, error, interrupts, resume, budget, usage,"
    " parent_run_id, forked_from, attempt, recoveries, event_seq, retained, deadline_at, wake_at,"
    " cancel_requested_at, created_at, started_at, updated_at, ended_at"
)


async def multiply(database: Database, run_id: UUID, count: int) -> None:
    """`count` more runs that stand where this one stands, evenly spread over the shards."""
    async with database.begin() as session:
        await session.execute(text(_RUNS), {"count": count})
        await session.execute(
            text(
                f"INSERT INTO runs (run_id, thread_id, shard, {_COLUMNS})"
                f" SELECT c.run_id, c.run_id::text, c.number % {SHARDS}, {_COLUMNS}"
                " FROM copies c, runs r WHERE r.run_id = :id"
            ),
            {"id": run_id},
        )
        await session.execute(
            text(
                "INSERT INTO run_events (run_id, seq, at, type, step, data)"
                " SELECT c.run_id, e.seq, e.at, e.type, e.step, e.data FROM copies c, run_events e"
                " WHERE e.run_id = :id"
            ),
            {"id": run_id},
        )
        for table in (CHECKPOINTS, BLOBS, WRITES):
            new = {
                "thread_id": "c.run_id::text",
                "run_id": "c.run_id::text",
                "metadata": "jsonb_set(metadata, '{run_id}', to_jsonb(c.run_id::text))",
            }
            values = ", ".join(new.get(column, f"t.{column}") for column in table.columns)
            await session.execute(
                text(
                    f"INSERT INTO {table.name} ({', '.join(table.columns)})"
                    f" SELECT {values} FROM copies c, {table.name} t WHERE t.thread_id = :thread_id"
                ),
                {"thread_id": str(run_id)},
            )
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE"))
