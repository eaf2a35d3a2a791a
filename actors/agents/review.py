"""A person's look at an agent's work: the question a run waits with, and what each answer does.

The question is the value of a LangGraph interrupt, JSON:

    {"kind": "agent_output" | "tool_calls", "node_id", "agent_name", "instructions", "reviewer", "answers", "policy",
     "task_description", "refused": null | "why the last answer could not be used",
     "output": text or JSON,                                       # agent_output
     "tool_calls": [{"id", "name", "args", "description"}]}        # tool_calls

with `review_id` and `edit_schema` beside them. In the engine it is a review (`node_reviews.py`), decided as all others
are. Alone, it is answered by the interrupt's id with

    {"answer": "approve"}
    {"answer": "edit", "output": …}                                # agent_output: this instead
    {"answer": "edit", "args": {…}}                                # tool_calls: called with these
    {"answer": "reject", "reason": "…"}
    {"answer": "respond", "message": "…"}

and of several tool calls `{"decisions": {"CALL_ID": {"answer": …}, …}}`, or one answer (none but `edit`) for all.

A rejected output ends the run: it is not passed on. A rejected tool call is never made, and the agent is told the
reason. A response goes to the agent: for an output it tries again, of a tool call it stands for the tool's answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from langchain_core.messages import ToolCall
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from actors.agents import node_reviews
from actors.agents.definition import Answer, Node, Review
from actors.agents.tools.tool import Tool
from actors.reviews.question import is_outcome, outcome_of
from actors.runs.step import current

Words = Annotated[str, StringConstraints(max_length=50_000)]


class Decision(BaseModel):
    """One answer of a reviewer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: Answer
    output: Any = None
    args: dict[str, Any] | None = None
    reason: Words = ""
    message: Words = ""


class _Decisions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    decisions: dict[str, Decision] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer cannot be used, for this reason; the question is asked again with it."""

    reason: str


def output_question(node: Node, *, task: str, refused: str | None, output: Any, steps: int) -> dict[str, Any]:
    """What a reviewer is shown of an answer. `steps` are those that the run took so far."""
    schema = node_reviews.output_schema(node)
    return {**_question(node, task, refused, steps), "kind": "agent_output", "output": output, "edit_schema": schema}


def calls_question(
    node: Node,
    *,
    task: str,
    refused: str | None,
    calls: Sequence[ToolCall],
    tools: Mapping[str, Tool[Any]],
    steps: int,
) -> dict[str, Any]:
    """What a reviewer is shown of calls that wait to be made. `steps` are those that the run took so far."""
    assert node.review is not None
    asked = [
        {"id": call["id"], "name": call["name"], "args": call["args"], "description": tools[call["name"]].description}
        for call in calls
    ]
    schema = node_reviews.calls_schema(node.review, calls, tools)
    return {**_question(node, task, refused, steps), "kind": "tool_calls", "tool_calls": asked, "edit_schema": schema}


def _question(node: Node, task: str, refused: str | None, steps: int) -> dict[str, Any]:
    assert node.review is not None
    return {
        "review_id": node_reviews.node_review_id(current().run_id, node.id, steps),
        "node_id": node.id,
        "agent_name": node.agent_config_name,
        "instructions": node.review.instructions,
        "reviewer": node.review.reviewer,
        "answers": list(node.review.answers),
        "policy": node.review.policy,
        "task_description": task,
        "refused": refused,
    }


def output_decision(node: Node, answer: Any) -> Decision | Refusal:
    """What was decided on an output, or why the answer decides nothing. Raises `ReviewTimedOutError`."""
    assert node.review is not None
    if is_outcome(answer):
        return Decision.model_validate(node_reviews.as_answer(outcome_of(answer), node.id))
    found = _decision(node.review, answer)
    if isinstance(found, Decision) and found.answer == "edit" and "output" not in found.model_fields_set:
        return Refusal("an edit brings the new `output`")
    return found


def call_decisions(node: Node, answer: Any, calls: Sequence[ToolCall]) -> dict[str, Decision] | Refusal:
    """What was decided on each call, by its id, or why the answer decides nothing. Raises `ReviewTimedOutError`."""
    assert node.review is not None
    review = node.review
    ids = [str(call["id"]) for call in calls]
    if is_outcome(answer):
        # Which answers are taken was the review's to say, and after its deadline what the policy says.
        answer = node_reviews.as_answer(outcome_of(answer), node.id)
        if "decisions" not in answer:
            return dict.fromkeys(ids, Decision.model_validate(answer))
        review = review.model_copy(update={"answers": get_args(Answer)})
    if not (isinstance(answer, Mapping) and "decisions" in answer):
        found = _decision(review, answer)
        if isinstance(found, Refusal):
            return found
        if found.answer == "edit" and len(ids) > 1:
            return Refusal("an edit is for one call: send `decisions` by call id")
        decided = dict.fromkeys(ids, found)
    else:
        try:
            decided = _Decisions.model_validate(answer).decisions
        except ValidationError as error:
            return Refusal(_said(error))
        if set(decided) != set(ids):
            return Refusal(f"`decisions` must name exactly these calls: {', '.join(ids)}")
        for decision in decided.values():
            if decision.answer not in review.answers:
                return Refusal(_not_taken(review, decision))
    if any(decision.answer == "edit" and decision.args is None for decision in decided.values()):
        return Refusal("an edit brings the new `args`")
    return decided


def _decision(review: Review, answer: Any) -> Decision | Refusal:
    try:
        decision = Decision.model_validate({"answer": answer} if isinstance(answer, str) else answer)
    except ValidationError as error:
        return Refusal(_said(error))
    return decision if decision.answer in review.answers else Refusal(_not_taken(review, decision))


def _not_taken(review: Review, decision: Decision) -> str:
    return f"{decision.answer!r} is not taken here; answer one of: {', '.join(review.answers)}"


def _said(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the answer'}: {first['msg']}"
