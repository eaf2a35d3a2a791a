"""All periodic work, on one page. A line here is a schedule in the table from the next start on."""

from __future__ import annotations

from collections.abc import Sequence

from actors.schedules.callbacks import forget_old_callbacks, send_callbacks
from actors.schedules.campaigns import mark_expired_campaigns_inactive
from actors.schedules.firings import forget_old_firings
from actors.schedules.reviews import keep_review_time
from actors.schedules.task import Periodic
from actors.schedules.timing import Rule

PERIODIC: tuple[Periodic, ...] = (
    Periodic(
        name="mark_expired_campaigns_inactive", task=mark_expired_campaigns_inactive, rule=Rule(every_s=30 * 60)
    ),
    Periodic(name="forget_old_firings", task=forget_old_firings, rule=Rule(cron="40 3 * * *")),
    # These two are not tried again: their next firing is due sooner.
    Periodic(name="keep_review_time", task=keep_review_time, rule=Rule(every_s=2), max_attempts=1, timeout_s=60),
    Periodic(name="send_callbacks", task=send_callbacks, rule=Rule(every_s=2), max_attempts=1, timeout_s=120),
    Periodic(name="forget_old_callbacks", task=forget_old_callbacks, rule=Rule(cron="50 3 * * *")),
)  # fmt: skip


def periodic() -> Sequence[Periodic]:
    """The work of this version; named where a scheduler is set up, so that tests can give it other work."""
    return PERIODIC
