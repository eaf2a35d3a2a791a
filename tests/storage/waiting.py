"""Whether somebody waits for a lock, for tests of who waits for whom."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import text

from storage.engine import Database

_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


async def settled(database: Database, task: asyncio.Task[Any]) -> None:
    """Returns when the task has ended, or waits for a lock in the database."""
    while not task.done():
        async with database.read() as session:
            if (await session.execute(_WAITING)).scalar_one():
                return
        await asyncio.sleep(0.02)
