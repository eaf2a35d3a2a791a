"""The tables of `GroupCommitSaver`, which makes them itself on an empty database.

Plain small channel values (numbers, short strings) travel inside the checkpoint, so that a step of a small state is one
row; the others stand once per version in `run_checkpoint_blobs`, however many checkpoints refer to them.
"""

from __future__ import annotations

from actors.runs.group_commit import Table

# Characters up to which a string is written with each checkpoint and not once per version.
INLINE_CHARACTERS = 256

# Two savers that open an empty database at once make the tables one after the other.
_LOCK = 0x68797276

# All tables and the index are there: nothing is to be made, and the right to make it is not needed.
READY = "SELECT count(*) = 4 FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL"
NAMES = ["run_checkpoints", "run_checkpoint_blobs", "run_checkpoint_writes", "ix_run_checkpoints_run"]

# Texts compare by their bytes, as LangGraph compares them.
DDL = f"""
SELECT pg_advisory_xact_lock({_LOCK});
CREATE TABLE IF NOT EXISTS run_checkpoints (
    thread_id text COLLATE "C" NOT NULL,
    checkpoint_ns text COLLATE "C" NOT NULL,
    checkpoint_id text COLLATE "C" NOT NULL,
    parent_id text COLLATE "C",
    run_id text COLLATE "C",
    kind text NOT NULL,
    checkpoint bytea NOT NULL,
    metadata jsonb NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
);
CREATE INDEX IF NOT EXISTS ix_run_checkpoints_run ON run_checkpoints (run_id) WHERE run_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS run_checkpoint_blobs (
    thread_id text COLLATE "C" NOT NULL,
    checkpoint_ns text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, channel, version)
);
CREATE TABLE IF NOT EXISTS run_checkpoint_writes (
    thread_id text COLLATE "C" NOT NULL,
    checkpoint_ns text COLLATE "C" NOT NULL,
    checkpoint_id text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    idx integer NOT NULL,
    task_path text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
);
"""

CHECKPOINTS = Table(
    "run_checkpoints",
    ("thread_id", "checkpoint_ns", "checkpoint_id", "parent_id", "run_id", "kind", "checkpoint", "metadata"),
    ("text", "text", "text", "text", "text", "text", "bytea", "jsonb"),
    ("thread_id", "checkpoint_ns", "checkpoint_id"),
    "replace",
)
BLOBS = Table(
    "run_checkpoint_blobs",
    ("thread_id", "checkpoint_ns", "channel", "version", "kind", "value"),
    ("text", "text", "text", "text", "text", "bytea"),
    ("thread_id", "checkpoint_ns", "channel", "version"),
    "ignore",
)
_WRITE_KEY = ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx")
_WRITE_COLUMNS = (*_WRITE_KEY, "task_path", "channel", "kind", "value")
_WRITE_TYPES = ("text", "text", "text", "text", "int4", "text", "text", "text", "bytea")
# A task's results stand as first written; its error, interrupt and resume marks are the latest.
WRITES = Table("run_checkpoint_writes", _WRITE_COLUMNS, _WRITE_TYPES, _WRITE_KEY, "ignore")
MARKS = Table("run_checkpoint_writes", _WRITE_COLUMNS, _WRITE_TYPES, _WRITE_KEY, "replace")

# One statement reads everything of each chosen checkpoint but its blobs; versions are matched on the Python side, which
# alone can read the serialized checkpoint.
_SELECT = """
SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_id, c.kind, c.checkpoint, c.metadata,
    w.tasks, w.channels, w.kinds, w.written
FROM run_checkpoints c
LEFT JOIN LATERAL (
    SELECT array_agg(task_id ORDER BY task_path, task_id, idx) AS tasks,
        array_agg(channel ORDER BY task_path, task_id, idx) AS channels,
        array_agg(kind ORDER BY task_path, task_id, idx) AS kinds,
        array_agg(value ORDER BY task_path, task_id, idx) AS written
    FROM run_checkpoint_writes
    WHERE (thread_id, checkpoint_ns, checkpoint_id) = (c.thread_id, c.checkpoint_ns, c.checkpoint_id)
) w ON true
"""
LATEST = (_SELECT + "WHERE c.thread_id = $1 AND c.checkpoint_ns = $2 ORDER BY c.checkpoint_id DESC LIMIT 1").encode()
EXACT = (_SELECT + "WHERE c.thread_id = $1 AND c.checkpoint_ns = $2 AND c.checkpoint_id = $3").encode()


def page(conditions: str, size: int) -> bytes:
    """So many of those that fulfil the conditions, newest first."""
    order = "ORDER BY c.checkpoint_id DESC, c.thread_id, c.checkpoint_ns"
    return f"{_SELECT}WHERE {conditions} {order} LIMIT {size}".encode()


SELECT_BLOBS = b"""
SELECT b.thread_id, b.checkpoint_ns, b.channel, b.version, b.kind, b.value
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS wanted(thread_id, checkpoint_ns, channel, version)
JOIN run_checkpoint_blobs b USING (thread_id, checkpoint_ns, channel, version)
"""
