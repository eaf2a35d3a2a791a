"""Agent workflows on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, StringConstraints

from actors.agents.builtin import SYSTEM_WALLET
from actors.agents.definition import Payload, Scratchpad
from actors.agents.llms.catalogue import LLMInfo
from actors.agents.workflow_runs import WorkflowOutcome
from serve.schemas.fields import Line, Name, Prose, RunTime
from serve.schemas.runs import Budget
from storage.workflows import Workflow

ThreadId = Annotated[Name, StringConstraints(max_length=200)]


class WorkflowDefinitionIn(BaseModel):
    """A workflow as its author sends it. Faults are named by their JSON path."""

    name: Annotated[Line, StringConstraints(max_length=200)]
    wallet_address: Name
    definition_payload: Payload


class WorkflowAnswer(BaseModel):
    """A workflow. `version` rises with each change; runs keep the one they began with. `is_system`: Hyvve brings it
    along, and nobody changes it; define a fork of it under another wallet.
    """

    workflow_id_api: str
    name: str
    wallet_address: str
    version: int
    definition_payload: dict[str, Any]
    is_system: bool
    created_at: datetime | None
    updated_at: datetime | None


class PriceAnswer(BaseModel):
    """Micro-USD per million tokens."""

    input: int
    output: int
    cached_input: int | None


class LLMAnswer(BaseModel):
    """A language model. `choice` is what `llm_choice` takes; `missing` says what must be configured before it works."""

    choice: str
    provider: str
    model: str
    available: bool
    missing: str | None
    price: PriceAnswer | None


class RunRequest(BaseModel):
    """A task for a workflow. The same `thread_id` continues that thread, its conversation and its scratchpad.

    `wallet_address` is whose rights the agents' tools have; without one they see what everybody sees and change
    nothing. `queue`: on a thread with an unfinished run wait for its end, where it would be a 409.
    """

    task_description: Prose
    initial_scratchpad: Scratchpad | None = None
    thread_id: ThreadId | None = None
    wallet_address: Name | None = None
    queue: bool = False
    deadline_s: RunTime | None = None
    budget: Budget | None = None


class MessageAnswer(BaseModel):
    """A message of the conversation; `tool_call_id` and `status` are a tool's alone."""

    content: Any
    type: str
    name: str | None
    id: str | None
    tool_calls: list[dict[str, Any]]
    invalid_tool_calls: list[dict[str, Any]]
    additional_kwargs: dict[str, Any]
    response_metadata: dict[str, Any]
    usage_metadata: dict[str, Any] | None
    tool_call_id: str | None = None
    status: str | None = None


class FinalState(BaseModel):
    messages: list[MessageAnswer]
    agent_name: str | None
    workflow_scratchpad: dict[str, Any]
    current_task_description: str | None


class QuestionAnswer(BaseModel):
    """What a person is asked. Where `value` names a `review_id`, `POST /teams/reviews/{review_id}/decide` answers it
    and nothing else does; any other is answered by `POST /runs/{run_id}/resume` under its id.
    """

    id: str
    step: str | None
    value: Any


class RunOutcome(BaseModel):
    """What came of a run. `final_state` is what there is, also while it goes on and after an error; `message` is what
    the last agent said, or why there is nothing.
    """

    thread_id: str
    status: Literal["COMPLETED", "ERROR", "PENDING", "AWAITING_HUMAN"]
    message: str
    final_state: FinalState
    run_id: UUID
    error: dict[str, Any] | None
    interrupts: list[QuestionAnswer]


def of_workflow(workflow: Workflow) -> dict[str, Any]:
    return {
        "workflow_id_api": workflow.workflow_id_api,
        "name": workflow.name,
        "wallet_address": workflow.wallet_address,
        "version": workflow.version,
        "definition_payload": workflow.payload,
        "is_system": workflow.wallet_address == SYSTEM_WALLET,
        "created_at": workflow.created_at,
        "updated_at": workflow.updated_at,
    }


def of_llm(info: LLMInfo) -> dict[str, Any]:
    price = info.price
    return {
        "choice": info.choice,
        "provider": info.provider,
        "model": info.model,
        "available": info.available,
        "missing": info.missing,
        "price": None
        if price is None
        else {"input": price.input, "output": price.output, "cached_input": price.cached_input},
    }


def of_outcome(outcome: WorkflowOutcome) -> dict[str, Any]:
    return {
        "thread_id": outcome.thread_id,
        "status": outcome.status,
        "message": outcome.message,
        "final_state": outcome.final_state,
        "run_id": outcome.run_id,
        "error": outcome.error,
        "interrupts": list(outcome.interrupts),
    }
