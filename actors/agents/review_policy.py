"""What a node's `review.policy`, and the setting of verdicts' reviews, may say: who looks, how many of them, and what
becomes of a look that nobody takes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from actors.reviews.agreement import Agreement
from actors.reviews.deadlines import Deadline, Final, OnTimeout

_Name = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=200)]


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_Names = Annotated[tuple[_Name, ...], BeforeValidator(_tuple), Field(max_length=100)]


class ReviewPolicy(BaseModel):
    """`needed` of `asked` reviewers decide the same, else one of `arbiters` (or anybody else) settles it.

    `timeout_seconds` is each group's time; then `on_timeout` happens: the look goes to the groups of `escalate_to`, one
    after the other, and `finally` is done after the last; or it ends at once. `reminders` are shares of that time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    reviewers: _Names = ()
    group: _Name | None = None
    needed: int = Field(default=1, strict=True, ge=1, le=20)
    asked: int | None = Field(default=None, strict=True, ge=1, le=20)
    arbiters: _Names = ()
    blind: bool = Field(default=False, strict=True)
    timeout_seconds: float | None = Field(default=None, ge=1, le=366 * 24 * 3600, allow_inf_nan=False)
    on_timeout: OnTimeout = "fail"
    escalate_to: _Names = ()
    finally_: Final = Field(default="fail", alias="finally")
    reminders: tuple[float, ...] = Field(default=(0.5, 0.9), max_length=10)

    @model_validator(mode="after")
    def _possible(self) -> ReviewPolicy:
        try:
            _ = self.agreement, self.deadline
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(first["msg"].removeprefix("Value error, ")) from None
        return self

    def whom(self, reviewer: str | None) -> tuple[str, ...]:
        """All who are named, beside the node's own `reviewer`; nobody: anybody may look."""
        named = () if reviewer is None else (reviewer,)
        return tuple(dict.fromkeys((*named, *self.reviewers)))

    @property
    def agreement(self) -> Agreement:
        return Agreement(needed=self.needed, asked=self.asked or self.needed, arbiters=frozenset(self.arbiters))

    @property
    def deadline(self) -> Deadline:
        return Deadline(
            timeout_s=self.timeout_seconds,
            on_timeout=self.on_timeout,
            escalate_to=self.escalate_to,
            finally_=self.finally_,
            reminders=self.reminders,
        )
