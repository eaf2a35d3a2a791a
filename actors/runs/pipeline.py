"""A connection whose statements go out together and come back together, each unit of them one transaction.

A round trip costs one write and one read, however many units it carries: libpq's pipeline mode, driven by the loop's
own readiness callbacks. What stands between two syncs is one implicit transaction, without BEGIN and COMMIT
(https://www.postgresql.org/docs/current/libpq-pipeline-mode.html).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGresult
from sqlalchemy import make_url

from storage.engine import DURABLE, REACH, driver_url
from storage.errors import DatabaseUnavailableError

_log = logging.getLogger(__name__)

# A lost connection is tried again for this long; a restarted PostgreSQL is back in less.
_PATIENCE_S = 30.0
# While answers are awaited the socket is looked at this often, whatever the loop says. uvloop, which Ray's actors run
# on, tells a reader once of a socket in error; such is one whose server died with our words unread. Where last words of
# the server were still to be read then, its end was never heard of.
_LOOK_S = 0.2
# A server that says nothing for so long is given up, and ends by itself a transaction whose rest never comes: whoever
# claims our shards waits for ours.
_SILENT_S, _TRANSACTION_S = 180.0, 120.0

Statement = tuple[bytes, Sequence[bytes | None]]  # SQL with $1…, parameters in binary format
Unit = Sequence[Statement]
Answer = list[list[tuple[Any, ...]]]  # the rows of each of a unit's statements

# The server cannot take this now: shutting down or starting up (57), out of connections, memory or disk (53), a
# deadlock (40), no longer the primary, a transaction that took too long, a prepared statement that a pooler lost,
# somebody's lock, an I/O error.
# Whatever else a server says is about the statement, and stands.
_PASSING_CLASSES = ("08", "40", "53", "57")
_PASSING_CODES = ("25006", "25P03", "25P04", "26000", "55P03", "58030")
# PostgreSQL 17 and later have it, and somebody else may have set it.
_BOUNDED = "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = 'transaction_timeout' AND setting = '0'"


def conninfo_of(database_url: str) -> str:
    """What libpq is told for this URL: any that SQLAlchemy takes, or libpq's own `key=value` form as it is."""
    if "://" not in database_url:
        said = conninfo_to_dict(database_url)
        return make_conninfo(database_url, **{name: value for name, value in REACH.items() if name not in said})
    url = make_url(driver_url(database_url))
    if url.host is not None:
        # libpq's own form of a Unix socket's directory, which SQLAlchemy leaves as it is.
        url = url.set(host=unquote(url.host))
    _, arguments = url.get_dialect()().create_connect_args(url)
    return make_conninfo(**arguments)


