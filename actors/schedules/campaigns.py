"""Campaigns whose time is over are marked so in their rows."""

from __future__ import annotations

from typing import Any

from actors.schedules.task import Work
from storage import activities, campaigns, schedules

# Rows locked at once: contributors of these campaigns wait no longer than this takes.
_AT_ONCE = 200


async def mark_expired_campaigns_inactive(work: Work) -> dict[str, Any]:
    """Every campaign whose expiration had passed when this began is inactive, and has an activity that says so.

    A campaign that somebody is writing to at the moment is left to the next firing.
    """
    async with work.database.read() as session:
        moment = await schedules.clock(session)
    count = 0
    while True:
        async with work.begin() as session:
            expired = await campaigns.deactivate_expired(session, moment, limit=_AT_ONCE)
            for campaign_id, expiration in expired:
                activities.record(session, campaign_id, "campaign_expired", "system", expiration=expiration)
        count += len(expired)
        if len(expired) < _AT_ONCE:
            return {"campaigns": count}
