"""When a schedule is due: pure arithmetic on UTC. The same rule gives the same due times on every host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from croniter import CroniterError, croniter

from actors.errors import BadRuleError

Missed = Literal["catch_up", "latest", "skip"]
"""What becomes of due times that nobody was there for: each is fired, only the last of them is, or none is."""

# A due time is missed when nobody has come to it for so long.
GRACE = timedelta(seconds=60)
# Due times that one look lists; of those missed before them nothing but their beginning is kept.
LISTED = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORDS = {
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    *("sun", "mon", "tue", "wed", "thu", "fri", "sat", "l"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Every `every_s` seconds, at the multiples of that in unix time; or by `cron`: five fields, in UTC.

    Raises `BadRuleError` for a rule that is none, or never due. Cron's random and hashed fields are refused: they
    would give each host due times of its own.
    """

    every_s: int | None = None
    cron: str | None = None

    def __post_init__(self) -> None:
        if (self.every_s is None) == (self.cron is None):
            raise BadRuleError("a schedule has either an interval or a cron expression")
        if self.every_s is not None:
            if self.every_s < 1:
                raise BadRuleError(f"an interval is at least one second, not {self.every_s}", subject="every_s")
            return
        assert self.cron is not None
        words = {word.lower() for word in re.findall("[A-Za-z]+", self.cron)}
        if len(self.cron.split()) != 5 or words - _WORDS:
            raise BadRuleError(
                f"{self.cron!r} is not minute, hour, day, month and weekday, as in `30 3 * * mon`", subject="cron"
            )
        try:
            self.after(_EPOCH)
        except CroniterError as error:
            raise BadRuleError(f"{self.cron!r} is never due ({error})", subject="cron") from error

    def __str__(self) -> str:
        if self.every_s is None:
            return f"{self.cron} UTC"
        for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
            if self.every_s % size == 0:
                return f"every {self.every_s // size} {unit}"
        return f"every {self.every_s} s"

    def after(self, moment: datetime) -> datetime:
        """The first due time later than `moment`."""
        if self.every_s is not None:
            every = timedelta(seconds=self.every_s)
            return _EPOCH + ((moment - _EPOCH) // every + 1) * every
        found: datetime = croniter(self.cron, moment).get_next(datetime)
        return found

    def between(self, first: datetime, last: datetime, *, limit: int = LISTED) -> list[datetime]:
        """The due times from `first` to `last`, both included, in order; the latest `limit` of them."""
        # A whole second past `last`, for cron's arithmetic knows no parts of one.
        at = last.replace(microsecond=0) + timedelta(seconds=1)
        found: list[datetime] = []
        while len(found) < limit:
            at = self._before(at)
            if at < first:
                break
            if at <= last:
                found.append(at)
        return found[::-1]

    def _before(self, moment: datetime) -> datetime:
        if self.every_s is not None:
            every = timedelta(seconds=self.every_s)
            return _EPOCH + (moment - _EPOCH - timedelta(microseconds=1)) // every * every
        found: datetime = croniter(self.cron, moment).get_prev(datetime)
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """Which due times are fired, and which are skipped. `left_out_since`: since when there were more, not listed."""

    fired: list[datetime]
    skipped: list[datetime]
    left_out_since: datetime | None


def plan(rule: Rule, next_due: datetime, moment: datetime, missed: Missed) -> Plan:
    """What becomes of the due times from `next_due` to `moment`."""
    dues = rule.between(next_due, moment)
    left_out = next_due if len(dues) == LISTED and dues[0] > next_due else None
    match missed:
        case "catch_up":
            kept = dues
        case "latest":
            kept = dues[-1:]
        case "skip":
            kept = [at for at in dues if moment - at <= GRACE]
    return Plan(kept, dues[: len(dues) - len(kept)], left_out)
