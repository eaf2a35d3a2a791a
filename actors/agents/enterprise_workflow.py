"""`EnterpriseWorkflowManager`: compiles workflow definitions and runs them, inside the run engine or alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import orjson
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from pydantic import TypeAdapter

from actors.agents import graph
from actors.agents.agent import Workshop
from actors.agents.definition import Payload, WorkflowDefinition
from actors.agents.documents import MAX_SCRATCHPAD_BYTES, size_of
from actors.agents.validation import Known, check
from actors.agents.workflow_state import Status, WorkflowState, begun, final_state
from actors.errors import RunInputError, UnknownLLMError
from actors.runs.retrying import classify, described
from actors.runs.step import StepContext, entered
from storage.errors import HyvveError

Compiled = CompiledStateGraph[WorkflowState, Any, WorkflowState, WorkflowState]

# Compiled graphs kept; a definition's compilation costs some milliseconds.
_KEPT = 100
_PAYLOAD: TypeAdapter[WorkflowDefinition] = TypeAdapter(Payload)


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


class EnterpriseWorkflowManager:
    """Belongs to the event loop of its workshop's models. With a `checkpointer`, threads go on where they were."""

    def __init__(self, workshop: Workshop, *, checkpointer: BaseCheckpointSaver[Any] | None = None) -> None:
        self._workshop = workshop
        self._checkpointer = checkpointer
        self._compiled: OrderedDict[bytes, Compiled] = OrderedDict()

    @property
    def known(self) -> Known:
        """What definitions may name here."""
        return known_to(self._workshop)

    def check(self, definition: WorkflowDefinition) -> None:
        """Raises `DefinitionFaultsError` naming every fault by its JSON path."""
        check(definition, self.known)

    def compile(self, definition: WorkflowDefinition) -> Compiled:
        """The definition as a graph, ready to be run. Raises `DefinitionFaultsError`."""
        key = definition.model_dump_json().encode()
        compiled = self._compiled.get(key)
        if compiled is None:
            self.check(definition)
            built = graph.build(definition, self._workshop)
            compiled = self._compiled[key] = built.compile(checkpointer=self._checkpointer, name=definition.name)
        self._compiled.move_to_end(key)
        if len(self._compiled) > _KEPT:
            self._compiled.popitem(last=False)
        return compiled

    async def run_workflow(
        self,
        definition: WorkflowDefinition | Mapping[str, Any],
        task_description: str,
        *,
        initial_scratchpad: Mapping[str, Any] | None = None,
        thread_id: str | None = None,
        wallet: str | None = None,
    ) -> WorkflowOutcome:
        """Run it here, now, to its end. What fails within it is an outcome of status ERROR that says what and why.

        `wallet` is whose rights its tools have. Raises `DefinitionFaultsError`, `RunInputError`, or pydantic's
        `ValidationError` for a mapping that is no definition.
        """
        if not isinstance(definition, WorkflowDefinition):
            definition = _PAYLOAD.validate_python(definition)
        compiled = self.compile(definition)
        given = {"task_description": task_description, "initial_scratchpad": dict(initial_scratchpad or {})}
        check_input(definition, given)
        thread_id = thread_id or str(uuid4())
        config: Any = {"configurable": {"thread_id": thread_id}, "recursion_limit": 10 * definition.recursion_limit}
        values: dict[str, Any] = {}
        try:
            with entered(StepContext(thread_id=thread_id, owner=wallet)):
                async for reached in compiled.astream(begun(given), config, stream_mode="values"):
                    values = reached
        except HyvveError as error:
            return WorkflowOutcome(
                thread_id=thread_id,
                status="ERROR",
                message=error.message,
                final_state=final_state(values),
                error=described(error, classify(error)),
            )
        waiting = tuple({"id": each.id, "value": each.value} for each in values.get("__interrupt__", ()))
        return WorkflowOutcome(
            thread_id=thread_id,
            status="AWAITING_HUMAN" if waiting else "COMPLETED",
            message="a person's answer is awaited" if waiting else said_last(values),
            final_state=final_state(values),
            interrupts=waiting,
        )


def known_to(workshop: Workshop) -> Known:
    """What definitions may name: the tools and the models there are, whether their keys are there or not."""

    def llm(choice: str) -> bool:
        try:
            workshop.llms.check(choice)
        except UnknownLLMError:
            return False
        return True

    return Known(llm=llm, tools=frozenset(workshop.tools), llms=workshop.llms.choices())


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
    try:
        size = size_of(scratchpad)
    except orjson.JSONEncodeError as error:
        raise RunInputError(f"the initial scratchpad cannot be kept as JSON: {error}") from error
    if size > MAX_SCRATCHPAD_BYTES:
        sentence = f"has {size:,} bytes as JSON; the limit is {MAX_SCRATCHPAD_BYTES:,}"
        faults.append({"path": "$.initial_scratchpad", "message": sentence, "code": "too_large"})
    if faults:
        raise RunInputError("; ".join(f"{each['path']}: {each['message']}" for each in faults[:5]), errors=faults)


def said_last(values: Mapping[str, Any]) -> str:
    """What the last agent said: the run's message."""
    for message in reversed(values.get("messages", [])):
        if message.type == "ai" and message.text.strip():
            return str(message.text)
    return "the workflow is completed"
