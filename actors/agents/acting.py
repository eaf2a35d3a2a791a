"""`UseTools`, which makes the calls that a model asked for, and `Act`, an agent whose tools need no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langgraph.types import interrupt

from actors.agents import conversation, review, structured, tool_calls
from actors.agents.node_step import NodeStep, added_by, tools_step_of
from actors.agents.routing import Goto
from actors.agents.tools.tool import ToolResult
from actors.agents.workflow_state import Turn, WorkflowState
from actors.errors import SchemaViolationError, ToolError
from actors.runs.retrying import classify
from actors.runs.step import current
from storage.errors import HyvveError


class UseTools(NodeStep):
    """Makes the calls of the model's last message that nothing has answered, after a person's look where the node
    wants one.
    """

    async def __call__(self, state: WorkflowState) -> Goto:
        turn = self.turn(state) or {}
        _, asked = conversation.unanswered(state.get("messages", []), self.node.id)
        calls, replies, refused = self._reviewed(state, asked, turn)
        if refused is not None:
            return self.goto(tools_step_of(self.node.id), {**turn, "refused": refused}, [])
        scratchpad = state.get("workflow_scratchpad", {})
        results = await tool_calls.made(calls, self.tools, self.workshop.open_context, scratchpad)
        faults = [result.text for result in results if result.error in tool_calls.MODEL_FAULTS]
        turn = self.told(turn, faults)
        messages: list[BaseMessage] = [*replies, *self.replies(calls, results)]
        added, turn = added_by(results, turn)
        turn = {**turn, "refused": None}
        if calls and not faults and self.routing.waits_for_tool_call(self.node.id):
            return self.leave(state, turn, messages, added, called_tools=True)
        return self.goto(self.node.id, turn, messages, state=state, added=added)

    def _reviewed(
        self, state: WorkflowState, calls: list[ToolCall], turn: Turn
    ) -> tuple[list[ToolCall], list[ToolMessage], str | None]:
        """The calls to make, the answers to those that are not made, and why the reviewer's word could not be used."""
        asked = self.node.review
        shown = [] if asked is None or asked.on != "tool_calls" else [
            call for call in calls if not asked.tools or call["name"] in asked.tools
        ]  # fmt: skip
        if asked is None or not shown:
            return calls, [], None
        task = state.get("current_task_description", "")
        question = review.calls_question(
            self.node, task=task, refused=turn.get("refused"), calls=shown, tools=self.tools, steps=self.steps(state)
        )
        decided = review.call_decisions(self.node, interrupt(question), shown)
        if isinstance(decided, review.Refusal):
            return [], [], decided.reason
        made: list[ToolCall] = []
        replies: list[ToolMessage] = []
        for call in calls:
            decision = decided.get(str(call["id"]))
            if decision is None or decision.answer == "approve":
                made.append(call)
            elif decision.answer == "edit":
                edited = ToolCall(name=call["name"], args=decision.args or {}, id=call["id"])
                if wrong := tool_calls.fault_of(edited, self.tools):
                    return [], [], wrong
                made.append(edited)
            elif decision.answer == "reject":
                reason = f": {decision.reason}" if decision.reason else ""
                replies.append(tool_calls.reply(call, f"a person rejected this call{reason}", self.node.id, error=True))
            else:
                replies.append(tool_calls.reply(call, decision.message, self.node.id))
        for call_id, decision in decided.items():
            current().emit(
                "review.answered",
                {"node": self.node.id, "call_id": call_id, "answer": decision.answer, "reason": decision.reason},
            )
        return made, replies, None


class Act(NodeStep):
    """Without a model: uses every allowed tool in order, each with what the scratchpad holds under its arguments'
    names. Its answer is that of the last tool that did its part.
    """

    async def __call__(self, state: WorkflowState) -> Goto:
        turn = self.turn(state) or {}
        scratchpad = dict(state.get("workflow_scratchpad", {}))
        if wrong := self.input_faults(scratchpad):
            raise self.violation("was given a scratchpad that does not satisfy", "input_schema", wrong)
        added: dict[str, Any] = {}
        messages: list[BaseMessage] = []
        results: list[ToolResult] = []
        for name, tool in self.tools.items():
            arguments = {key: scratchpad[key] for key in tool.args_model.model_fields if key in scratchpad}
            call = ToolCall(name=name, args=arguments, id=f"{self.node.id}-{name}-{len(state.get('messages', []))}")
            if fault := tool_calls.fault_of(call, self.tools):
                raise SchemaViolationError(
                    f"node {self.node.id!r} cannot use its tool: {fault} (they come from the scratchpad)",
                    subject=self.node.id,
                )
            [result] = await tool_calls.made([call], self.tools, self.workshop.open_context, scratchpad)
            results.append(result)
            more, turn = added_by([result], turn)
            added |= more
            scratchpad |= more
            messages += [self.stamped(AIMessage("", tool_calls=[call])), *self.replies([call], [result])]
        answer = next((each for each in reversed(results) if each.error is None), results[-1])
        if answer.error is not None and turn.get("signal") is None:
            raise self._failure(results)
        if self.node.output_schema is not None:
            wrong = structured.violations(answer.content, self.node.output_schema)
            if wrong:
                raise self.violation("answered what does not satisfy", "output_schema", wrong)
        messages.append(self.stamped(AIMessage(answer.text)))
        return self.leave(state, turn, messages, {**added, **self.kept(answer.content)}, called_tools=True)

    def _failure(self, results: Sequence[ToolResult]) -> HyvveError:
        """Why no tool did its part: what another try or a person can mend, as it is; else the last tool's word."""
        for result in results:
            if result.cause is not None and classify(result.cause) != "permanent":
                return result.cause
        return ToolError(
            f"no tool of node {self.node.id!r} did its part: {results[-1].text}"[:1000], subject=self.node.id
        )
