"""A node of a workflow at work: its agent's model is asked, its tools are used, a person looks, and it goes on.

    NODE ── calls ──> NODE/tools ──┐        NODE ── an answer to review ──> NODE/review ── edges
      ^ └── an answer ── edges     │          ^                                  │
      └────────────────────────────┘          └────────── a response ────────────┘

Each box is a step of its own: a model that has answered is not asked again because a tool or a person comes after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langgraph.types import Command, interrupt

from actors.agents import conditions, conversation, review, structured, tool_calls
from actors.agents.conditions import SIGNAL_KEY
from actors.agents.definition import NO_LLM, AgentConfig, Node, WorkflowDefinition
from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.routing import Goto, Routing
from actors.agents.templates import fill
from actors.agents.tool_calls import OpenContext
from actors.agents.tools.tool import Tool, ToolResult
from actors.agents.validation import signals_of
from actors.agents.workflow_state import NODE_KEY, Turn, WorkflowState, merged_scratchpad
from actors.errors import LLMError, RecursionLimitError, ReviewRejectedError, SchemaViolationError, ToolError
from actors.runs.step import current


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What agents work with: the models, the tools by name, and what makes a tool call's context."""

    llms: LLMCatalogue
    tools: Mapping[str, Tool[Any]]
    open_context: OpenContext


