"""The record of firings is kept for a while, and not for ever: that of what is done all the time for a day, and of what
came to nothing the last alone.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from actors.schedules.task import Work
from storage import firings, schedules

KEPT, KEPT_OF_FREQUENT = timedelta(days=90), timedelta(days=1)
# Due more often than this is frequent: 43,200 a day where it is every two seconds.
FREQUENT_S = 60
_AT_ONCE = 1000


async def forget_old_firings(work: Work) -> dict[str, Any]:
    """Firings that ended more than 90 days ago are gone, those of frequent schedules a day after their end. The last
    of each schedule stays.
    """
    count = 0
    while True:
        async with work.begin() as session:
            moment = await schedules.clock(session)
            removed = await firings.forget(
                session,
                moment - KEPT,
                frequent_s=FREQUENT_S,
                frequent_before=moment - KEPT_OF_FREQUENT,
                limit=_AT_ONCE,
            )
        count += removed
        if removed < _AT_ONCE:
            return {"firings": count}
