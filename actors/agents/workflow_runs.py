"""Runs of workflows in the engine: accepted with the definition they began with, and told as clients read them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from actors.agents.definition import WorkflowDefinition
from actors.agents.documents import MAX_SCRATCHPAD_BYTES, size_of
from actors.agents.state_keys import STATE_KEYS
from actors.errors import RunConflictError, RunInputError
from actors.kind_names import WORKFLOW
from actors.runs.service import Runs
from storage.runs import Run
from storage.workflows import Workflow

if TYPE_CHECKING:
    from actors.agents.reached_states import ReachedStates

Status = Literal["COMPLETED", "ERROR", "PENDING", "AWAITING_HUMAN"]

# Of the keys that a state does not have: a body holds a hundred thousand.
_TOLD = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOutcome:
    """What a run came to, as `POST /agent-workflows/run` tells it. `final_state` is what there is, also after an error.

    `run_id` is none where it ran alone, `interrupts` what it waits for while a person is awaited.
    """

    thread_id: str
    status: Status
    message: str
    final_state: dict[str, Any]
    run_id: UUID | None = None
    error: dict[str, Any] | None = None
    interrupts: tuple[dict[str, Any], ...] = ()


class WorkflowRuns:
    """Of one database. Belongs to the event loop it is used in; `runs` stays the caller's to close."""

    def __init__(self, runs: Runs, database_url: str) -> None:
        self._runs = runs
        self._database_url = database_url
        self._opening = asyncio.Lock()
        self._states: ReachedStates | None = None

    async def start(
        self,
        workflow: Workflow,
        task_description: str,
        *,
        initial_scratchpad: Mapping[str, Any] | None = None,
        thread_id: str | None = None,
        owner: str | None = None,
        run_id: UUID | None = None,
        queue: bool = False,
        deadline_s: float | None = None,
        budget: Mapping[str, int] | None = None,
    ) -> Run:
        """Accept a run of this version of the workflow; what becomes of the definition later does not touch it.

        Raises `RunInputError`, and what `last_on` and `Runs.start` raise.
        """
        given = {"task_description": task_description, "initial_scratchpad": dict(initial_scratchpad or {})}
        check_input(WorkflowDefinition.model_validate(workflow.payload), given)
        if thread_id is not None:
            await self.last_on(thread_id)
        spec = {
            "workflow_id_api": workflow.workflow_id_api,
            "name": workflow.name,
            "version": workflow.version,
            "definition": workflow.payload,
        }
        return await self._runs.start(
            WORKFLOW,
            spec,
            given,
            owner=owner,
            thread_id=thread_id,
            run_id=run_id,
            queue=queue,
            deadline_s=deadline_s,
            budget=budget,
        )

    async def last_on(self, thread_id: str) -> Run | None:
        """The newest run of the thread, or none. Raises `RunConflictError` where no workflow runs on it but something
        else, whose state a workflow would spoil.
        """
        found = await self._runs.list(thread_id=thread_id, limit=1, light=True)
        if found and found[0].kind != WORKFLOW:
            raise RunConflictError(
                f"thread {thread_id!r} is not a workflow's: leave thread_id out, or choose another", subject=thread_id
            )
        return found[0] if found else None

    async def outcome(self, run_id: UUID, *, wait_s: float = 0.0) -> WorkflowOutcome:
        """How the run stands, once it is ended or waits for a person, or after `wait_s` seconds."""
        run = await (self._runs.wait(run_id, wait_s) if wait_s > 0 else self._runs.get(run_id))
        waiting = tuple(
            {"id": each["id"], "step": each.get("step"), "value": each.get("value")}
            for each in run.interrupts
            if run.status == "waiting" and each["id"] not in run.resume
        )
        status = _status(run, waiting=bool(waiting))
        state = run.output if run.output is not None else await self._reached(run)
        return WorkflowOutcome(
            run_id=run.run_id,
            thread_id=run.thread_id,
            status=status,
            message=_message(run, status, state),
            final_state=state,
            error=None if run.error is None else {**run.error, "step": run.step},
            interrupts=waiting,
        )

    async def close(self) -> None:
        if self._states is not None:
            await self._states.close()

    async def _reached(self, run: Run) -> dict[str, Any]:
        """The state of a run that has not come to its end."""
        async with self._opening:
            if self._states is None:
                # LangGraph and LangChain are seconds to load: beside the event loop, and not before somebody asks.
                await asyncio.to_thread(import_module, "actors.agents.reached_states")
                from actors.agents.reached_states import ReachedStates  # noqa: PLC0415

                self._states = await ReachedStates.open(self._database_url)
        return await self._states.of(run)


def check_input(definition: WorkflowDefinition, given: Mapping[str, Any]) -> None:
    """Raises `RunInputError` for a scratchpad that is too large, or lacks what the workflow needs."""
    scratchpad = given["initial_scratchpad"]
    faults = [
        {
            "path": f"$.initial_scratchpad.{key}",
            "message": f"the workflow {definition.name!r} needs it",
            "code": "missing",
        }
        for key in definition.inputs
        if key not in scratchpad
    ]
    if (size := size_of(scratchpad)) > MAX_SCRATCHPAD_BYTES:
        sentence = f"has {size:,} bytes as JSON; the limit is {MAX_SCRATCHPAD_BYTES:,}"
        faults.append({"path": "$.initial_scratchpad", "message": sentence, "code": "too_large"})
    if faults:
        raise RunInputError("; ".join(f"{each['path']}: {each['message']}" for each in faults[:5]), errors=faults)


def check_fork(_: Run, given: Mapping[str, Any]) -> None:
    """Raises `RunInputError` for what a workflow's state does not have; LangGraph would ignore it without a word."""
    known = ", ".join(STATE_KEYS)
    faults = [
        {"path": f"$.input.{key}", "message": f"is not in a workflow's state, which has {known}", "code": "unknown"}
        for key in sorted(given.keys() - set(STATE_KEYS))[:_TOLD]
    ]
    if faults:
        raise RunInputError("; ".join(f"{each['path']}: {each['message']}" for each in faults[:5]), errors=faults)


def said_last(state: Mapping[str, Any]) -> str:
    """What the last agent said, of a final state: the run's message."""
    for message in reversed(state.get("messages", [])):
        if message["type"] == "ai" and str(message["content"]).strip():
            return str(message["content"])
    return "the workflow is completed"


def _status(run: Run, *, waiting: bool) -> Status:
    if run.status == "completed":
        return "COMPLETED"
    if run.status in ("failed", "cancelled"):
        return "ERROR"
    return "AWAITING_HUMAN" if waiting else "PENDING"


def _message(run: Run, status: Status, state: Mapping[str, Any]) -> str:
    match status:
        case "COMPLETED":
            return said_last(state)
        case "ERROR" if run.error is not None:
            return str(run.error["message"])
        case "ERROR":
            return f"the run was {run.status}"
        case "AWAITING_HUMAN":
            return f"a person's answer is awaited: see run {run.run_id}"
        case "PENDING":
            return f"the run goes on: follow run {run.run_id}"
