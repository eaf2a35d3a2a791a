"""Team runs on the wire: what is wanted of a provider's model, how the run stands, what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from annotated_types import MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, StringConstraints

from actors.agents.definition import Scratchpad
from actors.providers.models import Capabilities
from actors.reviews.decisions import Approve, Edit, Reject, Respond
from actors.reviews.question import Question, question_of
from actors.reviews.service import Whole
from actors.reviews.teams import blindness
from actors.reviews.teams.request import (
    MAX_BATCH,
    MAX_CANDIDATES,
    Candidate,
    Compared,
    ComparisonConfig,
    HITLConfig,
    RunInput,
)
from actors.reviews.teams.state import STATES, State, state_of
from serve.schemas.fields import Name, Prose
from serve.schemas.reviews import ReviewAnswer, of_review
from storage.callbacks import Callback
from storage.reviews import Review
from storage.runs import Run

Saw = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TeamRequest(_In):
    """A call of a provider's model, and when people look at it."""

    run_input: RunInput
    hitl_config: HITLConfig = HITLConfig()


class BatchRequest(_In):
    """Several calls under one policy; each is a run of its own."""

    inputs: Annotated[list[RunInput], MinLen(1), MaxLen(MAX_BATCH)]
    hitl_config: HITLConfig = HITLConfig()


class ComparisonRequest(_In):
    """Several models asked the same; a person picks an answer without knowing whose it is."""

    run_input: Compared
    candidates: Annotated[list[Candidate], MinLen(2), MaxLen(MAX_CANDIDATES)]
    hitl_config: ComparisonConfig = ComparisonConfig()


class _DecisionIn(_In):
    """`review_id` and `saw` are the review's, as it was shown; `reviewer` is who decides, by default the wallet."""

    review_id: UUID
    saw: Saw
    reviewer: Name | None = None


class ApproveIn(_DecisionIn):
    def decision(self) -> Approve:
        return Approve(review_id=self.review_id, saw=self.saw)


class EditIn(_DecisionIn):
    """`payload` is the whole subject as it shall be."""

    payload: Scratchpad

    def decision(self) -> Edit:
        return Edit(review_id=self.review_id, saw=self.saw, payload=self.payload)


class RejectIn(_DecisionIn):
    reason: Annotated[Prose, MaxLen(10_000)]

    def decision(self) -> Reject:
        return Reject(review_id=self.review_id, saw=self.saw, reason=self.reason)


class RespondIn(_DecisionIn):
    """`message` goes into the next try."""

    message: Annotated[Prose, MaxLen(10_000)]

    def decision(self) -> Respond:
        return Respond(review_id=self.review_id, saw=self.saw, message=self.message)


class TeamRunSummary(BaseModel):
    """A team run in a list. `state` is the review that it is at, or how it ended; `checkpoint` which one exactly."""

    run_id: UUID
    kind: str
    user_id: str | None
    session_id: str | None
    batch_id: UUID | None
    state: State
    status: Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
    checkpoint: str | None
    error: dict[str, Any] | None
    usage: dict[str, Any]
    waits_for: int
    last_event: int
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    ended_at: datetime | None
    deadline_at: datetime | None


class WaitsFor(BaseModel):
    """A review that the run waits for. `subject` is what is decided on, `saw` its digest, which a decision names;
    `edit_schema` what an edit must satisfy; `ruling` why a person is asked, with the values that decided. `reviewers`
    and `group` are whom it is with now, after disputes and escalations.
    """

    review_id: UUID
    checkpoint: str
    title: str
    subject: dict[str, Any]
    saw: str
    shown: list[dict[str, Any]]
    edit_schema: dict[str, Any] | None
    ruling: dict[str, Any] | None
    answers: list[str]
    reviewers: list[str]
    group: str | None


class DecidedAnswer(BaseModel):
    """What a reviewer is told whom the run does not belong to: where it stands, and the review as they may see it."""

    run_id: UUID
    kind: str
    state: State
    status: Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
    updated_at: datetime
    ended_at: datetime | None
    review: ReviewAnswer


class CallbackAnswer(BaseModel):
    """Something that the run's `callback_url` is told. Waiting, it is tried again; `error` is the last attempt's that
    failed, `resent_at` when it was last asked for again.
    """

    callback_id: UUID
    event: str
    state: Literal["waiting", "delivered", "given_up"]
    attempts: int
    error: dict[str, Any] | None
    created_at: datetime
    next_at: datetime
    delivered_at: datetime | None
    given_up_at: datetime | None
    resent_at: datetime | None


