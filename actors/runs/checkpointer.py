"""`GroupCommitSaver`: LangGraph checkpoints in PostgreSQL, many runs to a transaction.

It holds for any LangGraph graph: nested graphs, parallel branches, interrupts, time travel. Durability is synchronous:
`aput` and `aput_writes` return when their transaction is on disk.

    async with GroupCommitSaver.open(database_url) as saver:
        graph = builder.compile(checkpointer=saver)
        await graph.ainvoke(state, {"configurable": {"thread_id": "1"}}, durability="sync")

With `durability="sync"` a step goes on only when the one before it is on disk; LangGraph's own default, `async`, runs
one step ahead.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self

import orjson
import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from actors.errors import RunTooLargeError
from actors.runs import binary_rows
from actors.runs.binary_rows import NULL, Cells
from actors.runs.checkpoint_reads import CheckpointReads, Conditions, config_of
from actors.runs.checkpoint_tables import (
    BLOBS,
    CHECKPOINTS,
    DDL,
    INLINE_CHARACTERS,
    MARKS,
    NAMES,
    READY,
    WRITES,
)
from actors.runs.checkpoint_upkeep import Upkeep
from actors.runs.group_commit import WRITE_BYTES, GroupCommit, Guard, Row, Rows, Table
from actors.runs.jsonb import without_nul
from actors.runs.pipeline import conninfo_of
from actors.runs.queries import Queries
from actors.runs.threaded_saver import ThreadedSaver
from storage.errors import DatabaseUnavailableError

# Both stand in the key of every table, and PostgreSQL indexes no more than 2,704 bytes of a row.
_KEY_BYTES = 2000


class Companion(Protocol):
    """Rows of other tables that go along with a saver's own, in the same transaction.

    Asked in the context of the graph that writes, once per write; raises where that graph may not write any more.
    """

    def with_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str) -> Rows: ...

    def with_checkpoint(self, config: RunnableConfig, metadata: CheckpointMetadata) -> Rows: ...

    def failed(self, error: Exception) -> None:
        """What was given could not be written. LangGraph may not look before the next step has been asked about."""


class GroupCommitSaver(ThreadedSaver):
    """The whole `BaseCheckpointSaver` contract, the extended part (copy, prune, delete for runs) too.

    One per process and database. The synchronous methods are for other threads than the one whose loop opened it.
    """

    def __init__(
        self,
        writer: GroupCommit,
        readers: Queries,
        upkeep: Queries,
        *,
        serde: SerializerProtocol | None = None,
        companion: Companion | None = None,
    ) -> None:
        super().__init__(serde=serde)
        self.writer = writer
        self._companion = companion
        self._reads = CheckpointReads(readers, lambda: self.serde)
        self._upkeep = Upkeep(upkeep, lambda: self.serde, self.aget_tuple)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        database_url: str,
        *,
        serde: SerializerProtocol | None = None,
        guard: Guard | None = None,
        readers: int = 2,
        companion: Companion | None = None,
        committed: Callable[[Rows], None] | None = None,
        write_bytes: int = WRITE_BYTES,
    ) -> AsyncIterator[Self]:
        """A saver on this database, its tables made where they are missing; closed, and drained, with the block.

        It holds up to `readers` + 2 connections. `guard`, `committed` and `write_bytes`, the most that is written at
        once, are the writer's (see `GroupCommit`). Raises `DatabaseUnavailableError`.
        """
        conninfo = conninfo_of(database_url)
        await _make_tables(conninfo)
        writer = GroupCommit(conninfo, guard=guard, committed=committed, write_bytes=write_bytes)
        reading, upkeep = Queries(conninfo, connections=readers), Queries(conninfo, connections=1)
        try:
            yield cls(writer, reading, upkeep, serde=serde, companion=companion)
        finally:
            await writer.close()
            await reading.close()
            await upkeep.close()

    # Writing

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        thread_id, namespace = _thread(config), _namespace(config)
        place = _place(thread_id, namespace)
        rows: list[tuple[Table, Row]] = []
        inlined: dict[str, Any] = {}
        for channel, value in checkpoint["channel_values"].items():
            if _is_plain(value):
                inlined[channel] = value
            elif channel in new_versions:
                version = binary_rows.text(str(new_versions[channel]))
                rows.append((BLOBS, Cells((*place, binary_rows.text(channel), version, *self._dumped(value)))))
        described = get_serializable_checkpoint_metadata(config, metadata)
        row = (
            *place,
            binary_rows.text(checkpoint["id"]),
            _optional(get_checkpoint_id(config)),
            _optional(described.get("run_id")),
            *self._dumped({**checkpoint, "channel_values": inlined}),
            binary_rows.jsonb(_dumps(described)),
        )
        rows.append((CHECKPOINTS, Cells(row)))
        if self._companion is not None:
            rows.extend(self._companion.with_checkpoint(config, metadata))
        await self._write(rows, thread_id)
        return config_of(thread_id, namespace, checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        thread_id = _thread(config)
        place = _place(thread_id, _namespace(config))
        checkpoint_id, task = binary_rows.text(config["configurable"]["checkpoint_id"]), binary_rows.text(task_id)
        path = binary_rows.text(task_path)
        rows: list[tuple[Table, Row]] = []
        for position, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, position)
            row = (
                *place, checkpoint_id, task, binary_rows.integer(index), path, binary_rows.text(channel),
                *self._dumped(value),
            )  # fmt: skip
            rows.append((WRITES if index >= 0 else MARKS, Cells(row)))
        if self._companion is not None:
            rows.extend(self._companion.with_writes(config, writes, task_id))
        if rows:
            await self._write(rows, thread_id)

    async def _write(self, rows: Rows, thread_id: str) -> None:
        try:
            await self.writer.write(rows, subject=thread_id)
        except Exception as error:
            if self._companion is not None:
                self._companion.failed(error)
            raise

    def _dumped(self, value: Any) -> tuple[bytes, bytes]:
        kind, data = self.serde.dumps_typed(value)
        return binary_rows.text(kind), binary_rows.data(data)

    # Reading

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._reads.one(_thread(config), _namespace(config), get_checkpoint_id(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the contract's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        conditions = Conditions()
        if config is not None:
            conditions.add("c.thread_id = {}", _thread(config).encode())
            if (namespace := config["configurable"].get("checkpoint_ns")) is not None:
                conditions.add("c.checkpoint_ns = {}", str(namespace).encode())
            if checkpoint_id := get_checkpoint_id(config):
                conditions.add("c.checkpoint_id = {}", checkpoint_id.encode())
        if filter:
            conditions.add("c.metadata @> {}::jsonb", b"\x01" + _dumps(filter))
        if before is not None and (before_id := get_checkpoint_id(before)):
            conditions.add("c.checkpoint_id < {}", before_id.encode())
        async for found in self._reads.newest_first(conditions, limit):
            yield found

    # Removing and copying

    async def adelete_thread(self, thread_id: str) -> None:
        await self._upkeep.delete_threads([str(thread_id)])

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._upkeep.delete_for_runs([str(run_id) for run_id in run_ids])

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._upkeep.copy_thread(str(source_thread_id), str(target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep each namespace's newest checkpoint and what it is rebuilt from; with `delete`, nothing."""
        if isinstance(thread_ids, str):
            raise TypeError("thread_ids is a sequence of thread ids, not one of them")
        threads = [str(thread_id) for thread_id in thread_ids]
        if strategy == "delete":
            await self._upkeep.delete_threads(threads)
        elif strategy == "keep_latest":
            for thread_id in threads:
                await self._upkeep.keep_newest(thread_id, 1)
        else:
            raise ValueError(f"unknown pruning strategy {strategy!r}: keep_latest or delete")

    async def atrim(self, thread_id: str, *, keep: int) -> str | None:
        """Keep the thread's `keep` newest checkpoints (of a nested graph's task, its own), also while it goes on.

        Answers the id of the oldest that is kept, where there were more.
        """
        oldest = await self._upkeep.keep_newest(thread_id, keep)
        if oldest is not None:
            await self._upkeep.delete_tasks_before(thread_id, oldest)
        return oldest

    def get_next_version(self, current: str | None, channel: None) -> str:  # noqa: ARG002 - the contract's signature
        """Versions sort as text; the random part keeps two forks of one parent apart."""
        number = 0 if current is None else int(str(current).split(".", 1)[0])
        return f"{number + 1:010}.{random.getrandbits(64):016x}"


