"""Checkpoints read back: the rows, the values that stand once per version, the writes of their tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from actors.runs import binary_rows
from actors.runs.checkpoint_tables import EXACT, LATEST, SELECT_BLOBS, page
from actors.runs.queries import Queries

_BlobKey = tuple[str, str, str, str]  # thread, namespace, channel, version

# A long history is never in memory at once, and who stops early has not read it all.
_PAGE = 50


def config_of(thread_id: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}


class Conditions:
    """An SQL condition and its parameters, as they add up."""

    def __init__(self) -> None:
        self._clauses = ["true"]
        self._values: list[bytes | None] = []

    def add(self, clause: str, *values: bytes) -> None:
        """`{}` in the clause stands for the values, in order."""
        first = len(self._values) + 1
        self._clauses.append(clause.format(*(f"${first + offset}" for offset in range(len(values)))))
        self._values.extend(values)

    def older(self, row: Sequence[Any]) -> Conditions:
        """These, and after that row of a page."""
        following = Conditions()
        following._clauses, following._values = [*self._clauses], [*self._values]
        thread_id, namespace, checkpoint_id = (value.encode() for value in row[:3])
        following.add(
            "(c.checkpoint_id < {} OR c.checkpoint_id = {} AND (c.thread_id, c.checkpoint_ns) > ({}, {}))",
            checkpoint_id, checkpoint_id, thread_id, namespace,
        )  # fmt: skip
        return following

    def page(self, size: int) -> tuple[bytes, list[bytes | None]]:
        return page(" AND ".join(self._clauses), size), self._values


class CheckpointReads:
    def __init__(self, queries: Queries, serde: Callable[[], SerializerProtocol]) -> None:
        self._queries = queries
        self._serde = serde

    async def one(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> CheckpointTuple | None:
        """That checkpoint, by default the newest."""
        parameters: list[bytes | None] = [thread_id.encode(), namespace.encode()]
        if checkpoint_id:
            (rows,) = await self._queries.run((EXACT, [*parameters, checkpoint_id.encode()]))
        else:
            (rows,) = await self._queries.run((LATEST, parameters))
        return (await self._tuples(rows))[0] if rows else None

    async def newest_first(self, conditions: Conditions, limit: int | None) -> AsyncIterator[CheckpointTuple]:
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            (rows,) = await self._queries.run(conditions.page(size))
            for found in await self._tuples(rows):
                yield found
            if len(rows) < size:
                return
            left = None if left is None else left - size
            conditions = conditions.older(rows[-1])

    async def _tuples(self, rows: Sequence[Sequence[Any]]) -> list[CheckpointTuple]:
        load = self._serde().loads_typed
        checkpoints: list[Checkpoint] = [load((row[4], row[5])) for row in rows]
        wanted: set[_BlobKey] = {
            (row[0], row[1], channel, str(version))
            for row, checkpoint in zip(rows, checkpoints, strict=True)
            for channel, version in checkpoint["channel_versions"].items()
            if channel not in checkpoint["channel_values"]
        }
        blobs: dict[_BlobKey, tuple[str, bytes]] = {}
        if wanted:
            columns = [binary_rows.text_array(column) for column in zip(*wanted, strict=True)]
            (found,) = await self._queries.run((SELECT_BLOBS, [*columns]))
            blobs = {row[:4]: (row[4], row[5]) for row in found}
        return [self._tuple(row, checkpoint, blobs) for row, checkpoint in zip(rows, checkpoints, strict=True)]

    def _tuple(
        self, row: Sequence[Any], checkpoint: Checkpoint, blobs: dict[_BlobKey, tuple[str, bytes]]
    ) -> CheckpointTuple:
        load = self._serde().loads_typed
        thread_id, namespace, checkpoint_id, parent_id, _, _, metadata, tasks, channels, kinds, values = row
        for channel, version in checkpoint["channel_versions"].items():
            stored = blobs.get((thread_id, namespace, channel, str(version)))
            if stored is not None and channel not in checkpoint["channel_values"]:
                checkpoint["channel_values"][channel] = load(stored)
        writes = zip(tasks or (), channels or (), kinds or (), values or (), strict=True)
        return CheckpointTuple(
            config=config_of(thread_id, namespace, checkpoint_id),
            checkpoint=checkpoint,
            metadata=metadata,
            parent_config=config_of(thread_id, namespace, parent_id) if parent_id else None,
            pending_writes=[(task, channel, load((kind, value))) for task, channel, kind, value in writes],
        )
