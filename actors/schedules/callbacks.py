"""Callbacks are sent, and what is done with is forgotten after a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from actors.reviews.callbacks import CallbackSender
from actors.schedules.task import Work
from storage import callbacks, schedules, webhooks
from storage.posting import GuardedPoster

KEPT = timedelta(days=90)
_AT_ONCE = 1000


async def send_callbacks(work: Work) -> dict[str, Any]:
    """Callbacks that are due are sent; by their own leases, and not by this firing, each by one sender at a time."""
    settings = work.storage.callbacks
    poster = GuardedPoster(work.storage.fetch, timeout_s=settings.timeout_s)
    try:
        return dict(await CallbackSender(work.database, settings, poster).send_due())
    finally:
        await poster.close()


async def forget_old_callbacks(work: Work) -> dict[str, Any]:
    """Callbacks that were delivered or given up, and webhooks that came in, are gone after 90 days."""

    async def forgotten(forget: Callable[[AsyncSession, datetime], Awaitable[int]]) -> int:
        count = 0
        while True:
            async with work.begin() as session:
                removed = await forget(session, await schedules.clock(session) - KEPT)
            count += removed
            if removed < _AT_ONCE:
                return count

    return {
        "callbacks": await forgotten(lambda session, before: callbacks.forget(session, before, limit=_AT_ONCE)),
        "webhooks": await forgotten(lambda session, before: webhooks.forget(session, before, limit=_AT_ONCE)),
    }
