"""`Look`: a person's word on an agent's answer, waited for as an interrupt of the run, and done."""

from __future__ import annotations

from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.types import interrupt

from actors.agents import conversation, review, structured
from actors.agents.documents import readable
from actors.agents.node_step import NodeStep, review_step_of
from actors.agents.routing import Goto
from actors.agents.workflow_state import NODE_KEY, WorkflowState
from actors.errors import ReviewRejectedError
from actors.runs.step import current


class Look(NodeStep):
    """Asks first and acts after, so being run again from its start does nothing twice."""

    async def __call__(self, state: WorkflowState) -> Goto:
        turn = self.turn(state) or {}
        output = turn.get("output")
        task = state.get("current_task_description", "")
        question = review.output_question(
            self.node, task=task, refused=turn.get("refused"), output=output, steps=self.steps(state)
        )
        decided = review.output_decision(self.node, interrupt(question))
        if isinstance(decided, review.Decision) and decided.answer == "edit" and self.node.output_schema is not None:
            wrong = structured.violations(decided.output, self.node.output_schema)
            decided = (
                review.Refusal(f"the edit does not satisfy output_schema: {'; '.join(wrong)}") if wrong else decided
            )
        if isinstance(decided, review.Refusal):
            # Another step, so that the new question has an id of its own.
            return self.goto(review_step_of(self.node.id), {**turn, "refused": decided.reason}, [])
        current().emit("review.answered", {"node": self.node.id, "answer": decided.answer, "reason": decided.reason})
        if decided.answer == "reject":
            reason = f": {decided.reason}" if decided.reason else ""
            raise ReviewRejectedError(f"the answer of node {self.node.id!r} was rejected{reason}", subject=self.node.id)
        if decided.answer == "respond":
            said = HumanMessage(decided.message, additional_kwargs={NODE_KEY: self.node.id})
            return self.goto(self.node.id, {"signal": turn.get("signal")}, [said])
        messages: list[BaseMessage] = []
        if decided.answer == "edit":
            output = decided.output
            last, _ = conversation.unanswered(state.get("messages", []), self.node.id)
            assert last is not None
            # Under the same id: the edited answer takes the place of the agent's.
            text = output if isinstance(output, str) else readable(output)
            messages = [last.model_copy(update={"content": text})]
        return self.leave(state, turn, messages, self.kept(output), called_tools=False)