class TeamRunAnswer(TeamRunSummary):
    """A team run as it stands. `error` has the provider's `field` where it refused one; `output` is there in the end:
    response, payload, rulings and decisions. `withheld` says what is not told yet, and why: of a comparison its
    candidates, before one is picked.
    """

    run_input: dict[str, Any]
    withheld: str | None
    hitl_config: dict[str, Any]
    reviews: list[WaitsFor]
    output: dict[str, Any] | None
    callbacks: list[CallbackAnswer]


class BatchAnswer(BaseModel):
    """A batch's runs in one summary: how many are in each state, what all of them cost so far."""

    batch_id: UUID
    total: int
    states: dict[str, int]
    waiting: int
    ended: int
    cost_micro_usd: int
    runs: list[TeamRunSummary]


def of_summary(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "user_id": run.owner,
        "session_id": run.session_id,
        "batch_id": run.parent_run_id if run.forked_from is None else None,
        "state": state_of(run),
        "status": run.status,
        "checkpoint": run.progress.get("checkpoint"),
        "error": _error(run),
        "usage": blindness.usage_of(run),
        "waits_for": len(_asked(run)),
        "last_event": run.event_seq,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "updated_at": run.updated_at,
        "ended_at": run.ended_at,
        "deadline_at": run.deadline_at,
    }


def of_decided(run: Run, found: Whole, reviewer: str) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "state": state_of(run),
        "status": run.status,
        "updated_at": run.updated_at,
        "ended_at": run.ended_at,
        "review": of_review(found.review, found.decisions, found.actions, reviewer),
    }


def of_run(run: Run, callbacks: Sequence[Callback], asked: Mapping[UUID, Review]) -> dict[str, Any]:
    """`asked` are the reviews of what the run waits for, by their ids: whom they are with now stands there."""
    given = blindness.input_of(run)
    return {
        **of_summary(run),
        "run_input": given.get("run_input") or {**given.get("compared", {}), "candidates": given.get("candidates")},
        "withheld": blindness.withheld(run),
        "hitl_config": given.get("hitl_config", {}),
        "reviews": [_of_question(each, asked.get(each.review_id)) for each in _asked(run)],
        "output": run.output,
        "callbacks": [of_callback(each) for each in callbacks],
    }


def of_callback(callback: Callback) -> dict[str, Any]:
    return {
        "callback_id": callback.callback_id,
        "event": callback.event,
        "state": "delivered" if callback.delivered_at else "given_up" if callback.given_up_at else "waiting",
        "attempts": callback.attempts,
        "error": callback.error,
        "created_at": callback.created_at,
        "next_at": callback.next_at,
        "delivered_at": callback.delivered_at,
        "given_up_at": callback.given_up_at,
        "resent_at": callback.resent_at,
    }


def of_batch(batch_id: UUID, runs: Sequence[Run]) -> dict[str, Any]:
    states = [state_of(run) for run in runs]
    return {
        "batch_id": batch_id,
        "total": len(runs),
        "states": {state: states.count(state) for state in STATES if state in states},
        "waiting": sum(bool(_asked(run)) for run in runs),
        "ended": sum(run.ended_at is not None for run in runs),
        "cost_micro_usd": sum(run.usage.get("cost_micro_usd", 0) for run in runs),
        "runs": [of_summary(run) for run in reversed(runs)],
    }


def of_provider(capabilities: Capabilities) -> dict[str, Any]:
    return capabilities.model_dump(mode="json")


def _asked(run: Run) -> list[Question]:
    """The questions that nobody has answered yet."""
    found = (question_of(each.get("value")) for each in run.interrupts if each["id"] not in run.resume)
    return [question for question in found if question is not None]


def _of_question(question: Question, review: Review | None) -> dict[str, Any]:
    told = question.model_dump(mode="json")
    names = ("review_id", "checkpoint", "title", "subject", "shown", "edit_schema", "ruling", "answers")
    return {
        **{name: told[name] for name in names},
        "saw": question.saw,
        "reviewers": told["reviewers"] if review is None else review.reviewers,
        "group": question.group if review is None else review.group_name,
    }


def _error(run: Run) -> dict[str, Any] | None:
    if run.error is None:
        return None
    refusal: Mapping[str, Any] = run.progress.get("refusal") or {}
    same = refusal.get("code") == run.error.get("code")
    return {**run.error, **({"field": refusal.get("field"), "errors": refusal.get("errors")} if same else {})}
