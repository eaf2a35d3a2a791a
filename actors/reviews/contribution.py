"""Verdicts REVIEW as reviews: a run asks a person about one result of verification, and writes what they decide.

The run was accepted with the result (see `storage/verdict_reviews.py`). It looks at what there is to show, asks, and
writes the decision: the contribution, and a result of its own beside the machine's. A contribution that is verified
anew meanwhile ends the run, and a decision that comes too late for that writes nothing.
"""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from actors.reviews import contribution_content
from actors.reviews.question import Outcome, Part, Question, ask, outcome_of, review_id_of
from actors.reviews.rows import Reviewed, keep
from actors.runs.kinds import Graph, Kind
from actors.runs.step import current
from actors.verification.rows import storable
from actors.verification.workplace import Workplace
from storage import verdict_reviews
from storage.verdict_reviews import CHECKPOINT, Asked

# What an edit may say: the other verdict, another score, and why.
EDIT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["verdict", "score"],
    "additionalProperties": False,
    "properties": {
        "verdict": {"enum": ["ACCEPT", "REJECT"], "title": "Verdict"},
        "score": {"type": ["number", "null"], "minimum": 0, "maximum": 100, "title": "Score"},
        "reason": {"type": "string", "maxLength": 10_000, "title": "Reason"},
    },
    "if": {"properties": {"verdict": {"const": "REJECT"}}},
    "then": {"required": ["reason"], "properties": {"reason": {"minLength": 1}}},
}


class _State(TypedDict, total=False):
    result_id: int
    subject: dict[str, Any]
    title: str
    shown: list[dict[str, Any]]
    campaign_id: str
    contribution_id: str
    outcome: dict[str, Any]
    decided: dict[str, Any]


def kind_of(workplace: Workplace) -> Kind:
    """The kind whose runs read and write here. Nothing is connected before a run needs it."""
    policy = workplace.settings.verdict_reviews

    async def look(state: _State) -> _State:
        async with workplace.database.read() as session:
            found = await verdict_reviews.asked(session, state["result_id"])
        shown = await parts(workplace, found)
        return {
            "subject": {"verdict": "ACCEPT", "score": found.score},
            "title": title(found),
            "shown": [part.model_dump(mode="json") for part in shown],
            "campaign_id": found.onchain_campaign_id,
            "contribution_id": str(found.contribution_id),
        }

    async def ask_person(state: _State) -> _State:
        question = Question(
            review_id=review_id_of(current().run_id, CHECKPOINT),
            checkpoint=CHECKPOINT,
            title=state["title"],
            subject=state["subject"],
            shown=tuple(Part.model_validate(part) for part in state["shown"]),
            edit_schema=EDIT_SCHEMA,
            answers=("approve", "edit", "reject"),
            reviewers=policy.reviewers,
            group=policy.group,
            agreement=policy.agreement,
            deadline=policy.deadline,
            blind=policy.blind,
            campaign_id=state["campaign_id"],
            contribution_id=state["contribution_id"],
        )
        return {"outcome": ask(question).written()}

    async def write(state: _State) -> _State:
        outcome = outcome_of(state["outcome"])
        if outcome.answer == "fail":  # nobody decided in time: it stays a REVIEW
            return {"decided": {"verdict": "REVIEW", "by": list(outcome.by), "reason": outcome.reason}}
        verdict, score, reasoning = decision(outcome, state["subject"])
        run_id = current().run_id
        assert run_id is not None
        async with workplace.database.begin() as session:
            made = await verdict_reviews.decide(
                session, state["result_id"],
                verdict=verdict, score=score, by=_names(outcome), reasoning=reasoning, review_id=outcome.review_id,
                run_id=run_id,
            )  # fmt: skip
        body = {
            "verdict": made.verdict, "score": made.score, "by": list(outcome.by), "reason": reasoning,
            "result_id": made.result_id, "superseded": made.superseded,
        }  # fmt: skip
        keep("verdict", CHECKPOINT, body)
        return {"decided": body}

    def build(_: dict[str, Any]) -> Graph:
        builder = StateGraph(_State)
        for name, node in (("look", look), ("ask", ask_person), ("write", write)):
            builder.add_node(name, node)
        for before, after in ((START, "look"), ("look", "ask"), ("ask", "write"), ("write", END)):
            builder.add_edge(before, after)
        return builder

    return Kind(name=verdict_reviews.KIND, graph=build, result=_result, questions=Reviewed())


def _result(values: dict[str, Any]) -> dict[str, Any]:
    return {"result_id": values.get("result_id"), **values.get("decided", {})}


def decision(outcome: Outcome, subject: dict[str, Any]) -> tuple[str, float | None, str]:
    """`(verdict, score, reasoning)` of what was decided on `subject`."""
    by = _names(outcome)
    if outcome.answer == "reject":
        return "REJECT", subject["score"], storable(f"Rejected by {by}: {outcome.reason}")
    given = outcome.payload if outcome.answer == "edit" and outcome.payload is not None else subject
    verdict, score, reason = given["verdict"], given["score"], str(given.get("reason", "")).strip()
    words = f"{'Accepted' if verdict == 'ACCEPT' else 'Rejected'} by {by}"
    if score != subject["score"]:
        words += f", who gave {'no score' if score is None else f'{score:g}'}"
    return verdict, score, storable(f"{words}: {reason}" if reason else f"{words}.")


def _names(outcome: Outcome) -> str:
    return ", ".join(outcome.by) or "its deadline"


def title(found: Asked) -> str:
    """One line for the queue: the score, what it is of, and where."""
    score = "no score" if found.score is None else f"{found.score:.1f} of {found.required_score:g}"
    copy = ", perhaps a copy" if found.duplicate_of is not None else ""
    line = f"{score}{copy}: {found.contributor} in {found.campaign_title}"
    return " ".join(line.split())[:300]


async def parts(workplace: Workplace, found: Asked) -> list[Part]:
    """All that helps to decide: the content, why a person is asked, the marks, and what it may be a copy of."""
    shown = await contribution_content.parts(
        workplace, "The contribution", found.data_url, blob_id=found.blob_id, media_type=found.media_type,
        content_hash=found.content_hash,
    )  # fmt: skip
    shown.append(Part(kind="text", title="Why a person decides", content=found.reasoning))
    if found.marks:
        marks = [
            {"name": mark.get("criterion"), "mark": mark.get("value"), "reason": mark.get("reason", "")}
            for mark in found.marks
        ]
        shown.append(Part(kind="marks", title=f"Marks of {found.scorer or 'the scorer'}", content=marks))
    if found.left_out:
        shown.append(Part(kind="text", title="What the scorer did not see", content="\n".join(found.left_out)))
    if found.duplicate_of is not None and found.original_data_url is not None:
        like = "" if found.similarity is None else f", {found.similarity:.0%} alike"
        shown += await contribution_content.parts(
            workplace, f"The earlier contribution of {found.original_contributor}{like}"[:300],
            found.original_data_url, blob_id=found.original_blob_id, media_type=found.original_media_type,
        )  # fmt: skip
    return shown
