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
from actors.runs.checkpoint_reads import config_of
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
_NAMESPACES = b"SELECT checkpoint_ns, max(checkpoint_id) FROM run_checkpoints WHERE thread_id = $1 GROUP BY 1"
_NEWEST = b"""
SELECT checkpoint_id, parent_id FROM run_checkpoints WHERE thread_id = $1 AND checkpoint_ns = $2
ORDER BY checkpoint_id DESC LIMIT $3::text::integer
"""
# Only what is older than the newest that is kept: a checkpoint written meanwhile stays.
_DELETE_OLDER = b"""
WITH checkpoints AS (DELETE FROM run_checkpoints WHERE thread_id = $1 AND checkpoint_ns = $2
    AND checkpoint_id < $3 AND checkpoint_id <> ALL($4::text[]))
DELETE FROM run_checkpoint_writes WHERE thread_id = $1 AND checkpoint_ns = $2
    AND checkpoint_id < $3 AND checkpoint_id <> ALL($4::text[])
"""
_DELETE_NAMESPACES = b"""
WITH checkpoints AS (DELETE FROM run_checkpoints WHERE thread_id = $1 AND checkpoint_ns = ANY($2::text[])),
    blobs AS (DELETE FROM run_checkpoint_blobs WHERE thread_id = $1 AND checkpoint_ns = ANY($2::text[]))
DELETE FROM run_checkpoint_writes WHERE thread_id = $1 AND checkpoint_ns = ANY($2::text[])
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

    async def keep_newest(self, thread_id: str, count: int) -> str | None:
        """Keep each namespace's `count` newest checkpoints and what their channels are rebuilt from.

        Answers the id of the oldest of the thread's own that is kept, where older ones were removed.
        """
        (namespaces,) = await self._queries.run((_NAMESPACES, [thread_id.encode()]))
        oldest = None
        for namespace, _ in namespaces:
            where = [thread_id.encode(), namespace.encode()]
            (newest,) = await self._queries.run((_NEWEST, [*where, str(count).encode()]))
            if len(newest) < count:
                continue
            kept = await self._rebuilt_from(thread_id, namespace, newest)
            await self._queries.run((_DELETE_OLDER, [*where, newest[-1][0].encode(), text_array(kept)]))
            await self._delete_orphans(thread_id, namespace)
            if namespace == "":
                oldest = str(newest[-1][0])
        return oldest

    async def delete_tasks_before(self, thread_id: str, checkpoint_id: str) -> None:
        """Remove the namespaces of nested graphs' tasks that had ended before this checkpoint of the thread.

        A task has a namespace of its own (its name holds a colon), which nobody goes on with; a nested graph that
        remembers its own runs has not.
        """
        (namespaces,) = await self._queries.run((_NAMESPACES, [thread_id.encode()]))
        ended = [namespace for namespace, last in namespaces if ":" in namespace and last < checkpoint_id]
        if ended:
            await self._queries.run((_DELETE_NAMESPACES, [thread_id.encode(), text_array(ended)]))

    async def _rebuilt_from(
        self, thread_id: str, namespace: str, newest: Sequence[tuple[str, str | None]]
    ) -> list[str]:
        """The ancestors, older than all of these, that a channel of theirs without a stored value is rebuilt from."""
        given = {checkpoint_id for checkpoint_id, _ in newest}
        needed: list[str] = []
        for checkpoint_id, parent_id in newest:
            if parent_id is None or parent_id in given:
                continue
            at = await self._latest(config_of(thread_id, namespace, checkpoint_id))
            # A delta channel has a version and no value: its value is an ancestor's snapshot and the writes since.
            missing: set[str] = set()
            if at is not None:
                missing = set(at.checkpoint["channel_versions"]) - set(at.checkpoint["channel_values"])
                missing &= set((at.metadata or {}).get("counters_since_delta_snapshot", ()))
            while missing and at is not None and at.parent_config is not None:
                at = await self._latest(at.parent_config)
                if at is not None:
                    needed.append(at.checkpoint["id"])
                    missing -= set(at.checkpoint["channel_values"])
        return needed

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
