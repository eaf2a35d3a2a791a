"""The record of firings is kept for a while, and not for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from actors.schedules.task import Work
from storage import firings, schedules

KEPT = timedelta(days=90)
_AT_ONCE = 1000


async def forget_old_firings(work: Work) -> dict[str, Any]:
    """Firings that ended more than 90 days ago are gone, but the last of each schedule."""
    count = 0
    while True:
        async with work.begin() as session:
            before = await schedules.clock(session) - KEPT
            removed = await firings.forget(session, before, limit=_AT_ONCE)
        count += removed
        if removed < _AT_ONCE:
            return {"firings": count}
