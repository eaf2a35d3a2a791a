"""`Think`: an agent's model is asked, and what it answers is held against what the node wants."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from actors.agents import conversation, structured, tool_calls
from actors.agents.conditions import SIGNAL_KEY
from actors.agents.definition import Node, WorkflowDefinition
from actors.agents.documents import readable
from actors.agents.llms.prices import PRICES_SETTING, spent
from actors.agents.node_step import NodeStep, Workshop, review_step_of, tools_step_of
from actors.agents.routing import Goto, Routing
from actors.agents.templates import fill
from actors.agents.validation import signals_of
from actors.agents.workflow_state import WorkflowState, merged_scratchpad
from actors.errors import LLMError
from actors.runs.step import current
from storage.errors import HyvveError


class Think(NodeStep):
    """Asks the model once, and once more where a schema is not satisfied."""

    def __init__(self, definition: WorkflowDefinition, node: Node, routing: Routing, workshop: Workshop) -> None:
        super().__init__(definition, node, routing, workshop)
        self._signals = signals_of(definition, node.id)

    async def __call__(self, state: WorkflowState) -> Goto:
        turn = self.turn(state)
        scratchpad = state.get("workflow_scratchpad", {})
        mended: dict[str, Any] = {}
        if turn is None:
            turn = {}
            mended = await self._mended_input(state)
            scratchpad = merged_scratchpad(scratchpad, mended, by=self.node.id)
            state = {**state, "workflow_scratchpad": scratchpad}
        prompt = conversation.prompt(self._instructions(state), state.get("messages", []), self.node.id)
        before = state.get("messages", [])
        message = tool_calls.with_ids(await self._ask(prompt, with_tools=True), before)
        calls = tool_calls.screened(message, self.tools, self._signals, self.node.id)
        turn = {**self.told(turn, calls.faults), "signal": calls.signal or turn.get("signal")}
        messages: list[BaseMessage] = [message, *calls.replies]
        if calls.calls:
            return self.goto(tools_step_of(self.node.id), turn, messages, state=state, added=mended)
        if calls.faults or (calls.replies and not message.text.strip()):
            return self.goto(self.node.id, turn, messages, state=state, added=mended)
        output: Any = str(message.text)
        if self.node.output_schema is not None:
            output, repaired = await self._valid_output([*prompt, *messages], message)
            messages += [tool_calls.with_ids(repaired, [*before, message])] if repaired is not message else []
        turn = {**turn, "signal": self._signal(output) or turn.get("signal")}
        if self.node.review is not None and self.node.review.on == "output":
            turn = {**turn, "output": output, "refused": None}
            return self.goto(review_step_of(self.node.id), turn, messages, state=state, added=mended)
        return self.leave(state, turn, messages, {**mended, **self.kept(output)}, called_tools=False)

    def _instructions(self, state: WorkflowState) -> str:
        task = state.get("current_task_description", "")
        known = {"current_task_description": task, "task_description": task, "agent_name": self.agent.name}
        parts = [fill(self.agent.system_message_template, known, state.get("workflow_scratchpad", {}))]
        if self.node.output_schema is not None:
            parts.append(structured.instructions(self.node.output_schema))
        if self._signals:
            names = ", ".join(self._signals)
            parts.append(f"When you are done, call {tool_calls.SIGNAL_TOOL} with one of: {names}; then answer.")
        return "\n\n".join(part for part in parts if part.strip())

    async def _ask(self, prompt: Sequence[BaseMessage], *, with_tools: bool) -> AIMessage:
        step = current()
        llm = self.workshop.llms.llm(self.agent.llm_choice)
        schemas = [tool.schema() for tool in self.tools.values()] if with_tools else []
        if with_tools and self._signals:
            schemas.append(tool_calls.signal_schema(self._signals))

        said: list[str] = []

        def show(token: str) -> None:
            said.append(token)
            step.stream({"type": "token", "node": self.node.id, "agent": self.agent.name, "text": token})

        step.require_budget()
        if llm.prices.of(llm.model) is None:
            step.require_price(llm.model, PRICES_SETTING)
        try:
            answer = await llm.ask(prompt, tools=schemas, on_token=show)
        except LLMError as error:
            # An answer that is of no use has been paid for all the same.
            if paid := error.details.get("usage"):
                _use(llm.model, paid)
            raise
        except asyncio.CancelledError:
            # So has one that the step's limit cut off. Past the budget, the next question is not asked.
            with suppress(HyvveError):
                _use(llm.model, spent(llm.estimated(prompt, schemas, "".join(said))))
            raise
        _use(answer.usage.model, spent(answer.usage))
        return self.stamped(answer.message)

    async def _mended_input(self, state: WorkflowState) -> dict[str, Any]:
        """What must be added to the scratchpad for `input_schema`: nothing where it is satisfied, else what the model
        finds in the conversation. Raises `SchemaViolationError`.
        """
        scratchpad = state.get("workflow_scratchpad", {})
        wrong = self.input_faults(scratchpad)
        if not wrong:
            return {}
        current().emit("input.refused", {"node": self.node.id, "faults": wrong})
        asked = (
            "Before you begin, this input must satisfy its JSON Schema, and it does not:\n- "
            + "\n- ".join(wrong)
            + f"\n\nThe input:\n{readable(scratchpad)}\n\nThe schema:\n"
            + readable(self.node.input_schema)
            + "\n\nTake what is missing or wrong from the conversation, without making anything up, and answer with "
            "one JSON object of just the members to add or to replace."
        )
        seen = conversation.prompt("", state.get("messages", []), self.node.id)
        answer = await self._ask([*seen, HumanMessage(asked)], with_tools=False)
        try:
            found = structured.parsed(str(answer.text))
        except ValueError as error:
            raise self.violation("was given a scratchpad that does not satisfy", "input_schema", wrong) from error
        if not isinstance(found, dict) or (wrong := self.input_faults({**scratchpad, **found})):
            raise self.violation("was given a scratchpad that does not satisfy", "input_schema", wrong)
        return found

    async def _valid_output(self, prompt: Sequence[BaseMessage], message: AIMessage) -> tuple[Any, AIMessage]:
        """The answer's JSON, and the message that holds it: this one, or the one that repairs it."""
        output, wrong = self._output(message)
        if not wrong:
            return output, message
        current().emit("output.refused", {"node": self.node.id, "faults": wrong})
        asked = HumanMessage(
            "Your answer does not satisfy the schema:\n- " + "\n- ".join(wrong) + "\nAnswer again, with the JSON alone."
        )
        repaired = await self._ask([*prompt, asked], with_tools=False)
        output, wrong = self._output(repaired)
        if wrong:
            raise self.violation("answered twice what does not satisfy", "output_schema", wrong)
        return output, repaired

    def _output(self, message: AIMessage) -> tuple[Any, list[str]]:
        try:
            output = structured.parsed(str(message.text))
        except ValueError as error:
            return None, [str(error)]
        return output, structured.violations(output, self.node.output_schema)

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


def _use(model: str, paid: Mapping[str, int | None]) -> None:
    current().use(
        model,
        prompt_tokens=paid["prompt_tokens"] or 0,
        completion_tokens=paid["completion_tokens"] or 0,
        cost_micro_usd=paid["cost_micro_usd"],
    )