async def _make_tables(conninfo: str) -> None:
    try:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            ready = await (await connection.execute(READY, [NAMES])).fetchone()
            if ready is not None and not ready[0]:
                await connection.execute(DDL)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            f"PostgreSQL does not answer ({str(error).strip()}); check the database URL and that the server runs"
        ) from error


def _thread(config: RunnableConfig) -> str:
    return str(config["configurable"]["thread_id"])


def _namespace(config: RunnableConfig) -> str:
    return str(config["configurable"].get("checkpoint_ns", ""))


def _place(thread_id: str, namespace: str) -> tuple[bytes, bytes]:
    place = binary_rows.text(thread_id), binary_rows.text(namespace)
    if len(place[0]) + len(place[1]) > _KEY_BYTES:
        raise RunTooLargeError(
            f"the thread id ({thread_id[:40]!r}…) and the namespace of the nested graph take more than {_KEY_BYTES} "
            "bytes; use a shorter thread id, or nest less deep",
            subject=thread_id[:100],
        )
    return place


def _optional(value: Any) -> bytes:
    return NULL if value is None else binary_rows.text(str(value))


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return type(value) is str and len(value) <= INLINE_CHARACTERS
    return value is None or type(value) in (bool, int, float)


def _dumps(value: Any) -> bytes:
    """JSON that PostgreSQL takes: its jsonb has no NUL character; what JSON cannot say is kept as its text."""
    try:
        dumped = orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # Integers beyond 64 bits, halves of surrogate pairs, nesting deeper than orjson goes.
        dumped = json.dumps(value, default=repr, skipkeys=True, ensure_ascii=False).encode("utf-8", "replace")
    return without_nul(dumped)
