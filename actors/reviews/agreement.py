"""N of M reviewers: what their decisions come to, and whether a third must be asked.

A review is settled as soon as `needed` reviewers decide the same. Once that can no longer happen among those asked,
they disagree: one more reviewer, who has not decided yet, is asked, and that decision settles it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from actors.errors import ReviewConflictError
from actors.reviews.changes import same
from actors.reviews.decisions import Answer, Approve, Edit, Reject, Respond, digest_of


class Agreement(BaseModel):
    """`needed` of `asked` reviewers must decide the same. `arbiters`, where named, are who may be the third."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needed: int = Field(default=1, ge=1, le=20)
    asked: int = Field(default=1, ge=1, le=20)
    arbiters: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _possible(self) -> Agreement:
        if self.needed > self.asked:
            raise ValueError(f"{self.needed} of {self.asked} reviewers can never agree; ask at least {self.needed}")
        return self

    def fault_among(self, reviewers: Collection[str]) -> str | None:
        """Why it cannot be reached among these reviewers; none named are anybody."""
        if reviewers and (named := len(set(reviewers))) < self.asked:
            return f"asks {self.asked} reviewers, and {named} are named: name {self.asked} at least, or none"
        if both := sorted(self.arbiters.intersection(reviewers)):
            return (
                f"has {', '.join(both)} both as a reviewer and as an arbiter: who disagreed does not settle it, so name"
                " others as arbiters"
            )
        return None


class Vote(BaseModel):
    """One reviewer's decision. Equal `outcome`s are the same decision; a rejection is one whatever its reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reviewer: str = Field(min_length=1)
    answer: Answer
    outcome: str
    words: str = ""
    payload: Any = None


class State(StrEnum):
    OPEN = "open"  # those asked go on deciding
    DISPUTED = "disputed"  # a third is asked
    SETTLED = "settled"


class Standing(BaseModel):
    """What the votes come to. `vote` is the one that stands, with `settled_by` saying how it came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: State
    vote: Vote | None = None
    settled_by: Literal["agreement", "third"] | None = None
    still_needed: int = 0
    tally: dict[str, int] = {}


def vote(decision: Approve | Edit | Reject | Respond, *, reviewer: str, subject: Any = None) -> Vote:
    """The decision as a vote. An edit that leaves the subject as it is approves it."""
    if isinstance(decision, Edit):
        if same(decision.payload, subject):
            return Vote(reviewer=reviewer, answer="approve", outcome="approve")
        outcome = f"edit:{digest_of(_even(decision.payload))}"
        return Vote(reviewer=reviewer, answer="edit", outcome=outcome, payload=decision.payload)
    if isinstance(decision, Respond):
        outcome = f"respond:{digest_of(' '.join(decision.message.split()))}"
        return Vote(reviewer=reviewer, answer="respond", outcome=outcome, words=decision.message)
    words = decision.reason if isinstance(decision, Reject) else ""
    return Vote(reviewer=reviewer, answer=decision.answer, outcome=decision.answer, words=words)


def standing(agreement: Agreement, votes: Sequence[Vote]) -> Standing:
    """What these votes, in the order they were cast, come to. Raises `ReviewConflictError` for one that cannot be cast:
    a second of the same reviewer, one after the review was settled, a third who is no arbiter.
    """
    cast: list[Vote] = []
    now = _tallied(agreement, cast)
    for each in votes:
        if now.state is State.SETTLED:
            raise _conflict("late", "the review is settled; it waits for no decision", now)
        if each.reviewer in {other.reviewer for other in cast}:
            raise _conflict("repeated", f"{each.reviewer} has decided already", now)
        third = now.state is State.DISPUTED
        # Where anybody was asked, arbiters may have been among those who disagree; with none left, anybody settles it.
        arbiters = agreement.arbiters - {other.reviewer for other in cast}
        if third and arbiters and each.reviewer not in arbiters:
            said = f"the reviewers disagree, and {each.reviewer} is none of those who may settle it"
            raise _conflict("foreign", said, now)
        cast.append(each)
        if third:
            now = now.model_copy(
                update={
                    "state": State.SETTLED,
                    "vote": each,
                    "settled_by": "third",
                    "still_needed": 0,
                    "tally": _counted(cast),
                }
            )
        else:
            now = _tallied(agreement, cast)
    return now


def _conflict(conflict: str, message: str, now: Standing) -> ReviewConflictError:
    return ReviewConflictError(message, state=now.state.value, conflict=conflict)


def _tallied(agreement: Agreement, cast: Sequence[Vote]) -> Standing:
    tally = _counted(cast)
    left = agreement.asked - len(cast)
    most = max(tally.values(), default=0)
    if most >= agreement.needed:
        first = next(each for each in cast if tally[each.outcome] == most)
        return Standing(state=State.SETTLED, vote=first, settled_by="agreement", tally=tally)
    if most + left < agreement.needed:
        return Standing(state=State.DISPUTED, still_needed=1, tally=tally)
    return Standing(state=State.OPEN, still_needed=agreement.needed - most, tally=tally)


def _counted(cast: Sequence[Vote]) -> dict[str, int]:
    tally: dict[str, int] = {}
    for each in cast:
        tally[each.outcome] = tally.get(each.outcome, 0) + 1
    return tally


def _even(value: Any) -> Any:
    """1.0 as 1: the same payload, however a client writes its numbers."""
    if isinstance(value, dict):
        return {name: _even(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_even(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
