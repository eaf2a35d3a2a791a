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

DDL = f"""
SELECT pg_advisory_xact_lock({_LOCK});
CREATE TABLE IF NOT EXISTS run_checkpoints (
    thread_id text NOT NULL,
    checkpoint_ns text NOT NULL,
    checkpoint_id text NOT NULL,
    parent_id text,
    run_id text,
    kind text NOT NULL,
    checkpoint bytea NOT NULL,
    metadata jsonb NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
);
CREATE INDEX IF NOT EXISTS ix_run_checkpoints_run ON run_checkpoints (run_id) WHERE run_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS run_checkpoint_blobs (
    thread_id text NOT NULL,
    checkpoint_ns text NOT NULL,
    channel text NOT NULL,
    version text NOT NULL,
    kind text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, channel, version)
);
CREATE TABLE IF NOT EXISTS run_checkpoint_writes (
    thread_id text NOT NULL,
    checkpoint_ns text NOT NULL,
    checkpoint_id text NOT NULL,
    task_id text NOT NULL,
    idx integer NOT NULL,
    task_path text NOT NULL,
    channel text NOT NULL,
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

# One statement reads everything of each chosen checkpoint; versions are matched on the Python side, which alone can
# read the serialized checkpoint.
SELECT = """
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

SELECT_BLOBS = """
SELECT b.thread_id, b.checkpoint_ns, b.channel, b.version, b.kind, b.value
FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[]) AS wanted(thread_id, checkpoint_ns, channel, version)
JOIN run_checkpoint_blobs b USING (thread_id, checkpoint_ns, channel, version)
"""
