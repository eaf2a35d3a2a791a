"""`EnterpriseWorkflowManager`: compiles workflow definitions and runs them, inside the run engine or alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from pydantic import TypeAdapter

from actors.agents import graph
from actors.agents.definition import Payload, WorkflowDefinition
from actors.agents.node_step import Workshop
from actors.agents.validation import Known, check, known_among
from actors.agents.workflow_runs import WorkflowOutcome, WorkflowRuns, check_input, said_last
from actors.agents.workflow_state import WorkflowState, begun, completed, final_state
from actors.errors import RunConflictError
from actors.runs.retrying import classify, described
from actors.runs.step import StepContext, entered
from storage.errors import HyvveError
from storage.workflows import Workflow

Compiled = CompiledStateGraph[WorkflowState, Any, WorkflowState, WorkflowState]

# Compiled graphs kept; a definition's compilation costs some milliseconds.
_KEPT = 100
_PAYLOAD: TypeAdapter[WorkflowDefinition] = TypeAdapter(Payload)


class EnterpriseWorkflowManager:
    """Belongs to the event loop of its workshop's models.

    With `runs` what it runs is accepted by the engine and survives this process. Alone it runs here; a `checkpointer`
    then lets threads go on where they were, and lets reviews be answered.
    """

    def __init__(
        self,
        workshop: Workshop,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        runs: WorkflowRuns | None = None,
    ) -> None:
        self._workshop = workshop
        self._checkpointer = checkpointer
        self._runs = runs
        self._compiled: OrderedDict[bytes, Compiled] = OrderedDict()

    @property
    def known(self) -> Known:
        """What definitions may name here."""
        return known_among(self._workshop.llms, self._workshop.tools)

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
        wait_s: float = 600.0,
    ) -> WorkflowOutcome:
        """Run it to its end, or until a person is awaited; in the engine, for `wait_s` seconds at most. What fails
        within it is an outcome of status ERROR that says what and why.

        `wallet` is whose rights its tools have. Raises `DefinitionFaultsError`, `RunInputError`, what `Runs.start`
        raises, or pydantic's `ValidationError` for a mapping that is no definition.
        """
        if not isinstance(definition, WorkflowDefinition):
            definition = _PAYLOAD.validate_python(definition)
        if self._runs is not None:
            self.check(definition)
            workflow = Workflow.of(definition.name, definition.model_dump(mode="json"), wallet=wallet or "")
            run = await self._runs.start(
                workflow, task_description, initial_scratchpad=initial_scratchpad, thread_id=thread_id, owner=wallet
            )
            return await self._runs.outcome(run.run_id, wait_s=wait_s)
        compiled = self.compile(definition)
        given = {"task_description": task_description, "initial_scratchpad": dict(initial_scratchpad or {})}
        check_input(definition, given)
        return await self._run(definition, compiled, begun(given), thread_id or str(uuid4()), wallet)

    async def resume_workflow(
        self,
        definition: WorkflowDefinition,
        thread_id: str,
        answers: Mapping[str, Any] | str,
        *,
        wallet: str | None = None,
    ) -> WorkflowOutcome:
        """Go on with a thread that ran alone and awaits a person, by answers to the ids of its interrupts; those that
        are not answered go on waiting. One word alone answers the only interrupt there is. In the engine that is
        `Runs.resume`.

        All answers are taken or none. Raises `RunConflictError` for an id that the thread does not wait for, for a word
        where several interrupts wait, and where none does.
        """
        compiled = self.compile(definition)
        waiting = await self._waiting(compiled, thread_id)
        if not waiting:
            raise RunConflictError(f"thread {thread_id!r} waits for no answer", subject=thread_id)
        there = ", ".join(waiting)
        if isinstance(answers, str):
            if len(waiting) > 1:
                raise RunConflictError(
                    f"thread {thread_id!r} waits for {len(waiting)} answers, and one was given to none of them: answer "
                    f"by their ids, {there}",
                    subject=thread_id,
                )
            answers = {waiting[0]: answers}
        unknown = sorted(answers.keys() - set(waiting))
        if unknown or not answers:
            said = f"does not wait for {', '.join(unknown)[:300]}" if unknown else "was given no answer"
            raise RunConflictError(f"thread {thread_id!r} {said}: it waits for {there}", subject=thread_id)
        return await self._run(definition, compiled, Command(resume=dict(answers)), thread_id, wallet)

    async def _waiting(self, compiled: Compiled, thread_id: str) -> list[str]:
        """The ids of the thread's interrupts that nobody has answered."""
        if self._checkpointer is None:
            return []
        state = await compiled.aget_state({"configurable": {"thread_id": thread_id}})
        return [each.id for task in state.tasks if not task.result for each in task.interrupts]

    async def _run(
        self, definition: WorkflowDefinition, compiled: Compiled, given: Any, thread_id: str, wallet: str | None
    ) -> WorkflowOutcome:
        config: Any = {"configurable": {"thread_id": thread_id}, "recursion_limit": 10 * definition.recursion_limit}
        # A step goes on only when the one before it is kept: otherwise a crash would do it, and pay for it, twice.
        kept: Any = {} if self._checkpointer is None else {"durability": "sync"}
        values: dict[str, Any] = {}
        # Branches that run at once ask one after the other.
        asked: dict[str, Any] = {}
        try:
            with entered(StepContext(thread_id=thread_id, owner=wallet)):
                async for reached in compiled.astream(given, config, stream_mode="values", **kept):
                    asked |= {each.id: each.value for each in reached.get("__interrupt__", ())}
                    values = {**values, **reached}
            state = final_state(values) if asked else completed(values)
        except HyvveError as error:
            return WorkflowOutcome(
                thread_id=thread_id,
                status="ERROR",
                message=error.message,
                final_state=final_state(values),
                error=described(error, classify(error)),
            )
        waiting = tuple({"id": id_, "value": value} for id_, value in asked.items())
        return WorkflowOutcome(
            thread_id=thread_id,
            status="AWAITING_HUMAN" if waiting else "COMPLETED",
            message="a person's answer is awaited" if waiting else said_last(state),
            final_state=state,
            interrupts=waiting,
        )
