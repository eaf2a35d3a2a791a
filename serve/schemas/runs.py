"""Runs on the wire: how they stand, what they told, what they wait for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel

from actors.agents.definition import Kept, Scratchpad
from actors.reviews.teams import blindness
from actors.runs.events import FollowedEvent
from actors.runs.forking import CheckpointInfo
from serve.schemas.fields import I64_MAX, Name, RunTime
from storage.run_events import RunEvent
from storage.runs import Run

Status = Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]


class RunSummary(BaseModel):
    """A run in a list. `step` is the node at work, or the one that failed; `steps` how many were completed."""

    run_id: UUID
    thread_id: str
    kind: str
    owner: str | None
    status: Status
    step: str | None
    steps: int
    progress: dict[str, Any]
    attempt: int
    error: dict[str, Any] | None
    usage: dict[str, Any]
    pending_interrupts: int
    last_event: int
    parent_run_id: UUID | None
    forked_from: str | None
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    ended_at: datetime | None
    deadline_at: datetime | None
    wake_at: datetime | None


class Interrupt(BaseModel):
    """A question that the run waits for. Where `value` names a `review_id` it is answered by
    `POST /teams/reviews/{review_id}/decide` (a resume is a 409), otherwise by its `id`, `POST /runs/{run_id}/resume`.
    """

    id: str
    step: str | None
    value: Any
    answered: bool


class RunAnswer(RunSummary):
    """A run as it stands. `error` is {code, message, step, class, retryable}. `withheld` says what is not told yet, and
    why: of a blind comparison, before it is picked.
    """

    input: dict[str, Any]
    withheld: str | None
    output: dict[str, Any] | None
    budget: dict[str, Any]
    interrupts: list[Interrupt]


class EventAnswer(BaseModel):
    """One event. `seq` numbers the run's events from 1 without a gap; it is null for what is shown once and not kept,
    such as an LLM's tokens.
    """

    seq: int | None
    type: str
    step: str | None
    at: datetime
    data: dict[str, Any]


class CheckpointAnswer(BaseModel):
    """A state that the run can be forked from. `step` is the superstep, -1 of the input's own."""

    checkpoint_id: str
    parent_id: str | None
    step: int
    source: str
    at: datetime


class Answers(BaseModel):
    """Answers by the id of the interrupt that each belongs to; several may be given at once, or one by one."""

    answers: Annotated[dict[Name, Kept], MinLen(1), MaxLen(1000)]


class Budget(BaseModel):
    """What a run may use before it is stopped."""

    max_cost_micro_usd: Annotated[int, Ge(0), Le(I64_MAX)] | None = None
    max_tokens: Annotated[int, Ge(0), Le(I64_MAX)] | None = None


class Retry(BaseModel):
    """How long the run may take from now on: as long as it was given before, where nothing else is said. `budget`
    replaces the one that the run has; what it has used counts against either.
    """

    deadline_s: RunTime | None = None
    budget: Budget | None = None


class Fork(BaseModel):
    """Where the new run begins: a checkpoint of the old one, by default its last. `input` is merged into its state.
    `budget` is the new run's: where nothing else is said, what was left of the old one's at that checkpoint.
    """

    checkpoint_id: Name | None = None
    input: Scratchpad | None = None
    budget: Budget | None = None


def budget_of(asked: Budget | None) -> dict[str, int] | None:
    """As the engine takes it; `None` where nothing was said."""
    return None if asked is None else asked.model_dump(exclude_none=True)


def of_summary(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "kind": run.kind,
        "owner": run.owner,
        "status": run.status,
        "step": run.step,
        "steps": run.steps,
        "progress": run.progress,
        "attempt": run.attempt,
        "error": run.error,
        "usage": blindness.usage_of(run),
        "pending_interrupts": len([each for each in run.interrupts if each["id"] not in run.resume]),
        "last_event": run.event_seq,
        "parent_run_id": run.parent_run_id,
        "forked_from": run.forked_from,
        "cancel_requested": run.cancel_requested_at is not None,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "updated_at": run.updated_at,
        "ended_at": run.ended_at,
        "deadline_at": run.deadline_at,
        "wake_at": run.wake_at,
    }


def of_run(run: Run) -> dict[str, Any]:
    return {
        **of_summary(run),
        "input": blindness.input_of(run),
        "withheld": blindness.withheld(run),
        "output": run.output,
        "budget": run.budget,
        "interrupts": [_of_interrupt(each, run.resume) for each in run.interrupts],
    }


def _of_interrupt(interrupt: Mapping[str, Any], resume: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": interrupt["id"],
        "step": interrupt.get("step"),
        "value": interrupt.get("value"),
        "answered": interrupt["id"] in resume,
    }


def of_event(run: Run, event: RunEvent | FollowedEvent) -> dict[str, Any]:
    event = blindness.event_of(run, event)
    return {"seq": event.seq, "type": event.type, "step": event.step, "at": event.at, "data": event.data}


def of_checkpoint(checkpoint: CheckpointInfo) -> dict[str, Any]:
    return {
        "checkpoint_id": checkpoint.checkpoint_id,
        "parent_id": checkpoint.parent_id,
        "step": checkpoint.step,
        "source": checkpoint.source,
        "at": checkpoint.at,
    }
