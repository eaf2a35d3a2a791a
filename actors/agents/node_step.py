"""What the steps of a workflow's node share. Each is a step of its own in the run:

    NODE ── calls ──> NODE/tools ──┐        NODE ── an answer to review ──> NODE/review ── edges
      ^ └── an answer ── edges     │          ^                                  │
      └────────────────────────────┘          └────────── a response ────────────┘

A model that has answered is not asked again because a tool or a person comes after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langgraph.types import Command

from actors.agents import conditions, structured, tool_calls
from actors.agents.conditions import SIGNAL_KEY
from actors.agents.definition import AgentConfig, Node, WorkflowDefinition
from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.routing import Goto, Routing
from actors.agents.tool_calls import OpenContext
from actors.agents.tools.tool import Tool, ToolResult
from actors.agents.workflow_state import NODE_KEY, Turn, WorkflowState, check_entered, merged_scratchpad
from actors.errors import RecursionLimitError, SchemaViolationError, UnknownToolError
from actors.runs.step import current


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What agents work with: the models, the tools by name, and what makes a tool call's context."""

    llms: LLMCatalogue
    tools: Mapping[str, Tool[Any]]
    open_context: OpenContext


class NodeStep(ABC):
    """A step of one node. Holds no state of its own: runs at once share it."""

    def __init__(self, definition: WorkflowDefinition, node: Node, routing: Routing, workshop: Workshop) -> None:
        self.node = node
        self.agent: AgentConfig = definition.agents[node.agent_config_name]
        self.tools = self._allowed(workshop)
        self.routing = routing
        self.workshop = workshop
        self._limit = definition.recursion_limit

    def _allowed(self, workshop: Workshop) -> dict[str, Tool[Any]]:
        allowed = self.agent.allowed_tools
        if gone := [name for name in allowed if name not in workshop.tools]:
            raise UnknownToolError(
                f"agent {self.agent.name!r} may use {', '.join(map(repr, gone))}, which is not there (any more); there "
                f"are: {', '.join(workshop.tools)}",
                subject=gone[0],
            )
        return {name: workshop.tools[name] for name in allowed}

    @abstractmethod
    async def __call__(self, state: WorkflowState) -> Goto:
        """Do the step, and say where the run goes on."""

    def turn(self, state: WorkflowState) -> Turn | None:
        """The node's turn as it stands; `None` where it is just entered. Raises `RecursionLimitError`, and
        `ScratchpadTooLargeError` where it is entered with too much.
        """
        progress = state.get("workflow_progress", {})
        if progress.get("steps", 0) >= self._limit:
            raise RecursionLimitError(
                f"the run took {self._limit} steps without coming to an end; its workflow's recursion_limit is "
                f"{self._limit}",
                subject=self.node.id,
            )
        turn = progress.get("turns", {}).get(self.node.id)
        if turn is None:
            check_entered(state.get("workflow_scratchpad", {}), by=self.node.id)
        return turn

    def told(self, turn: Turn, faults: Sequence[str]) -> Turn:
        """The turn in which the model is told of calls that cannot be made, if any. Raises `ToolCallError` where it was
        told before, in this attempt of the run: a retry, and a fork, have it told and asked anew.
        """
        if not faults:
            return turn
        attempt = attempt_of_run()
        if turn.get("told") == attempt:
            raise tool_calls.refused_again(self.node.id, faults)
        return {**turn, "told": attempt}

    def steps(self, state: WorkflowState) -> int:
        """How many steps the run took before this one."""
        return state.get("workflow_progress", {}).get("steps", 0)

    def input_faults(self, scratchpad: Mapping[str, Any]) -> list[str]:
        """What of `input_schema` the scratchpad does not satisfy."""
        schema = self.node.input_schema
        return [] if schema is None else structured.violations(scratchpad, schema)

    def violation(self, what: str, name: str, wrong: Sequence[str]) -> SchemaViolationError:
        return SchemaViolationError(
            f"node {self.node.id!r} {what} its {name}: {'; '.join(wrong)}", subject=self.node.id, violations=list(wrong)
        )

    def stamped(self, message: AIMessage) -> AIMessage:
        """Marked as this node's, so that each agent later sees its own calls and the others' words."""
        marked = {**message.additional_kwargs, NODE_KEY: self.node.id}
        return message.model_copy(update={"additional_kwargs": marked, "name": self.agent.name})

    def kept(self, output: Any) -> dict[str, Any]:
        """The output as the scratchpad keeps it."""
        return {} if self.node.kept_as is None else {self.node.kept_as: output}

    def replies(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[ToolMessage]:
        return [
            tool_calls.reply(call, result.text, self.node.id, error=result.error is not None)
            for call, result in zip(calls, results, strict=True)
        ]

    def goto(
        self,
        step: str,
        turn: Turn,
        messages: Sequence[BaseMessage],
        *,
        state: WorkflowState | None = None,
        added: Mapping[str, Any] | None = None,
    ) -> Goto:
        """To another step of the same turn; what is `added` goes to the scratchpad of `state`."""
        update: WorkflowState = {
            "messages": list(messages),
            "agent_name": self.agent.name,
            "workflow_progress": {"steps": 1, "turns": {self.node.id: turn}},
        }
        if added:
            merged_scratchpad((state or {}).get("workflow_scratchpad", {}), added, by=self.node.id)
            update["workflow_scratchpad"] = dict(added)
        return Command(update=update, goto=step)

    def leave(
        self,
        state: WorkflowState,
        turn: Turn,
        messages: Sequence[BaseMessage],
        added: Mapping[str, Any],
        *,
        called_tools: bool,
    ) -> Goto:
        """The turn ends: along the edges that hold."""
        signal = turn.get("signal")
        added = {**added, **({SIGNAL_KEY: signal} if signal is not None else {})}
        scratchpad = merged_scratchpad(state.get("workflow_scratchpad", {}), added, by=self.node.id)
        ended = conditions.Turn(called_tools=called_tools, signal=signal, scratchpad=scratchpad)
        targets = self.routing.taken(self.node.id, ended)
        current().emit("step.routed", {"node": self.node.id, "to": targets or ["END"], "signal": signal})
        moved = self.routing.moved(self.node.id, targets, state.get("workflow_progress", {}))
        update: WorkflowState = {
            "messages": list(messages),
            "agent_name": self.agent.name,
            "workflow_scratchpad": dict(added),
            "workflow_progress": {**moved, "steps": 1},
        }
        return Command(update=update, goto=[self.routing.enter(target) for target in targets])


def attempt_of_run() -> str:
    """A name for this attempt of this run, which neither a retry nor a fork of it has."""
    step = current()
    return f"{step.run_id} {step.run_attempt}"


def tools_step_of(node_id: str) -> str:
    """The graph's name of the step that makes an agent's tool calls. No node id holds a "/"."""
    return f"{node_id}/tools"


def review_step_of(node_id: str) -> str:
    """The graph's name of the step that waits for a person's word on an answer."""
    return f"{node_id}/review"


def added_by(results: Sequence[ToolResult], turn: Turn) -> tuple[dict[str, Any], Turn]:
    """What tools add to the scratchpad, and the turn with the signal that they give."""
    added: dict[str, Any] = {}
    for result in results:
        added |= result.scratchpad
    return added, {**turn, "signal": tool_calls.signal_in(added) or turn.get("signal")}
