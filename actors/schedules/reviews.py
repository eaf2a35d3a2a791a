"""Time passes for reviews: leases run out, people are reminded, deadlines come."""

from __future__ import annotations

from typing import Any

from actors.reviews.service import Reviews
from actors.schedules.task import Work


async def keep_review_time(work: Work) -> dict[str, Any]:
    """What had become due of waiting reviews when this began is done, each once, however many do this at once."""
    return await Reviews(work.database).tick()
