"""One writer for many runs: rows that arrive together become durable together, in one transaction.

A transaction's cost is its round trips and its flush to disk, not its rows, so a hundred runs that step at once share
both. `write` returns when the transaction that holds its rows is on disk, and not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from storage.errors import DatabaseUnavailableError

_log = logging.getLogger(__name__)

# A lost connection is tried again for this long before the waiting writes fail; a restarted PostgreSQL is back in less.
_RECONNECT_S = 30.0


@dataclass(frozen=True, slots=True)
class Table:
    """How rows of one table are written in bulk.

    `key` is the primary key; a row that exists is left alone (`ignore`) or replaced (`replace`).
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]
    on_conflict: Literal["ignore", "replace"]

    @property
    def statement(self) -> bytes:
        arrays = ", ".join(f"%b::{kind}[]" for kind in self.types)
        update = ", ".join(f"{column} = excluded.{column}" for column in self.columns if column not in self.key)
        action = "NOTHING" if self.on_conflict == "ignore" else f"UPDATE SET {update}"
        return (
            f"INSERT INTO {self.name} ({', '.join(self.columns)}) SELECT * FROM unnest({arrays}) "  # noqa: S608 - our own constants
            f"ON CONFLICT ({', '.join(self.key)}) DO {action}"
        ).encode()

    def merged(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The rows with each key once: PostgreSQL refuses to touch one row twice in a statement."""
        by_key: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        width = len(self.key)  # the key's columns come first in `columns`
        for row in rows:
            if self.on_conflict == "replace":
                by_key[row[:width]] = row
            else:
                by_key.setdefault(row[:width], row)
        return list(by_key.values())


@dataclass(frozen=True, slots=True)
class Guard:
    """A statement that heads every transaction and raises in the database where this writer may not write."""

    statement: bytes
    parameters: tuple[Any, ...]


Rows = Sequence[tuple[Table, tuple[Any, ...]]]


class GroupCommit:
    """Gathers rows and commits them together. One per process and database; `close` drains it."""

    def __init__(self, conninfo: str, *, guard: Guard | None = None) -> None:
        self._conninfo = conninfo
        self._guard = guard
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._waiting: list[tuple[Rows, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def write(self, rows: Rows) -> None:
        """Return when these rows are on disk, all of them or none.

        Raises what PostgreSQL says of these rows, or `DatabaseUnavailableError` when it stays away.
        """
        if self._closing:
            raise RuntimeError("this writer is closed")
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="group-commit")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, done))
        self._arrived.set()
        await done

    async def close(self) -> None:
        """Commit what waits, then let go of the connection."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        if self._connection is not None:
            await self._connection.close()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            # No timer: while one transaction is on its way the next one gathers, so the group is as large as the
            # load makes it and a lone write waits for nobody.
            batch, self._waiting = self._waiting, []
            if batch:
                await self._settle(batch)
            elif self._closing:
                return

    async def _settle(self, batch: list[tuple[Rows, asyncio.Future[None]]]) -> None:
        try:
            await self._commit([item for rows, _ in batch for item in rows])
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            if len(batch) == 1:
                _fail(batch[0][1], error)
            elif isinstance(error, DatabaseUnavailableError):
                for _, done in batch:
                    _fail(done, error)
            else:
                # One run's bad row must not fail its neighbours: each stands alone now.
                for entry in batch:
                    await self._settle([entry])
            return
        for _, done in batch:
            if not done.done():
                done.set_result(None)

    async def _commit(self, items: Rows) -> None:
        grouped: dict[Table, list[tuple[Any, ...]]] = {}
        for table, row in items:
            grouped.setdefault(table, []).append(row)
        deadline = asyncio.get_running_loop().time() + _RECONNECT_S
        pause = 0.05
        while True:
            try:
                await self._transaction(grouped)
            except psycopg.OperationalError as error:
                # The commit may have happened and its answer been lost. Every row here is written by key, so
                # writing it again changes nothing.
                await self._disconnect()
                if asyncio.get_running_loop().time() > deadline:
                    raise DatabaseUnavailableError(
                        f"PostgreSQL did not take a write for {_RECONNECT_S:.0f} s; check that it runs"
                    ) from error
                _log.warning("PostgreSQL is away (%s); trying again", str(error).strip().splitlines()[0])
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                return

    async def _transaction(self, grouped: dict[Table, list[tuple[Any, ...]]]) -> None:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        connection = self._connection
        # A pipeline sends begin, statements and commit in one round trip.
        async with connection.pipeline(), connection.transaction():
            if self._guard is not None:
                await connection.execute(self._guard.statement, self._guard.parameters)
            for table, rows in grouped.items():
                columns = [list(column) for column in zip(*table.merged(rows), strict=True)]
                await connection.execute(table.statement, columns, prepare=True)

    async def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                await self._connection.close()
            self._connection = None


def _fail(done: asyncio.Future[None], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
