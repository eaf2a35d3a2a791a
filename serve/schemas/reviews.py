"""Reviews on the wire: the queue, one review with all that helps to decide, and what is sent to decide it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from annotated_types import Ge, Le
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, StringConstraints

from actors.agents.definition import Scratchpad
from actors.reviews.decisions import DECISION, Approve, Edit, Reject, Respond
from actors.reviews.service import LONGEST_LEASE_S
from serve.schemas.fields import Name, Prose
from storage.reviews import Review, ReviewAction, ReviewDecision

State = Literal["open", "approved", "edited", "rejected", "responded", "failed", "cancelled"]
Answer = Literal["approve", "edit", "reject", "respond"]
LeaseS = Annotated[float, Ge(1), Le(LONGEST_LEASE_S)]


class ReviewSummary(BaseModel):
    """A review in the queue. `number` orders it, the earliest asked first. `holder` has it until `lease_until`.

    `reviewers` is whom it is with now, nobody named being anybody; `group` whom it was given or escalated to. `due_at`
    is when that group's time ends. Of a blind review another's name is not told.
    """

    review_id: UUID
    number: int
    run_id: UUID
    checkpoint: str
    title: str
    source: str
    step: str | None
    owner: str | None
    campaign_id: str | None
    contribution_id: str | None
    state: State
    answers: list[Answer]
    reviewers: list[str]
    group: str | None
    held: bool
    holder: str | None
    lease_until: datetime | None
    due_at: datetime | None
    disputed: bool
    blind: bool
    created_at: datetime
    settled_at: datetime | None
    delivered_at: datetime | None


class DecisionAnswer(BaseModel):
    """What one reviewer decided; `changes` is what an edit made different."""

    reviewer: str
    answer: Answer
    words: str
    payload: dict[str, Any] | None
    changes: list[dict[str, Any]]
    saw: str
    at: datetime


class ActionAnswer(BaseModel):
    """What was done to the review. `who` is null where it was the machine."""

    kind: str
    who: str | None
    saw: str | None
    at: datetime
    details: dict[str, Any]


class ReviewAnswer(ReviewSummary):
    """All that is needed to decide. A decision names `saw`, the digest of `subject`; an edit satisfies `edit_schema`.

    `shown` are parts of kinds text, image, pdf, csv, json, diff, marks and choices; none of it is trusted. `outcome` is
    what the run is told.
    """

    subject: dict[str, Any]
    saw: str
    shown: list[dict[str, Any]]
    edit_schema: dict[str, Any] | None
    ruling: dict[str, Any] | None
    agreement: dict[str, Any]
    deadline: dict[str, Any]
    outcome: dict[str, Any] | None
    decisions: list[DecisionAnswer]
    actions: list[ActionAnswer]


class _Named(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reviewer: Name | None = None


class ClaimIn(_Named):
    """Who claims, and for how many seconds; by default a quarter of an hour."""

    lease_s: LeaseS | None = None


class ClaimNextIn(ClaimIn):
    """Which of the queue: of a checkpoint, of a group, after a number."""

    checkpoint: Name | None = None
    group: Name | None = None
    after: Annotated[int, Ge(0), Le(2**63 - 1)] | None = None


class ReleaseIn(_Named):
    """Who gives it back."""


class DecisionIn(_Named):
    """A decision on the review with this id, whose subject was seen with this digest.

    An edit brings `payload`, the whole subject as it shall be; a rejection its `reason`; a response the `message` to
    the agent, which tries again.
    """

    answer: Answer
    review_id: UUID
    saw: Annotated[str, StringConstraints(strict=True, pattern="^[0-9a-f]{64}$")]
    payload: Scratchpad | None = None
    reason: Prose | None = None
    message: Prose | None = None


_BRINGS: dict[Answer, str | None] = {"approve": None, "edit": "payload", "reject": "reason", "respond": "message"}


def decision_of(sent: DecisionIn) -> Approve | Edit | Reject | Respond:
    """The decision that was sent. Raises `RequestValidationError` where it lacks what it must bring, or brings more."""
    brought = _BRINGS[sent.answer]
    faults: list[dict[str, Any]] = []
    for name in ("payload", "reason", "message"):
        if name == brought and getattr(sent, name) is None:
            faults.append({"loc": ("body", name), "msg": f"{sent.answer} brings it", "type": "missing"})
        elif name != brought and getattr(sent, name) is not None:
            faults.append({"loc": ("body", name), "msg": f"{sent.answer} takes none", "type": "extra_forbidden"})
    if faults:
        raise RequestValidationError(faults)
    given = sent.model_dump(include={"answer", "review_id", "saw", *([brought] if brought else [])})
    return DECISION.validate_python(given)


def of_summary(review: Review, reviewer: str | None) -> dict[str, Any]:
    hidden = review.hides and review.holder != reviewer
    return {
        "review_id": review.review_id,
        "number": review.number,
        "run_id": review.run_id,
        "checkpoint": review.checkpoint,
        "title": review.title,
        "source": review.source,
        "step": review.step,
        "owner": review.owner,
        "campaign_id": review.campaign_id,
        "contribution_id": review.contribution_id,
        "state": review.state,
        "answers": review.answers,
        "reviewers": review.reviewers,
        "group": review.group_name,
        "held": review.holder is not None,
        "holder": None if hidden else review.holder,
        "lease_until": review.lease_until,
        "due_at": review.due_at,
        "disputed": review.disputed,
        "blind": review.blind,
        "created_at": review.created_at,
        "settled_at": review.settled_at,
        "delivered_at": review.delivered_at,
    }


def of_review(
    review: Review, decisions: Sequence[ReviewDecision], actions: Sequence[ReviewAction], reviewer: str | None
) -> dict[str, Any]:
    blind = review.hides
    return {
        **of_summary(review, reviewer),
        "subject": review.subject,
        "saw": review.saw,
        "shown": review.shown,
        "edit_schema": review.edit_schema,
        "ruling": review.ruling,
        "agreement": review.agreement,
        "deadline": review.deadline,
        "outcome": review.outcome,
        "decisions": [_of_decision(each) for each in decisions if not blind or each.reviewer == reviewer],
        "actions": list(_of_actions(actions, reviewer if blind else None, blind=blind)),
    }


def _of_decision(decision: ReviewDecision) -> dict[str, Any]:
    return {
        "reviewer": decision.reviewer,
        "answer": decision.answer,
        "words": decision.words,
        "payload": decision.payload,
        "changes": decision.changes,
        "saw": decision.saw,
        "at": decision.at,
    }


def _of_actions(actions: Sequence[ReviewAction], reviewer: str | None, *, blind: bool) -> Iterator[Mapping[str, Any]]:
    for each in actions:
        # What the machine did names people in its details.
        if blind and each.who != reviewer and each.kind != "asked":
            continue
        yield {"kind": each.kind, "who": each.who, "saw": each.saw, "at": each.at, "details": each.details}
