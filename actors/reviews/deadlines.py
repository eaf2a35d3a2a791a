"""When a waiting review is due, who is reminded, and what happens then: a pure function of state and time.

State and time in, actions and the new state out. So a host that slept through a deadline does after it what it would
have done at it, once; and a group that a review is escalated to has its whole time, however late that came.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

OnTimeout = Literal["escalate", "approve", "reject", "fail"]
Final = Literal["approve", "reject", "fail"]
_SHORTEST_S = 1.0
_LONGEST_S = 366 * 24 * 3600.0


class Deadline(BaseModel):
    """`timeout_s` is each group's time to decide; `None` is no deadline, and no reminder.

    `escalate`: the review goes to the groups of `escalate_to`, one after the other; when the last has let it pass,
    `finally_` happens. `reminders` are shares of the time after which those who hold it are reminded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    timeout_s: float | None = Field(default=None, ge=_SHORTEST_S, le=_LONGEST_S, allow_inf_nan=False)
    on_timeout: OnTimeout = "fail"
    escalate_to: tuple[str, ...] = ()
    finally_: Final = Field(default="fail", alias="finally")
    reminders: tuple[float, ...] = (0.5, 0.9)

    @model_validator(mode="after")
    def _possible(self) -> Deadline:
        if self.on_timeout == "escalate" and not self.escalate_to:
            raise ValueError("on_timeout is escalate: name the groups in escalate_to")
        if any(not group.strip() for group in self.escalate_to):
            raise ValueError("a group of escalate_to has no name")
        if any(not 0 < share < 1 for share in self.reminders) or list(self.reminders) != sorted(set(self.reminders)):
            raise ValueError("reminders are rising shares of the time, each between 0 and 1")
        return self


class Clock(BaseModel):
    """Where a review stands. `level` counts escalations, `since` is when this group's time began."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: AwareDatetime
    level: int = Field(default=0, ge=0)
    reminded: int = Field(default=0, ge=0)
    ended: bool = False


class Action(BaseModel):
    """What is due. `group` is whom to escalate to; `due_at` is when it was due, which may be before it is done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["remind", "escalate", "approve", "reject", "fail"]
    due_at: AwareDatetime
    level: int
    group: str | None = None


def due_at(deadline: Deadline, clock: Clock) -> datetime | None:
    """When the present group's time ends."""
    if deadline.timeout_s is None or clock.ended:
        return None
    return clock.since + timedelta(seconds=deadline.timeout_s)


def next_at(deadline: Deadline, clock: Clock) -> datetime | None:
    """When `advanced` has something to do next; a waiting run is woken then. `None`: never."""
    end = due_at(deadline, clock)
    if end is None or clock.reminded >= len(deadline.reminders):
        return end
    return _reminder_at(deadline, clock)


def advanced(deadline: Deadline, clock: Clock, at: datetime) -> tuple[Clock, tuple[Action, ...]]:
    """The clock at `at`, and what is due by then and was not done. Called again with that clock, it gives nothing more.

    Of several reminders that were missed only the last is sent. An escalation starts the next group's time at `at`.
    """
    end = due_at(deadline, clock)
    if end is None or at < clock.since:
        return clock, ()
    if at >= end:
        action, following = _expired(deadline, clock, end, at)
        return following, (action,)
    missed: list[Action] = []
    while clock.reminded < len(deadline.reminders) and at >= (moment := _reminder_at(deadline, clock)):
        missed.append(Action(kind="remind", due_at=moment, level=clock.level))
        clock = clock.model_copy(update={"reminded": clock.reminded + 1})
    return clock, tuple(missed[-1:])


def group_of(deadline: Deadline, clock: Clock) -> str | None:
    """Whom the review is with after its escalations; `None` for those it was first given to."""
    return deadline.escalate_to[clock.level - 1] if clock.level else None


def _expired(deadline: Deadline, clock: Clock, end: datetime, at: datetime) -> tuple[Action, Clock]:
    if deadline.on_timeout == "escalate" and clock.level < len(deadline.escalate_to):
        level = clock.level + 1
        action = Action(kind="escalate", due_at=end, level=level, group=deadline.escalate_to[level - 1])
        return action, Clock(since=at, level=level)
    kind: Final = deadline.finally_ if deadline.on_timeout == "escalate" else deadline.on_timeout
    return Action(kind=kind, due_at=end, level=clock.level), clock.model_copy(update={"ended": True})


def _reminder_at(deadline: Deadline, clock: Clock) -> datetime:
    assert deadline.timeout_s is not None
    return clock.since + timedelta(seconds=deadline.timeout_s * deadline.reminders[clock.reminded])
