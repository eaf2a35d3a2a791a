"""What keeps the checkpoint tables from growing without bound: copies, removals and pruning of threads.

Blobs are shared between checkpoints, and only Python can read which checkpoint refers to which. So a removal lists the
blobs of the threads it touches, then reads what checkpoints are left, then removes what none of them refers to. A
checkpoint written meanwhile brings blobs that were not listed, or refers to what its parent refers to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from actors.runs.binary_rows import text_array
from actors.runs.checkpoint_tables import BLOBS, CHECKPOINTS, WRITES
from actors.runs.queries import Queries

# One statement, one snapshot: what was written meanwhile is removed or copied whole or not at all.
_DELETE_THREADS = b"""
WITH checkpoints AS (DELETE FROM run_checkpoints WHERE thread_id = ANY($1::text[])),
    blobs AS (DELETE FROM run_checkpoint_blobs WHERE thread_id = ANY($1::text[]))
DELETE FROM run_checkpoint_writes WHERE thread_id = ANY($1::text[])
"""
_DELETE_RUNS = b"""
WITH gone AS (DELETE FROM run_checkpoints WHERE run_id = ANY($1::text[])
        RETURNING thread_id, checkpoint_ns, checkpoint_id),
    writes AS (DELETE FROM run_checkpoint_writes w USING gone WHERE (w.thread_id, w.checkpoint_ns, w.checkpoint_id)
        = (gone.thread_id, gone.checkpoint_ns, gone.checkpoint_id))
SELECT DISTINCT thread_id, checkpoint_ns FROM gone
"""
_NAMESPACES = b"SELECT DISTINCT checkpoint_ns FROM run_checkpoints WHERE thread_id = $1"
# Only what is older than the newest that is kept: a checkpoint written meanwhile stays.
_DELETE_OLDER = b"""
WITH checkpoints AS (DELETE FROM run_checkpoints WHERE thread_id = $1 AND checkpoint_ns = $2
    AND checkpoint_id < $3 AND checkpoint_id <> ALL($4::text[]))
DELETE FROM run_checkpoint_writes WHERE thread_id = $1 AND checkpoint_ns = $2
    AND checkpoint_id < $3 AND checkpoint_id <> ALL($4::text[])
"""
_LIST_BLOBS = b"SELECT channel, version FROM run_checkpoint_blobs WHERE thread_id = $1 AND checkpoint_ns = $2"
_LIST_CHECKPOINTS = b"""
SELECT checkpoint_id, kind, checkpoint FROM run_checkpoints
WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id > $3 ORDER BY checkpoint_id LIMIT 200
"""
_DELETE_BLOBS = b"""
DELETE FROM run_checkpoint_blobs b USING unnest($3::text[], $4::text[]) AS orphan(channel, version)
WHERE b.thread_id = $1 AND b.checkpoint_ns = $2 AND (b.channel, b.version) = (orphan.channel, orphan.version)
"""


def _copy_statement() -> bytes:
    copies = []
    for table in (CHECKPOINTS, BLOBS, WRITES):
        rest = ", ".join(table.columns[1:])
        copies.append(
            f"INSERT INTO {table.name} (thread_id, {rest}) SELECT $2::text, {rest} FROM {table.name} "  # noqa: S608 - our own constants
            "WHERE thread_id = $1 ON CONFLICT DO NOTHING"
        )
    return f"WITH checkpoints AS ({copies[0]}), blobs AS ({copies[1]}) {copies[2]}".encode()


_COPY = _copy_statement()


class Upkeep:
    """`latest` reads a checkpoint by its configuration, as the saver's `aget_tuple` does."""

    def __init__(
        self,
        queries: Queries,
        serde: Callable[[], SerializerProtocol],
        latest: Callable[[RunnableConfig], Awaitable[CheckpointTuple | None]],
    ) -> None:
        self._queries = queries
        self._serde = serde
        self._latest = latest

    async def delete_threads(self, thread_ids: Sequence[str]) -> None:
        await self._queries.run((_DELETE_THREADS, [text_array(thread_ids)]))

    async def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        (touched,) = await self._queries.run((_DELETE_RUNS, [text_array(run_ids)]))
        for thread_id, namespace in touched:
            await self._delete_orphans(thread_id, namespace)

    async def copy_thread(self, source: str, target: str) -> None:
        await self._queries.run((_COPY, [source.encode(), target.encode()]))

    async def keep_latest(self, thread_id: str) -> None:
        """Keep each namespace's newest checkpoint and what its channels are rebuilt from."""
        (namespaces,) = await self._queries.run((_NAMESPACES, [thread_id.encode()]))
        for (namespace,) in namespaces:
            kept = [found.checkpoint["id"] for found in await self._kept(thread_id, namespace)]
            if kept:
                where = [thread_id.encode(), namespace.encode()]
                await self._queries.run((_DELETE_OLDER, [*where, kept[0].encode(), text_array(kept)]))
                await self._delete_orphans(thread_id, namespace)

    async def _kept(self, thread_id: str, namespace: str) -> list[CheckpointTuple]:
        """The newest checkpoint, then every ancestor that a channel without a stored value is rebuilt from."""
        latest = await self._latest({"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace}})
        if latest is None:
            return []
        kept = [latest]
        # A delta channel has a version and no value: its value is an ancestor's snapshot and the writes since.
        missing = set(latest.checkpoint["channel_versions"]) - set(latest.checkpoint["channel_values"])
        missing &= set((latest.metadata or {}).get("counters_since_delta_snapshot", ()))
        while missing and kept[-1].parent_config is not None:
            parent = await self._latest(kept[-1].parent_config)
            if parent is None:
                break
            kept.append(parent)
            missing -= set(parent.checkpoint["channel_values"])
        return kept

    async def _delete_orphans(self, thread_id: str, namespace: str) -> None:
        where: list[bytes | None] = [thread_id.encode(), namespace.encode()]
        (rows,) = await self._queries.run((_LIST_BLOBS, where))
        orphans = {(channel, version) for channel, version in rows}
        after = ""
        while orphans:
            (rows,) = await self._queries.run((_LIST_CHECKPOINTS, [*where, after.encode()]))
            if not rows:
                break
            after = rows[-1][0]
            for _, kind, data in rows:
                versions = self._serde().loads_typed((kind, data))["channel_versions"]
                orphans.difference_update((channel, str(version)) for channel, version in versions.items())
        if orphans:
            channels, versions = zip(*orphans, strict=True)
            await self._queries.run((_DELETE_BLOBS, [*where, text_array(channels), text_array(versions)]))
