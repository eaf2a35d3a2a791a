"""The database: one engine per process, one unit of work per session.

Query functions take an `AsyncSession` and never commit; `Database.begin()` is the unit of work that does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from storage.errors import DatabaseUnavailableError

# A server that is gone without a word is missed within half a minute: by default the system looks after two hours.
REACH = {
    "connect_timeout": "10", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}  # fmt: skip
# What is committed is on disk, also where the server's own default leaves that for later.
DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"


class Base(DeclarativeBase):
    """Declarative base of every table."""


def driver_url(database_url: str) -> str:
    """The same database, by the driver we use: psycopg 3. Takes `postgres://`, `postgresql://` or a full URL.

    How long a silent server is waited for (`REACH`) is the URL's own affair where it names it.
    """
    url = make_url(database_url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")
    unsaid = {name: value for name, value in REACH.items() if name not in url.query}
    return url.update_query_dict(unsaid).render_as_string(hide_password=False)


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def sync_engine(database_url: str) -> Engine:
    """A plain engine for migrations and start-up checks."""
    return create_engine(driver_url(database_url), json_serializer=_dumps, json_deserializer=orjson.loads)


class Database:
    """Owns this process's connection pool.

    `patience_s` bounds each statement and each pause within a transaction: nobody then waits for ever for a lock whose
    holder stands still.
    """

    def __init__(self, database_url: str, *, pool_size: int = 5, patience_s: float | None = None) -> None:
        self.engine: AsyncEngine = create_async_engine(
            driver_url(database_url),
            pool_size=pool_size,
            # No overflow: the server's max_connections is shared by every worker, so a pool's bound must hold.
            max_overflow=0,
            pool_pre_ping=True,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
        )
        event.listen(self.engine.sync_engine, "connect", _on_connect(patience_s))
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A unit of work: committed when the block ends, rolled back when it raises."""
        async with self._sessions() as session, session.begin():
            yield session

    @asynccontextmanager
    async def within(self, session: AsyncSession | None) -> AsyncIterator[AsyncSession]:
        """The caller's unit of work, which is the caller's to end; where there is none, one of its own."""
        if session is not None:
            yield session
            return
        async with self.begin() as own:
            yield own

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for queries only; nothing is committed."""
        async with self._sessions() as session:
            yield session

    async def ping(self) -> None:
        """Raises `DatabaseUnavailableError` unless the server answers a query."""
        try:
            async with self.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except OperationalError as error:
            raise DatabaseUnavailableError(
                "PostgreSQL does not answer; check SQLALCHEMY_DATABASE_URL and that the server runs"
            ) from error

    async def close(self) -> None:
        await self.engine.dispose()


def _on_connect(patience_s: float | None) -> Callable[[Any, Any], None]:
    statements = [DURABLE]
    if patience_s is not None:
        names = "statement_timeout", "idle_in_transaction_session_timeout"
        statements += [f"SET {name} = {round(patience_s * 1000)}" for name in names]

    def settle(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        connection.commit()

    return settle
