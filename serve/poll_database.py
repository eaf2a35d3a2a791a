"""The poll's own connection: which versions campaigns are at, asked straight of libpq.

psycopg's `execute` costs 100 us of Python a query, mostly in choosing how to adapt values; a check has one array to
send and text to compare, so it is sent and read by `PGconn` itself. Rows, read only when new, come the usual way.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import psycopg
from psycopg import errors, pq
from sqlalchemy import make_url

from serve.schemas.campaigns import ANSWER_COLUMNS

# What makes one version of a row: see `serve/poll.py`. Compared as PostgreSQL writes it.
Version = tuple[bytes | None, ...]

_VERSION = ("campaign_id", "version", "xmin", "ctid")
_CHECK = (
    "PREPARE poll_check (text[]) AS"  # noqa: S608 - constants
    f" SELECT onchain_campaign_id, {', '.join(_VERSION)} FROM campaigns WHERE onchain_campaign_id = ANY($1)"
)
_READ = (
    f"SELECT {', '.join(ANSWER_COLUMNS)}, {', '.join(f'{name}::text' for name in _VERSION)}"  # noqa: S608 - constants
    " FROM campaigns WHERE onchain_campaign_id = ANY(%s)"
)
_TEXT_OID = 25


class PollDatabase:
    """One connection, opened when first asked and after `disconnect`; used by one coroutine at a time.

    Raises psycopg's `OperationalError` and `InterfaceError` where the server is away.
    """

    def __init__(self, database_url: str, *, connect_timeout_s: float) -> None:
        url = make_url(database_url).set(drivername="postgresql")
        self._conninfo = url.render_as_string(hide_password=False)
        self._connect_timeout_s = max(1, int(connect_timeout_s))
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None

    async def versions(self, ids: list[str]) -> list[tuple[str, Version]]:
        """Id and version of each campaign that exists, by a query that begins after this call."""
        connection = await self._connected()
        result = await _send(connection.pgconn, _text_array(ids))
        return [
            ((result.get_value(row, 0) or b"").decode(), tuple(result.get_value(row, column) for column in range(1, 5)))
            for row in range(result.ntuples)
        ]

    async def rows(self, ids: list[str]) -> list[tuple[dict[str, Any], Version]]:
        """`ANSWER_COLUMNS` by name, and version, of each campaign that exists."""
        connection = await self._connected()
        cursor = await connection.execute(_READ, (ids,), prepare=True)
        found: list[tuple[dict[str, Any], Version]] = []
        for row in await cursor.fetchall():
            values = dict(zip(ANSWER_COLUMNS, row, strict=False))
            version = tuple(str(part).encode() for part in row[len(ANSWER_COLUMNS) :])
            found.append((values, version))
        return found

    async def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None:
            connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, connect_timeout=self._connect_timeout_s, client_encoding="utf8"
            )
            await connection.execute(_CHECK)
            self._connection = connection
        return self._connection


def _text_array(values: list[str]) -> bytes:
    """`values` as text[] in PostgreSQL's binary format (array_send): dimensions, flags, type, length, lower bound."""
    parts = [struct.pack("!iiIii", 1, 0, _TEXT_OID, len(values), 1)]
    for value in values:
        encoded = value.encode()
        parts += (struct.pack("!i", len(encoded)), encoded)
    return b"".join(parts)


async def _send(connection: pq.abc.PGconn, ids: bytes) -> pq.abc.PGresult:
    """The result of `poll_check` over these ids (libpq 18, 32.4 Asynchronous Command Processing)."""
    connection.send_query_prepared(b"poll_check", [ids], param_formats=[pq.Format.BINARY])
    while connection.flush():
        await _ready(connection, write=True)
    results: list[pq.abc.PGresult] = []
    while True:
        if connection.is_busy():
            await _ready(connection)
            continue
        result = connection.get_result()
        if result is None:
            break
        results.append(result)
    if len(results) != 1 or results[0].status != pq.ExecStatus.TUPLES_OK:
        raise errors.error_from_result(results[0]) if results else psycopg.OperationalError("no result")
    return results[0]


async def _ready(connection: pq.abc.PGconn, *, write: bool = False) -> None:
    """Wait until more of the answer has come, or, sending, until the socket takes more."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    socket = connection.socket

    def resume() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(socket, resume)
    if write:
        loop.add_writer(socket, resume)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if write:
            loop.remove_writer(socket)
    connection.consume_input()
