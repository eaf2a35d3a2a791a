"""What hosts write of reviews, by the writer that runs share: a question with its interrupt, its end with the run's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from langgraph.types import Interrupt

from actors.reviews import deadlines
from actors.reviews.deadlines import Clock
from actors.reviews.question import Question, question_of
from actors.runs.group_commit import Rows, Table
from actors.runs.rows import shown
from actors.runs.step import current
from storage.clock import now
from storage.ids import new_id
from storage.runs import Run

log = logging.getLogger(__name__)


class _Asked(Table):
    """A question that is there stays as it is, but one that ended with its run is open again: the run is retried.

    Its action is written where it was opened, in the same statement: a row says when it was asked first, its clock and
    its actions when again.
    """

    def _statement(self) -> str:
        again = ("interrupt_id", "group_name", "clock", "due_at", "next_at")
        changes = ", ".join(f"{column} = excluded.{column}" for column in again)
        # Those who disagreed have decided: a third is awaited still.
        changes += ", reviewers = CASE WHEN reviews.disputed THEN reviews.reviewers ELSE excluded.reviewers END"
        insert = super()._statement().partition(" ON CONFLICT ")[0]
        return (
            f"WITH opened AS ({insert} ON CONFLICT (review_id) DO UPDATE"  # noqa: S608 - our own constants
            f" SET state = 'open', settled_at = NULL, {changes}"
            " WHERE reviews.state = 'cancelled' RETURNING review_id, run_id, saw, (clock->>'since')::timestamptz AS at)"
            " INSERT INTO review_actions (action_id, review_id, run_id, kind, who, saw, details, at)"
            " SELECT gen_random_uuid(), review_id, run_id, 'asked', NULL, saw, '{}', at FROM opened"
        )


class _Ended(Table):
    """Closes what is still open of a run, and puts that on record."""

    def _statement(self) -> str:
        given = super()._statement().partition(" FROM unnest")[2].partition(" WHERE ")[0]
        return (
            "WITH closed AS (UPDATE reviews AS kept SET state = 'cancelled', settled_at = given.settled_at,"  # noqa: S608 - our own constants
            f" holder = NULL, lease_until = NULL, next_at = NULL FROM unnest{given}"
            " WHERE kept.run_id = given.run_id AND kept.state = 'open'"
            " RETURNING kept.review_id, kept.run_id, kept.saw, kept.settled_at)"
            " INSERT INTO review_actions (action_id, review_id, run_id, kind, who, saw, details, at)"
            " SELECT gen_random_uuid(), review_id, run_id, 'cancelled', NULL, saw, '{}', settled_at FROM closed"
        )


_COLUMNS = (
    ("review_id", "uuid"), ("run_id", "uuid"), ("interrupt_id", "text"), ("step", "text"), ("checkpoint", "text"),
    ("title", "text"), ("source", "text"), ("owner", "text"), ("campaign_id", "text"), ("contribution_id", "text"),
    ("state", "text"), ("subject", "jsonb"), ("saw", "text"), ("shown", "jsonb"), ("edit_schema", "jsonb"),
    ("ruling", "jsonb"), ("answers", "jsonb"), ("reviewers", "jsonb"), ("group_name", "text"), ("agreement", "jsonb"),
    ("deadline", "jsonb"), ("clock", "jsonb"), ("due_at", "timestamptz"), ("next_at", "timestamptz"),
    ("blind", "bool"), ("created_at", "timestamptz"),
)  # fmt: skip

ASKED = _Asked(
    "reviews", tuple(name for name, _ in _COLUMNS), tuple(kind for _, kind in _COLUMNS), ("review_id",), "replace"
)
ENDED = _Ended("reviews", ("run_id", "settled_at"), ("uuid", "timestamptz"), ("run_id",), "update")
ARTIFACTS = Table(
    "run_artifacts",
    ("run_id", "artifact_id", "kind", "name", "step", "body", "at"),
    ("uuid", "uuid", "text", "text", "text", "jsonb", "timestamptz"),
    ("run_id", "artifact_id"),
    "ignore",
)


class Reviewed:
    """The `Questions` of a kind whose runs ask people. `read` finds the question in an interrupt of a run."""

    def __init__(self, read: Callable[[Run, Interrupt], Question | None] | None = None) -> None:
        self._read = read or (lambda _, interrupt: question_of(interrupt.value))

    def asked(self, run: Run, interrupt: Interrupt, step: str | None) -> Rows:
        """The question's row; none where the interrupt asks no question of people, or one that is past what is kept."""
        try:
            question = self._read(run, interrupt)
        except ValueError as error:
            # The run waits all the same, and takes an answer at its own address.
            log.warning("what run %s asks at %s is no review: %s", run.run_id, step, error)
            return []
        return [] if question is None else [(ASKED, _row(run, interrupt, step, question))]

    def ended(self, run: Run) -> Rows:
        """What closes the run's questions."""
        return [(ENDED, (run.run_id, now()))]


def _row(run: Run, interrupt: Interrupt, step: str | None, question: Question) -> tuple[Any, ...]:
    moment = now()
    clock = Clock(since=moment)
    plain = question.model_dump(mode="json", by_alias=True)
    return (
        question.review_id, run.run_id, interrupt.id, step, question.checkpoint, question.title, run.kind, run.owner,
        question.campaign_id, question.contribution_id, "open", shown(plain["subject"]), question.saw,
        shown(plain["shown"]), _or_null(plain["edit_schema"]), _or_null(plain["ruling"]), shown(plain["answers"]),
        shown(plain["reviewers"]), question.group, shown(plain["agreement"]), shown(plain["deadline"]),
        shown(clock.model_dump(mode="json")), deadlines.due_at(question.deadline, clock),
        deadlines.next_at(question.deadline, clock), question.blind, moment,
    )  # fmt: skip


def _or_null(value: Any) -> bytes | None:
    return None if value is None else shown(value)


def keep(kind: str, name: str, body: Any) -> None:
    """Put on the run's record what this step made: written with the step's result, once, or not at all.

    `kind` is what it is (payload, response, diff, form, ruling…), `body` any JSON. Outside of a run nothing is kept.
    """
    context = current()
    if context.run_id is not None:
        row = (context.run_id, new_id(), kind, name, context.step, shown(body), now())
        context.record(ARTIFACTS, row)
