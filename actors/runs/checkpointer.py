"""`GroupCommitSaver`: LangGraph checkpoints in PostgreSQL, many runs to a transaction.

It holds for any LangGraph graph: nested graphs, parallel branches, interrupts, time travel. Durability is synchronous:
`aput` and `aput_writes` return when their transaction is on disk.

    async with GroupCommitSaver.open(database_url) as saver:
        graph = builder.compile(checkpointer=saver)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, MutableSequence, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self, TypeVar

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import make_url

from actors.runs.checkpoint_tables import (
    BLOBS,
    CHECKPOINTS,
    DDL,
    INLINE_CHARACTERS,
    MARKS,
    SELECT,
    SELECT_BLOBS,
    WRITES,
)
from actors.runs.group_commit import GroupCommit, Guard, Rows
from storage.engine import driver_url

T = TypeVar("T")
_BlobKey = tuple[str, str, str, str]  # thread, namespace, channel, version


class Companion(Protocol):
    """Rows of other tables that go along with a saver's own, in the same transaction.

    Asked in the context of the graph that writes, once per write; raises where that graph may not write any more.
    """

    def with_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str) -> Rows: ...

    def with_checkpoint(self, config: RunnableConfig, metadata: CheckpointMetadata) -> Rows: ...


class GroupCommitSaver(BaseCheckpointSaver[str]):
    """The whole `BaseCheckpointSaver` contract, the extended part (copy, prune, delete for runs) too.

    One per process and database. The synchronous methods are for other threads than the one whose loop opened it.
    """

    def __init__(
        self,
        writer: GroupCommit,
        readers: AsyncConnectionPool[Any],
        *,
        serde: SerializerProtocol | None = None,
        companion: Companion | None = None,
    ) -> None:
        super().__init__(serde=serde)
        self.writer = writer
        self._companion = companion
        self._readers = readers
        self._loop = asyncio.get_running_loop()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        database_url: str,
        *,
        serde: SerializerProtocol | None = None,
        guard: Guard | None = None,
        readers: int = 4,
        companion: Companion | None = None,
        committed: Callable[[Rows], None] | None = None,
    ) -> AsyncIterator[Self]:
        """A saver on this database, its tables made where they are missing; closed, and drained, with the block.

        `guard` and `committed` are the writer's (see `GroupCommit`).
        """
        url = make_url(driver_url(database_url)).set(drivername="postgresql")
        conninfo = url.render_as_string(hide_password=False)
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            conninfo, min_size=1, max_size=readers, open=False, kwargs={"autocommit": True}
        )
        async with pool:
            async with pool.connection() as connection:
                await connection.execute(DDL)
            writer = GroupCommit(conninfo, guard=guard, committed=committed)
            try:
                yield cls(writer, pool, serde=serde, companion=companion)
            finally:
                await writer.close()

    # Writing

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        thread_id, namespace = _thread(config), _namespace(config)
        rows: list[tuple[Any, tuple[Any, ...]]] = []
        inlined: dict[str, Any] = {}
        for channel, value in checkpoint["channel_values"].items():
            if _is_plain(value):
                inlined[channel] = value
            elif channel in new_versions:
                kind, data = self.serde.dumps_typed(value)
                rows.append((BLOBS, (thread_id, namespace, channel, str(new_versions[channel]), kind, data)))
        kind, data = self.serde.dumps_typed({**checkpoint, "channel_values": inlined})
        described = get_serializable_checkpoint_metadata(config, metadata)
        row = (
            thread_id, namespace, checkpoint["id"], get_checkpoint_id(config), described.get("run_id"), kind, data,
            Jsonb(described, dumps=_dumps),
        )  # fmt: skip
        along = () if self._companion is None else self._companion.with_checkpoint(config, metadata)
        await self.writer.write([*rows, (CHECKPOINTS, row), *along])
        return _config(thread_id, namespace, checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        prefix = (_thread(config), _namespace(config), config["configurable"]["checkpoint_id"], task_id)
        rows: list[tuple[Any, tuple[Any, ...]]] = []
        for position, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, position)
            kind, data = self.serde.dumps_typed(value)
            rows.append((WRITES if index >= 0 else MARKS, (*prefix, index, task_path, channel, kind, data)))
        if self._companion is not None:
            rows.extend(self._companion.with_writes(config, writes, task_id))
        if rows:
            await self.writer.write(rows)

    # Reading

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        conditions = "WHERE thread_id = %s AND checkpoint_ns = %s"
        parameters: list[Any] = [_thread(config), _namespace(config)]
        if checkpoint_id := get_checkpoint_id(config):
            conditions += " AND checkpoint_id = %s"
            parameters.append(checkpoint_id)
        found = await self._select(f"{conditions} ORDER BY checkpoint_id DESC LIMIT 1", parameters)
        return found[0] if found else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the contract's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        conditions = ["true"]
        parameters: MutableSequence[Any] = []
        if config is not None:
            conditions.append("thread_id = %s")
            parameters.append(_thread(config))
            if (namespace := config["configurable"].get("checkpoint_ns")) is not None:
                conditions.append("checkpoint_ns = %s")
                parameters.append(namespace)
            if checkpoint_id := get_checkpoint_id(config):
                conditions.append("checkpoint_id = %s")
                parameters.append(checkpoint_id)
        if filter:
            conditions.append("metadata @> %s")
            parameters.append(Jsonb(filter, dumps=_dumps))
        if before is not None and (before_id := get_checkpoint_id(before)):
            conditions.append("checkpoint_id < %s")
            parameters.append(before_id)
        tail = "WHERE " + " AND ".join(conditions) + " ORDER BY checkpoint_id DESC, thread_id, checkpoint_ns"
        if limit is not None:
            tail += " LIMIT %s"
            parameters.append(limit)
        for found in await self._select(tail, parameters):
            yield found

    async def _select(self, tail: str, parameters: Sequence[Any]) -> list[CheckpointTuple]:
        async with self._readers.connection() as connection:
            cursor = await connection.execute((SELECT + tail).encode(), parameters, binary=True)
            rows = await cursor.fetchall()
            checkpoints = [self.serde.loads_typed((row[4], row[5])) for row in rows]
            wanted: list[_BlobKey] = [
                (row[0], row[1], channel, str(version))
                for row, checkpoint in zip(rows, checkpoints, strict=True)
                for channel, version in checkpoint["channel_versions"].items()
                if channel not in checkpoint["channel_values"]
            ]
            blobs: dict[_BlobKey, tuple[str, bytes]] = {}
            if wanted:
                columns = [list(column) for column in zip(*set(wanted), strict=True)]
                cursor = await connection.execute(SELECT_BLOBS.encode(), columns, binary=True)
                blobs = {row[:4]: (row[4], row[5]) for row in await cursor.fetchall()}
        return [self._tuple(row, checkpoint, blobs) for row, checkpoint in zip(rows, checkpoints, strict=True)]

    def _tuple(
        self, row: Sequence[Any], checkpoint: Checkpoint, blobs: dict[_BlobKey, tuple[str, bytes]]
    ) -> CheckpointTuple:
        thread_id, namespace, checkpoint_id, parent_id, _, _, metadata, tasks, channels, kinds, values = row
        for channel, version in checkpoint["channel_versions"].items():
            stored = blobs.get((thread_id, namespace, channel, str(version)))
            if stored is not None and channel not in checkpoint["channel_values"]:
                checkpoint["channel_values"][channel] = self.serde.loads_typed(stored)
        writes = zip(tasks or (), channels or (), kinds or (), values or (), strict=True)
        return CheckpointTuple(
            config=_config(thread_id, namespace, checkpoint_id),
            checkpoint=checkpoint,
            metadata=metadata,
            parent_config=_config(thread_id, namespace, parent_id) if parent_id else None,
            pending_writes=[
                (task, channel, self.serde.loads_typed((kind, value))) for task, channel, kind, value in writes
            ],
        )

    # Removing and copying

    async def adelete_thread(self, thread_id: str) -> None:
        await self._delete_threads([thread_id])

    async def _delete_threads(self, thread_ids: Sequence[str]) -> None:
        async with self._readers.connection() as connection, connection.transaction():
            for table in ("run_checkpoints", "run_checkpoint_blobs", "run_checkpoint_writes"):
                await connection.execute(
                    f"DELETE FROM {table} WHERE thread_id = ANY(%s)".encode(),  # noqa: S608 - our own constants
                    [list(thread_ids)],
                )

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        async with self._readers.connection() as connection, connection.transaction():
            await connection.execute(
                "WITH gone AS (DELETE FROM run_checkpoints WHERE run_id = ANY(%s) "
                "RETURNING thread_id, checkpoint_ns, checkpoint_id) "
                "DELETE FROM run_checkpoint_writes w USING gone g WHERE w.thread_id = g.thread_id "
                "AND w.checkpoint_ns = g.checkpoint_ns AND w.checkpoint_id = g.checkpoint_id",
                [list(run_ids)],
            )
            # Blobs are shared between checkpoints; a thread's go with its last one.
            await connection.execute(
                "DELETE FROM run_checkpoint_blobs b WHERE NOT EXISTS (SELECT FROM run_checkpoints c "
                "WHERE c.thread_id = b.thread_id AND c.checkpoint_ns = b.checkpoint_ns)"
            )

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        async with self._readers.connection() as connection, connection.transaction():
            for table in (CHECKPOINTS, BLOBS, WRITES):
                rest = ", ".join(table.columns[1:])
                await connection.execute(
                    f"INSERT INTO {table.name} (thread_id, {rest}) SELECT %s, {rest} FROM {table.name} "  # noqa: S608 - our own constants
                    "WHERE thread_id = %s ON CONFLICT DO NOTHING".encode(),
                    [target_thread_id, source_thread_id],
                )

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        if strategy == "delete":
            await self._delete_threads(thread_ids)
            return
        if strategy != "keep_latest":
            raise ValueError(f"unknown pruning strategy {strategy!r}: keep_latest or delete")
        for thread_id in thread_ids:
            await self._keep_latest(thread_id)

    async def _keep_latest(self, thread_id: str) -> None:
        """Keep each namespace's newest checkpoint and what its channels are rebuilt from."""
        async with self._readers.connection() as connection:
            cursor = await connection.execute(
                "SELECT DISTINCT checkpoint_ns FROM run_checkpoints WHERE thread_id = %s", [thread_id]
            )
            namespaces = [row[0] for row in await cursor.fetchall()]
        for namespace in namespaces:
            kept = await self._kept(thread_id, namespace)
            keep_ids = [found.checkpoint["id"] for found in kept]
            versions = {(c, str(v)) for found in kept for c, v in found.checkpoint["channel_versions"].items()}
            async with self._readers.connection() as connection, connection.transaction():
                for table in ("run_checkpoints", "run_checkpoint_writes"):
                    await connection.execute(
                        # Only what is older: a checkpoint written meanwhile stays.
                        f"DELETE FROM {table} WHERE thread_id = %s AND checkpoint_ns = %s "  # noqa: S608 - our own constants
                        "AND checkpoint_id < %s AND checkpoint_id <> ALL(%s)".encode(),
                        [thread_id, namespace, keep_ids[0], keep_ids],
                    )
                await connection.execute(
                    "DELETE FROM run_checkpoint_blobs b WHERE thread_id = %s AND checkpoint_ns = %s "
                    "AND version <= (SELECT max(k.version) FROM unnest(%s::text[], %s::text[]) k(channel, version) "
                    "WHERE k.channel = b.channel) "
                    "AND (channel, version) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
                    [thread_id, namespace, *2 * [[c for c, _ in versions], [v for _, v in versions]]],
                )

    async def _kept(self, thread_id: str, namespace: str) -> list[CheckpointTuple]:
        """The newest checkpoint, then every ancestor that a channel without a stored value is rebuilt from."""
        latest = await self.aget_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace}})
        if latest is None:
            return []
        kept = [latest]
        # A delta channel has a version and no value: its value is an ancestor's snapshot and the writes since.
        missing = set(latest.checkpoint["channel_versions"]) - set(latest.checkpoint["channel_values"])
        missing = {channel for channel in missing if "counters_since_delta_snapshot" in (latest.metadata or {})
                   and channel in latest.metadata["counters_since_delta_snapshot"]}  # fmt: skip
        current = latest
        while missing and current.parent_config is not None:
            parent = await self.aget_tuple(current.parent_config)
            if parent is None:
                break
            kept.append(parent)
            missing -= set(parent.checkpoint["channel_values"])
            current = parent
        return kept

    # From other threads

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._await(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the contract's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        async def gathered() -> Sequence[CheckpointTuple]:
            return [found async for found in self.alist(config, filter=filter, before=before, limit=limit)]

        yield from self._await(gathered())

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._await(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._await(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._await(self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._await(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._await(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._await(self.aprune(thread_ids, strategy=strategy))

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            work.close()
            raise asyncio.InvalidStateError("this saver's loop runs here: await the a… method instead")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def get_next_version(self, current: str | None, channel: None) -> str:  # noqa: ARG002 - the contract's signature
        """Versions sort as text; the random part keeps two forks of one parent apart."""
        number = 0 if current is None else int(str(current).split(".", 1)[0])
        return f"{number + 1:032}.{random.random():016}"  # noqa: S311 - not a secret


def _thread(config: RunnableConfig) -> str:
    return str(config["configurable"]["thread_id"])


def _namespace(config: RunnableConfig) -> str:
    return str(config["configurable"].get("checkpoint_ns", ""))


def _config(thread_id: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return type(value) is str and len(value) <= INLINE_CHARACTERS
    return value is None or type(value) in (bool, int, float)


def _dumps(value: Any) -> bytes:
    # PostgreSQL's jsonb has no NUL character; what JSON cannot say is kept as its text.
    return orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).replace(b"\\u0000", b"")