class Pipeline:
    """For one caller at a time: `run` is not to be called again before it has returned."""

    def __init__(self, conninfo: str, *, silent_s: float = _SILENT_S, transaction_s: float = _TRANSACTION_S) -> None:
        self._conninfo = conninfo
        self._silent_s, self._transaction_s = silent_s, transaction_s
        self._link: _Link | None = None

    async def run(self, units: Sequence[Unit]) -> list[Answer | psycopg.Error]:
        """Each unit's rows, or why it was rolled back. What a unit wrote is on disk when this returns.

        A unit is run again when its connection was lost, so repeating it must change nothing. Raises
        `DatabaseUnavailableError` when PostgreSQL stays away.
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + _PATIENCE_S, 0.05
        answers: dict[int, Answer | psycopg.Error] = {}
        while True:
            left = [number for number in range(len(units)) if number not in answers]
            try:
                passing = await self._attempt(units, left, answers)
            except BaseException:
                # Nobody knows what is still on its way.
                await self.close()
                raise
            if passing is None:
                return [answers[number] for number in range(len(units))]
            await self.close()
            reason = str(passing).strip().splitlines()[0]
            if loop.time() > deadline:
                raise DatabaseUnavailableError(
                    f"PostgreSQL took nothing for {_PATIENCE_S:.0f} s ({reason}); check that it runs"
                ) from passing
            _log.warning("PostgreSQL is away (%s); trying again", reason)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _attempt(
        self, units: Sequence[Unit], left: Sequence[int], answers: dict[int, Answer | psycopg.Error]
    ) -> psycopg.Error | None:
        """Fill in the answers of what is left; answers what stood in the way, if it may pass."""
        passing: psycopg.Error | None = None
        try:
            if self._link is None:
                self._link = await _linked(self._conninfo, self._silent_s, self._transaction_s)
            arrived = await self._link.exchange([units[number] for number in left])
        except psycopg.OperationalError as error:
            # Some of it may be committed and the answer lost.
            return error
        for number, answer in zip(left, arrived, strict=True):
            if isinstance(answer, psycopg.Error) and _may_pass(answer):
                passing = answer
            else:
                answers[number] = answer
        return passing

    async def close(self) -> None:
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()


async def _linked(conninfo: str, silent_s: float, transaction_s: float) -> _Link:
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    try:
        await connection.execute(DURABLE)
        await connection.execute(_BOUNDED, [f"{transaction_s * 1000:.0f}ms"])
        return _Link(connection, silent_s)
    except BaseException:
        await connection.close()
        raise


class _Link:
    """A live connection in pipeline mode, and what is prepared on it."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], silent_s: float) -> None:
        self._connection = connection
        self._silent_s = silent_s
        self._libpq = connection.pgconn
        self._libpq.enter_pipeline_mode()
        self._transformer = Transformer(connection)
        self._names: dict[bytes, bytes] = {}
        self._numbered = 0
        # Of the exchange under way: the results between its syncs, and how many syncs are still to come.
        self._results: list[list[PGresult]] = []
        self._syncs = 0
        self._done: asyncio.Future[None] | None = None
        self._lost: psycopg.OperationalError | None = None
        self._heard_at = 0.0
        self._looking: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._socket = self._libpq.socket
        self._watched = True
        self._loop.add_reader(self._socket, self._readable)

    async def exchange(self, units: Sequence[Unit]) -> list[Answer | psycopg.Error]:
        if self._lost is not None:
            raise self._lost
        new = {sql: self._new_name() for unit in units for sql, _ in unit if sql not in self._names}
        try:
            self._send(units, new)
        except psycopg.OperationalError as error:
            self._lose(error)
            raise
        self._results, self._syncs = [[]], len(new) + len(units)
        self._done = self._loop.create_future()
        self._heard_at = self._loop.time()
        self._looking = self._loop.call_later(_LOOK_S, self._look)
        self._flush()
        try:
            await self._done
        finally:
            self._looking.cancel()
        faults: dict[bytes, psycopg.Error] = {}
        for sql, results in zip(new, self._results, strict=False):
            fault = _fault(results)
            if fault is None:
                self._names[sql] = new[sql]
            else:
                faults[sql] = fault
        return [
            next((faults[sql] for sql, _ in unit if sql in faults), None) or _fault(results) or self._answer(results)
            for unit, results in zip(units, self._results[len(new) :], strict=False)
        ]

    def _send(self, units: Sequence[Unit], new: Mapping[bytes, bytes]) -> None:
        for sql, name in new.items():
            self._libpq.send_prepare(name, sql)
            self._libpq.pipeline_sync()
        for unit in units:
            for sql, parameters in unit:
                name = self._names.get(sql) or new[sql]
                self._libpq.send_query_prepared(name, parameters, (1,) * len(parameters), 1)
            self._libpq.pipeline_sync()

    async def close(self) -> None:
        self._unwatch()
        await self._connection.close()

    def _unwatch(self) -> None:
        """At once when the connection is lost: libpq has closed the socket, and its number is soon another's."""
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)

    def _new_name(self) -> bytes:
        self._numbered += 1
        return b"hyvve_%d" % self._numbered

    def _answer(self, results: Sequence[PGresult]) -> Answer:
        rows: Answer = []
        for result in results:
            if result.ntuples:
                self._transformer.set_pgresult(result)
                rows.append(self._transformer.load_rows(0, result.ntuples, tuple))
            else:
                rows.append([])
        return rows

    def _look(self) -> None:
        """What the loop would have called, had it known; and an end to waiting."""
        self._readable()
        self._flush()
        if self._loop.time() - self._heard_at > self._silent_s:
            self._lose(psycopg.OperationalError(f"PostgreSQL said nothing for {self._silent_s:g} s"))
        if self._lost is None and self._syncs:
            self._looking = self._loop.call_later(_LOOK_S, self._look)

    def _flush(self) -> None:
        if self._lost is not None:
            return
        try:
            if self._libpq.flush():
                # More than the socket takes at once. Reading goes on meanwhile, or both ends would wait.
                self._loop.add_writer(self._socket, self._writable)
        except psycopg.OperationalError as error:
            self._lose(error)
        except RuntimeError as error:  # uvloop has given the socket up
            self._lose(psycopg.OperationalError(str(error)))

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket)
        self._flush()

    def _readable(self) -> None:
        if self._lost is not None:
            return
        libpq = self._libpq
        try:
            libpq.consume_input()
            while self._syncs and not libpq.is_busy():
                result = libpq.get_result()
                self._heard_at = self._loop.time()
                if result is None:  # the end of one statement's results
                    if libpq.status == pq.ConnStatus.BAD:
                        self._lose(psycopg.OperationalError(libpq.get_error_message()))
                        return
                    continue
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    self._syncs -= 1
                    self._results.append([])
                else:
                    self._results[-1].append(result)
        except psycopg.OperationalError as error:
            self._lose(error)
            return
        if not self._syncs and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _lose(self, error: psycopg.OperationalError) -> None:
        self._lost = error
        self._unwatch()
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)


def _fault(results: Sequence[PGresult]) -> psycopg.Error | None:
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            return error_from_result(result)
    return None


def _may_pass(error: psycopg.Error) -> bool:
    code = error.sqlstate
    return code is not None and (code[:2] in _PASSING_CLASSES or code in _PASSING_CODES)
