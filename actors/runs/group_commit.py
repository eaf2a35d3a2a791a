"""One writer for many runs: rows that arrive together become durable together, in one transaction.

A transaction's cost is its round trips and its flush to disk, not its rows, so a hundred runs that step at once share
both. `write` returns when the transaction that holds its rows is on disk, and not before. A thread's rows become
durable in the order in which they were written, and those of no thread after all that was written before. Where a
thread's rows cannot be written, what the thread gave after them and still waits is not written either.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import psycopg
from psycopg import sql

from actors.errors import RunTooLargeError
from actors.runs import binary_rows
from actors.runs.binary_rows import Cells
from actors.runs.gathering import Gathering
from actors.runs.pipeline import Pipeline, Statement, Unit

_log = logging.getLogger(__name__)

# Of one transaction: more waits for the next, so that memory and PostgreSQL's messages (1 GB) keep their bounds.
_BATCH_BYTES = 16 * 1024 * 1024
# Half of the runs of a busy host: while one half's transaction is on its way, the other half computes. A single one for
# all would find nobody at work while it lasts.
_BATCH_SUBJECTS = 50
# Of one `write`. PostgreSQL itself takes less than 1 GB in a message.
WRITE_BYTES = 512 * 1024 * 1024


class Table:
    """How rows of one table are written in bulk.

    `key` identifies a row and comes first in `columns`. A row that exists is left alone (`ignore`) or replaced
    (`replace`); with `update`, columns of rows that exist are set and no row is made.
    """

    def __init__(
        self,
        name: str,
        columns: tuple[str, ...],
        types: tuple[str, ...],
        key: tuple[str, ...],
        on_conflict: Literal["ignore", "replace", "update"],
    ) -> None:
        if columns[: len(key)] != key or len(columns) != len(types):
            raise ValueError(f"the columns of {name} have to begin with its key {key}, and each to have a type")
        self.name, self.columns, self.types, self.key, self.on_conflict = name, columns, types, key, on_conflict
        self.encoders = binary_rows.encoders(types)
        self._oids = binary_rows.oids(types)
        self.statement = self._statement().encode()

    def __repr__(self) -> str:
        return f"Table({self.name!r}, {self.on_conflict!r})"

    def _statement(self) -> str:
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(self.types, 1))
        names, rest = ", ".join(self.columns), self.columns[len(self.key) :]
        if self.on_conflict == "update":
            changes = ", ".join(f"{column} = given.{column}" for column in rest)
            same = " AND ".join(f"kept.{column} = given.{column}" for column in self.key)
            return f"UPDATE {self.name} AS kept SET {changes} FROM unnest({arrays}) AS given ({names}) WHERE {same}"  # noqa: S608 - our own constants
        changes = ", ".join(f"{column} = excluded.{column}" for column in rest)
        action = f"UPDATE SET {changes}" if self.on_conflict == "replace" and rest else "NOTHING"
        insert = f"INSERT INTO {self.name} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608 - our own constants
        return f"{insert} ON CONFLICT ({', '.join(self.key)}) DO {action}"

    def bulk(self, rows: Sequence[Cells]) -> Statement:
        """One statement that writes them all; of several rows with one key, the last."""
        if self.on_conflict != "ignore" and len(rows) > 1:
            # PostgreSQL refuses to replace a row twice in one statement.
            width = len(self.key)
            rows = list({row[:width]: row for row in rows}.values())
        columns = zip(*rows, strict=True)
        return self.statement, [binary_rows.array(oid, cells) for oid, cells in zip(self._oids, columns, strict=True)]


@dataclass(frozen=True, slots=True)
class Guard:
    """A statement (with `%s`) that heads every transaction, and raises where its writer may not write."""

    statement: bytes
    parameters: tuple[Any, ...]

    def inlined(self) -> Statement:
        """With its parameters as literals in it, so that it is prepared once and needs no types."""
        literals = [sql.Literal(value).as_bytes(None) for value in self.parameters]
        parts = self.statement.split(b"%s")
        return parts[0] + b"".join(chain.from_iterable(zip(literals, parts[1:], strict=True))), ()


Row = Sequence[Any]  # values in the columns' order, or `Cells`
Rows = Sequence[tuple[Table, Row]]


@dataclass(slots=True)
class _Request:
    given: Rows
    rows: list[tuple[Table, Cells]]
    size: int
    subject: str | None
    done: asyncio.Future[None]


class GroupCommit(Gathering[_Request]):
    """Gathers rows and commits them together. One per process and database; `close` drains it.

    `committed` is told the rows of each transaction that is on disk, in the order of the transactions, before any of
    their writers go on.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        guard: Guard | None = None,
        committed: Callable[[Rows], None] | None = None,
        write_bytes: int = WRITE_BYTES,
    ) -> None:
        super().__init__()
        self._pipeline = Pipeline(conninfo)
        self._guard = [guard.inlined()] if guard is not None else []
        self._committed = committed
        self._write_bytes = write_bytes

    async def write(self, rows: Rows, *, subject: str | None = None) -> None:
        """Return when these rows are on disk, all of them or none. A row is its values in columns' order, or `Cells`.

        `subject` is the thread that they are about; without one they stand alone. Raises what PostgreSQL says of these
        rows, or of earlier ones of the thread, `DatabaseUnavailableError` when it stays away, and `RunTooLargeError`.
        Who is cancelled while waiting does not know; the rows are then on disk whole or not at all.
        """
        size = 0
        encoded: list[tuple[Table, Cells]] = []
        for table, given in rows:
            row = given if type(given) is Cells else binary_rows.row(table.encoders, given)
            encoded.append((table, row))
            size += sum(map(len, row))
        if size > self._write_bytes:
            whose = "" if subject is None else f" of {subject[:40]!r}"
            raise RunTooLargeError(
                f"{size:,} bytes{whose} are to be written at once, of at most {self._write_bytes:,}: store large "
                "content as a blob and keep its id in the state",
                subject=subject and subject[:100],
            )
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.add(_Request(rows, encoded, size, subject, done))
        await done

    async def close(self) -> None:
        """Commit what waits, then let go of the connection."""
        await super().close()
        await self._pipeline.close()

    def take(self, waiting: list[_Request]) -> tuple[list[_Request], list[_Request]]:
        """The first subjects' rows. Nobody's rows overtake earlier ones of theirs, or any without a subject."""
        taken: list[_Request] = []
        left: list[_Request] = []
        subjects: set[str] = set()
        total = 0
        for number, request in enumerate(waiting):
            subject = request.subject
            fits = not taken or total + request.size <= _BATCH_BYTES
            if not fits or (subject is None and left):
                left.extend(waiting[number:])
                break
            if subject is not None and subject not in subjects:
                if len(subjects) == _BATCH_SUBJECTS:
                    left.append(request)
                    continue
                subjects.add(subject)
            taken.append(request)
            total += request.size
        return taken, left

    async def serve(self, batch: list[_Request]) -> None:
        try:
            (answer,) = await self._pipeline.run([self._unit(batch)])
            if not isinstance(answer, psycopg.Error):
                self._settle(batch, None)
                return
            # One run's bad row must not fail its neighbours: each thread stands alone now, and whole, for a step's
            # writes and the checkpoint after them are two requests and one step.
            parts = _by_subject(batch)
            answers = await self._pipeline.run([self._unit(part) for part in parts]) if len(parts) > 1 else [answer]
            for part, each in zip(parts, answers, strict=True):
                self._settle(part, each if isinstance(each, psycopg.Error) else None)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            self._settle(batch, error)

    def _unit(self, batch: Sequence[_Request]) -> Unit:
        grouped: dict[Table, list[Cells]] = {}
        for request in batch:
            for table, row in request.rows:
                grouped.setdefault(table, []).append(row)
        return [*self._guard, *(table.bulk(rows) for table, rows in grouped.items())]

    def _settle(self, batch: Sequence[_Request], error: Exception | None) -> None:
        if error is None and self._committed is not None:
            try:
                self._committed([item for request in batch for item in request.given])
            except Exception:  # noqa: BLE001 - durable is durable, whatever a listener does
                _log.exception("rows are on disk, and who wanted to know of them failed")
        if error is not None:
            subjects = {request.subject for request in batch if request.subject is not None}
            batch = [*batch, *self.withdraw(lambda request: request.subject in subjects)]
        for request in batch:
            if request.done.done():
                continue
            if error is None:
                request.done.set_result(None)
            else:
                request.done.set_exception(error)


def _by_subject(batch: Sequence[_Request]) -> list[list[_Request]]:
    """Those of one thread together, in order."""
    parts: dict[object, list[_Request]] = {}
    for request in batch:
        parts.setdefault(request.subject if request.subject is not None else request.done, []).append(request)
    return list(parts.values())
