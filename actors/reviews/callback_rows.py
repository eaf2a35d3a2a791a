"""What is written of callbacks: with a question, its reminders and escalations, and with a run's end, each in the
transaction of what it tells of.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from actors.reviews.deadlines import Action, Clock
from actors.reviews.question import Question, question_of
from actors.runs.group_commit import Rows, Table
from actors.runs.rows import shown
from storage import callbacks
from storage.clock import now
from storage.reviews import Review
from storage.runs import Run

if TYPE_CHECKING:
    from langgraph.types import Interrupt

    from actors.runs.kinds import Questions


class _Callbacks(Table):
    """Rows for those runs alone that somebody wants to hear of. Without an event of its own, a row tells of how its run
    has ended, as the run's row says in this very transaction.
    """

    def _statement(self) -> str:
        given = super()._statement().partition(" FROM ")[2].partition(" ON CONFLICT ")[0]
        return (
            f"INSERT INTO callbacks ({', '.join(self.columns)}, next_at, attempts)"  # noqa: S608 - our own constants
            " SELECT given.callback_id, given.run_id, coalesce(given.event, 'run.' || r.status), coalesce(given.data,"
            "  jsonb_build_object('run_id', r.run_id, 'status', r.status, 'error', r.error, 'ended_at', r.ended_at)),"
            "  given.created_at, given.created_at, 0"
            f" FROM {given} AS given ({', '.join(self.columns)})"
            " JOIN callback_targets t ON t.run_id = given.run_id JOIN runs r ON r.run_id = given.run_id"
            " ON CONFLICT (callback_id) DO NOTHING"
        )


CALLBACKS = _Callbacks(
    "callbacks",
    ("callback_id", "run_id", "event", "data", "created_at"),
    ("uuid", "uuid", "text", "jsonb", "timestamptz"),
    ("callback_id",),
    "ignore",
)


class Told:
    """The `Questions` of a kind whose owners are called back: what `questions` keeps, and the callbacks beside it."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def asked(self, run: Run, interrupt: Interrupt, step: str | None) -> Rows:
        rows = [*self._questions.asked(run, interrupt, step)]
        try:
            question = question_of(interrupt.value)
        except ValueError:  # no review, as the log says; the run waits all the same
            question = None
        if question is not None:
            callback_id = _id(run.run_id, f"asked/{question.review_id}/{run.attempt}")
            told = shown(_asked(run, question))
            rows.append((CALLBACKS, (callback_id, run.run_id, "review.asked", told, now())))
        return rows

    def ended(self, run: Run) -> Rows:
        callback_id = _id(run.run_id, f"ended/{run.attempt}")
        return [*self._questions.ended(run), (CALLBACKS, (callback_id, run.run_id, None, None, now()))]


async def tell_of_time(
    session: AsyncSession, run: Run, review: Review, action: Action, clock: Clock, *, at: datetime
) -> None:
    """A review's people are reminded, or it is with another group now: `clock` and `review` are those after it."""
    event = "review.reminded" if action.kind == "remind" else "review.escalated"
    told = {
        "run_id": run.run_id, "review_id": review.review_id, "checkpoint": review.checkpoint, "title": review.title,
        "reviewers": review.reviewers, "group": review.group_name, "due_at": review.due_at,
    }  # fmt: skip
    callback_id = _id(run.run_id, f"{event}/{review.review_id}/{run.attempt}/{clock.level}/{clock.reminded}")
    await callbacks.tell(session, callback_id, run.run_id, event, orjson.loads(shown(told)), at=at)


def _asked(run: Run, question: Question) -> dict[str, object]:
    """What a receiver needs to look, and nothing of the content: that is read with the rights of who reads it."""
    return {
        "run_id": run.run_id,
        "review_id": question.review_id,
        "checkpoint": question.checkpoint,
        "title": question.title,
        "reason": None if question.ruling is None else question.ruling.reason,
        "reviewers": list(question.reviewers),
        "group": question.group,
    }


def _id(run_id: UUID, what: str) -> UUID:
    """The same each time that the same thing is told, however often a host writes it."""
    return uuid5(NAMESPACE_URL, f"urn:hyvve:callback:{run_id}/{what}")
