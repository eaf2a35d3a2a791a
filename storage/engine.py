"""The database: one engine per process, one unit of work per session.

Query functions take an `AsyncSession` and never commit; `Database.begin()` is the unit of work that does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from storage.errors import DatabaseUnavailableError


class Base(DeclarativeBase):
    """Declarative base of every table."""


def driver_url(database_url: str) -> str:
    """The same database, by the driver we use: psycopg 3. Takes `postgres://`, `postgresql://` or a full URL."""
    url = database_url.replace("postgres://", "postgresql://", 1)
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def sync_engine(database_url: str) -> Engine:
    """A plain engine for migrations and start-up checks."""
    return create_engine(driver_url(database_url), json_serializer=_dumps, json_deserializer=orjson.loads)


class Database:
    """Owns this process's connection pool."""

    def __init__(self, database_url: str, *, pool_size: int = 5) -> None:
        self.engine: AsyncEngine = create_async_engine(
            driver_url(database_url),
            pool_size=pool_size,
            # No overflow: the server's max_connections is shared by every worker, so a pool's bound must hold.
            max_overflow=0,
            pool_pre_ping=True,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A unit of work: committed when the block ends, rolled back when it raises."""
        async with self._sessions() as session, session.begin():
            yield session

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
