"""What a node asks of people, as a review: in the same queue, and decided in the same way, as all others.

The subject of an answer is `{"output": …}`; of tool calls `{"tool_calls": [{"id", "name", "args", "description"}]}`. An
edit of calls may say of each what is done with it: `"answer"` with its `"reason"` or `"message"`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_core.messages import ToolCall
from langgraph.types import Interrupt

from actors.agents.definition import Node, Review
from actors.agents.review_policy import ReviewPolicy
from actors.agents.schema_work import embedded
from actors.agents.tools.tool import Tool
from actors.errors import ReviewTimedOutError
from actors.reviews.question import Outcome, Part, Question, review_id_of
from storage.runs import Run

KINDS = ("agent_output", "tool_calls")


def node_review_id(run_id: UUID | None, node_id: str, steps: int) -> str | None:
    """The id of what this node asks after so many steps of the run; none outside of the engine, where none is kept."""
    return None if run_id is None else str(review_id_of(run_id, f"node {node_id}", steps))


def node_question_of(_: Run, interrupt: Interrupt) -> Question | None:
    """The question in a node's interrupt; none where it asks something else."""
    asked = interrupt.value
    if not isinstance(asked, Mapping) or asked.get("kind") not in KINDS or not asked.get("review_id"):
        return None
    policy = ReviewPolicy.model_validate(asked["policy"] or {})
    what = "its answer" if asked["kind"] == "agent_output" else "its tool calls"
    texts = (("Task", "task_description"), ("Instructions", "instructions"), ("Why it is asked again", "refused"))
    return Question(
        review_id=asked["review_id"],
        checkpoint=asked["kind"],
        title=f"{asked['agent_name']}: may {what} go on?"[:300],
        subject={name: asked[name] for name in ("output", "tool_calls") if name in asked},
        shown=tuple(
            Part(kind="text", title=title, content=asked[name]) for title, name in texts if asked.get(name)
        ),
        edit_schema=asked["edit_schema"],
        answers=tuple(asked["answers"]),
        reviewers=policy.whom(asked["reviewer"]),
        group=policy.group,
        agreement=policy.agreement,
        deadline=policy.deadline,
        blind=policy.blind,
    )  # fmt: skip


def output_schema(node: Node) -> dict[str, Any]:
    """What an edit of the node's answer must satisfy."""
    schema: Any = node.output_schema if node.output_schema is not None else True
    if isinstance(schema, Mapping):
        schema = embedded(schema, "urn:hyvve:output")
    return {
        "type": "object", "properties": {"output": schema}, "required": ["output"], "additionalProperties": False,
    }  # fmt: skip


def calls_schema(review: Review, calls: Sequence[ToolCall], tools: Mapping[str, Tool[Any]]) -> dict[str, Any]:
    """What an edit of these calls must satisfy: the same calls, with arguments that their tools take."""
    arguments = {
        name: embedded(tools[name].args_model.model_json_schema(), f"urn:hyvve:tool:{name}")
        for name in dict.fromkeys(call["name"] for call in calls)
    }
    decided = [answer for answer in review.answers if answer != "edit"]
    return {
        "type": "object",
        "properties": {
            "tool_calls": {
                "type": "array",
                "minItems": len(calls),
                "maxItems": len(calls),
                "prefixItems": [
                    {
                        "type": "object",
                        "properties": {
                            "id": {"const": call["id"]},
                            "name": {"const": call["name"]},
                            "args": {"$ref": f"urn:hyvve:tool:{call['name']}"},
                            "description": {"type": "string"},
                            "answer": {"enum": decided or ["approve"]},
                            "reason": {"type": "string", "maxLength": 10_000},
                            "message": {"type": "string", "maxLength": 10_000},
                        },
                        "required": ["id", "name", "args"],
                        "additionalProperties": False,
                    }
                    for call in calls
                ],
            }
        },
        "required": ["tool_calls"],
        "additionalProperties": False,
        "$defs": arguments,
    }


def as_answer(outcome: Outcome, node_id: str) -> dict[str, Any]:
    """The outcome as a node is answered without a review (see `review.py`). Raises `ReviewTimedOutError`."""
    if outcome.answer == "fail":
        raise ReviewTimedOutError(
            f"what node {node_id!r} asked was not decided in time ({outcome.reason}); fork the run to ask again",
            subject=node_id,
        )  # fmt: skip
    if outcome.answer != "edit":
        return {"answer": outcome.answer, "reason": outcome.reason, "message": outcome.message}
    payload = outcome.payload or {}
    if "tool_calls" not in payload:
        return {"answer": "edit", "output": payload.get("output")}
    return {"decisions": {str(each["id"]): _of_call(each) for each in payload["tool_calls"]}}


def _of_call(call: Mapping[str, Any]) -> dict[str, Any]:
    words = {name: call[name] for name in ("reason", "message") if name in call}
    if call.get("answer", "approve") != "approve":
        return {"answer": call["answer"], **words}
    return {"answer": "edit", "args": call["args"]}