class AgentNode:
    """The steps of one node. Holds no state of its own: runs at once share it."""

    def __init__(self, definition: WorkflowDefinition, node: Node, routing: Routing, workshop: Workshop) -> None:
        self.node = node
        self._agent: AgentConfig = definition.agents[node.agent_config_name]
        self._limit = definition.recursion_limit
        self._routing = routing
        self._workshop = workshop
        self._signals = signals_of(definition, node.id)
        self._tools = {name: workshop.tools[name] for name in self._agent.allowed_tools}
        self.thinks = self._agent.llm_choice != NO_LLM
        self.tools_step = f"{node.id}/tools"
        self.review_step = f"{node.id}/review"

    # ── the steps ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def think(self, state: WorkflowState) -> Goto:
        """Ask the model once (twice where its answer does not satisfy the schema), and see what it wants."""
        turn = self._turn(state)
        prompt = conversation.prompt(self._instructions(state), state.get("messages", []), self.node.id)
        message = await self._ask(prompt, with_tools=True)
        calls = tool_calls.screened(message, self._tools, self._signals, self.node.id)
        if calls.faults and turn.get("told"):
            raise tool_calls.refused_again(self.node.id, calls.faults)
        turn = {**turn, "told": bool(turn.get("told") or calls.faults), "signal": calls.signal or turn.get("signal")}
        messages: list[BaseMessage] = [message, *calls.replies]
        if calls.calls:
            return self._goto(self.tools_step, turn, messages)
        if calls.faults or (calls.replies and not message.text.strip()):
            return self._goto(self.node.id, turn, messages)
        if self.node.output_schema is None:
            return self._answered(state, turn, messages, str(message.text))
        if calls.replies:
            # The repair's question must follow the tools' answers.
            prompt = [*prompt, message, *calls.replies]
        output, final = await self._valid_output(prompt, message)
        return self._answered(state, turn, [*messages, *([final] if final is not message else [])], output)

    async def use_tools(self, state: WorkflowState) -> Goto:
        """Make the calls that the model's last message asks for and nothing has answered, after a person's look where
        the node wants one.
        """
        turn = self._turn(state)
        _, calls = conversation.unanswered(state.get("messages", []), self.node.id)
        calls, replies, refused = self._reviewed_calls(state, calls, turn)
        if refused is not None:
            return self._goto(self.tools_step, {**turn, "refused": refused}, [])
        scratchpad = state.get("workflow_scratchpad", {})
        results = await tool_calls.made(calls, self._tools, self._workshop.open_context, scratchpad)
        faults = [
            f"{call['name']}: {result.text}" for call, result in zip(calls, results, strict=True) if _is_fault(result)
        ]
        if faults and turn.get("told"):
            raise tool_calls.refused_again(self.node.id, faults)
        messages: list[BaseMessage] = [*replies, *self._replies(calls, results)]
        added, turn = self._added(results, turn)
        turn = {**turn, "told": bool(turn.get("told") or faults), "refused": None}
        if calls and not faults and self._routing.waits_for_tool_call(self.node.id):
            return self._leave(state, turn, messages, added, called_tools=True)
        return self._goto(self.node.id, turn, messages, merged=added, state=state)

    async def act(self, state: WorkflowState) -> Goto:
        """Without a model: use every allowed tool in order, each with what the scratchpad holds under its arguments'
        names.
        """
        turn = self._turn(state)
        scratchpad = dict(state.get("workflow_scratchpad", {}))
        added: dict[str, Any] = {}
        messages: list[BaseMessage] = []
        results: list[ToolResult] = []
        for name, tool in self._tools.items():
            arguments = {key: scratchpad[key] for key in tool.args_model.model_fields if key in scratchpad}
            call = ToolCall(name=name, args=arguments, id=f"{self.node.id}-{name}-{len(state.get('messages', []))}")
            wanted = AIMessage("", tool_calls=[call])
            screened = tool_calls.screened(wanted, self._tools, (), self.node.id)
            if screened.faults:
                raise SchemaViolationError(
                    f"node {self.node.id!r} cannot use its tool: {screened.faults[0]} (they come from the scratchpad)",
                    subject=self.node.id,
                )
            [result] = await tool_calls.made([call], self._tools, self._workshop.open_context, scratchpad)
            results.append(result)
            more, turn = self._added([result], turn)
            added |= more
            scratchpad |= more
            messages += [self._stamped(wanted), *self._replies([call], [result])]
        result = next((each for each in reversed(results) if each.error is None), results[-1])
        if result.error is not None and turn.get("signal") is None:
            raise ToolError(
                f"no tool of node {self.node.id!r} could do its part: {result.text}"[:1000], subject=self.node.id
            )
        messages.append(self._stamped(AIMessage(result.text)))
        if self.node.kept_as is not None:
            added[self.node.kept_as] = result.content
        if self.node.output_schema is not None and (
            wrong := structured.violations(result.content, self.node.output_schema)
        ):
            raise self._violation("answered what does not satisfy", "output_schema", wrong)
        return self._leave(state, turn, messages, added, called_tools=True)

    async def look(self, state: WorkflowState) -> Goto:
        """Wait for a person's word on the answer, and do what it says."""
        turn = self._turn(state)
        assert self.node.review is not None
        task = state.get("current_task_description", "")
        output = turn.get("output")
        question = review.output_question(self.node, task=task, refused=turn.get("refused"), output=output)
        decided = review.output_decision(self.node.review, interrupt(question))
        if isinstance(decided, review.Decision) and decided.answer == "edit" and self.node.output_schema is not None:
            wrong = structured.violations(decided.output, self.node.output_schema)
            decided = (
                review.Refusal(f"the edit does not satisfy output_schema: {'; '.join(wrong)}") if wrong else decided
            )
        if isinstance(decided, review.Refusal):
            return self._goto(self.review_step, {**turn, "refused": decided.reason}, [])
        current().emit("review.answered", {"node": self.node.id, "answer": decided.answer, "reason": decided.reason})
        if decided.answer == "reject":
            reason = f": {decided.reason}" if decided.reason else ""
            raise ReviewRejectedError(f"the answer of node {self.node.id!r} was rejected{reason}", subject=self.node.id)
        if decided.answer == "respond":
            said = HumanMessage(decided.message, additional_kwargs={NODE_KEY: self.node.id})
            return self._goto(self.node.id, {"signal": turn.get("signal")}, [said])
        messages: list[BaseMessage] = []
        if decided.answer == "edit":
            output = decided.output
            last, _ = conversation.unanswered(state.get("messages", []), self.node.id)
            assert last is not None
            messages = [last.model_copy(update={"content": output if isinstance(output, str) else _json(output)})]
        return self._leave(state, turn, messages, self._kept(output), called_tools=False)

    # ── their parts ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self, state: WorkflowState) -> Turn:
        """The turn as it stands; a new one where the node is just entered. Raises where it must not go on."""
        progress = state.get("workflow_progress", {})
        if progress.get("steps", 0) >= self._limit:
            raise RecursionLimitError(
                f"the run took {self._limit} steps without coming to an end; its workflow's recursion_limit is "
                f"{self._limit}",
                subject=self.node.id,
            )
        turn = progress.get("turns", {}).get(self.node.id)
        if turn is not None:
            return turn
        if self.node.input_schema is not None:
            scratchpad = state.get("workflow_scratchpad", {})
            if wrong := structured.violations(scratchpad, self.node.input_schema):
                raise self._violation("was given a scratchpad that does not satisfy", "input_schema", wrong)
        return {}

    def _violation(self, what: str, name: str, wrong: Sequence[str]) -> SchemaViolationError:
        return SchemaViolationError(
            f"node {self.node.id!r} {what} its {name}: {'; '.join(wrong)}", subject=self.node.id, violations=list(wrong)
        )

    def _instructions(self, state: WorkflowState) -> str:
        task = state.get("current_task_description", "")
        known = {"current_task_description": task, "task_description": task, "agent_name": self._agent.name}
        parts = [fill(self._agent.system_message_template, known, state.get("workflow_scratchpad", {}))]
        if self.node.output_schema is not None:
            parts.append(structured.instructions(self.node.output_schema))
        if self._signals:
            names = ", ".join(self._signals)
            parts.append(f"When you are done, call {tool_calls.SIGNAL_TOOL} with one of: {names}; then answer.")
        return "\n\n".join(part for part in parts if part.strip())

    async def _ask(self, prompt: Sequence[BaseMessage], *, with_tools: bool) -> AIMessage:
        step = current()
        llm = self._workshop.llms.llm(self._agent.llm_choice)
        schemas = [tool.schema() for tool in self._tools.values()] if with_tools else []
        if with_tools and self._signals:
            schemas.append(tool_calls.signal_schema(self._signals))

        def show(token: str) -> None:
            step.stream({"type": "token", "node": self.node.id, "agent": self._agent.name, "text": token})

        try:
            answer = await llm.ask(prompt, tools=schemas, on_token=show)
        except LLMError as error:
            if spent := error.details.get("usage"):
                step.use(llm.model, **{**spent, "cost_micro_usd": spent["cost_micro_usd"] or 0})
            raise
        usage = answer.usage
        step.use(
            usage.model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost_micro_usd=usage.cost_micro_usd or 0,
        )
        return self._stamped(answer.message)

    def _stamped(self, message: AIMessage) -> AIMessage:
        """Marked as this node's, so that each agent later sees its own calls and the others' words."""
        marked = {**message.additional_kwargs, NODE_KEY: self.node.id}
        return message.model_copy(update={"additional_kwargs": marked, "name": self._agent.name})

    async def _valid_output(self, prompt: Sequence[BaseMessage], message: AIMessage) -> tuple[Any, AIMessage]:
        """The answer's JSON, and the message that holds it: this one, or the one that repairs it."""
        output, wrong = self._output(str(message.text))
        if not wrong:
            return output, message
        current().emit("output.refused", {"node": self.node.id, "faults": wrong})
        asked = HumanMessage(
            "Your answer does not satisfy the schema:\n- " + "\n- ".join(wrong) + "\nAnswer again, with the JSON alone."
        )
        shown = [message] if message not in prompt else []
        repaired = await self._ask([*prompt, *shown, asked], with_tools=False)
        output, wrong = self._output(str(repaired.text))
        if wrong:
            raise self._violation("answered twice what does not satisfy", "output_schema", wrong)
        return output, repaired

    def _output(self, text: str) -> tuple[Any, list[str]]:
        try:
            output = structured.parsed(text)
        except ValueError as error:
            return None, [str(error)]
        return output, structured.violations(output, self.node.output_schema)

    def _answered(self, state: WorkflowState, turn: Turn, messages: list[BaseMessage], output: Any) -> Goto:
        turn = {**turn, "signal": self._signal(output) or turn.get("signal")}
        if self.node.review is not None and self.node.review.on == "output":
            return self._goto(self.review_step, {**turn, "output": output, "refused": None}, messages)
        return self._leave(state, turn, messages, self._kept(output), called_tools=False)

    def _signal(self, output: Any) -> str | None:
        """Models without tool calls say it in their answer: alone, or as `routing_signal` of a JSON object."""
        if not self._signals:
            return None
        if isinstance(output, str):
            if output.strip() in self._signals:
                return output.strip()
            try:
                output = structured.parsed(output)
            except ValueError:
                return None
        found = output.get(SIGNAL_KEY) if isinstance(output, dict) else None
        return found if isinstance(found, str) and found in self._signals else None

    def _kept(self, output: Any) -> dict[str, Any]:
        return {} if self.node.kept_as is None else {self.node.kept_as: output}

    def _reviewed_calls(
        self, state: WorkflowState, calls: list[ToolCall], turn: Turn
    ) -> tuple[list[ToolCall], list[ToolMessage], str | None]:
        """The calls to make, the answers to those that are not made, and why the reviewer's word could not be used."""
        asked = self.node.review
        if asked is None or asked.on != "tool_calls":
            return calls, [], None
        shown = [call for call in calls if not asked.tools or call["name"] in asked.tools]
        if not shown:
            return calls, [], None
        task = state.get("current_task_description", "")
        question = review.calls_question(
            self.node, task=task, refused=turn.get("refused"), calls=shown, tools=self._tools
        )
        decided = review.call_decisions(asked, interrupt(question), shown)
        if isinstance(decided, review.Refusal):
            return [], [], decided.reason
        made, replies = [], []
        for call in calls:
            decision = decided.get(str(call["id"]))
            if decision is None or decision.answer == "approve":
                made.append(call)
            elif decision.answer == "edit":
                edited = ToolCall(name=call["name"], args=decision.args or {}, id=call["id"])
                screened = tool_calls.screened(AIMessage("", tool_calls=[edited]), self._tools, (), self.node.id)
                if screened.faults:
                    return [], [], screened.faults[0]
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

    def _replies(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[ToolMessage]:
        return [
            tool_calls.reply(call, result.text, self.node.id, error=result.error is not None)
            for call, result in zip(calls, results, strict=True)
        ]

    def _added(self, results: Sequence[ToolResult], turn: Turn) -> tuple[dict[str, Any], Turn]:
        added: dict[str, Any] = {}
        for result in results:
            added |= result.scratchpad
        return added, {**turn, "signal": tool_calls.signal_in(added) or turn.get("signal")}

    def _goto(
        self,
        step: str,
        turn: Turn,
        messages: Sequence[BaseMessage],
        *,
        merged: Mapping[str, Any] | None = None,
        state: WorkflowState | None = None,
    ) -> Goto:
        """To another step of the same turn."""
        update: WorkflowState = {
            "messages": list(messages),
            "agent_name": self._agent.name,
            "workflow_progress": {"steps": 1, "turns": {self.node.id: turn}},
        }
        if merged:
            merged_scratchpad((state or {}).get("workflow_scratchpad", {}), merged, by=self.node.id)
            update["workflow_scratchpad"] = dict(merged)
        return Command(update=update, goto=step)

    def _leave(
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
        targets = self._routing.taken(self.node.id, ended)
        current().emit("step.routed", {"node": self.node.id, "to": targets or ["END"], "signal": signal})
        moved = self._routing.moved(self.node.id, targets, state.get("workflow_progress", {}))
        update: WorkflowState = {
            "messages": list(messages),
            "agent_name": self._agent.name,
            "workflow_scratchpad": dict(added),
            "workflow_progress": {**moved, "steps": 1},
        }
        return Command(update=update, goto=[self._routing.enter(target) for target in targets])


def _is_fault(result: ToolResult) -> bool:
    return result.error in tool_calls.MODEL_FAULTS


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
