"""What decisions and time do to a review and its run, both of which the caller's unit of work has locked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import ReviewConflictError
from actors.reviews import callback_rows, deadlines, decisions
from actors.reviews.agreement import Agreement, Standing, State, Vote, standing, vote
from actors.reviews.changes import Change
from actors.reviews.deadlines import Action, Clock, Deadline
from actors.reviews.decisions import Answer, Approve, Edit, Reject, Respond, ReviewState
from actors.reviews.groups import Groups
from actors.reviews.question import Outcome
from actors.reviews.teams.named_files import require_own
from actors.reviews.voices import Voice, spoken
from actors.runs.service import answer
from storage import reviews
from storage.reviews import Review, ReviewDecision
from storage.runs import ENDED, Run

Timely = Callable[[AsyncSession, Run, Review, datetime], Awaitable[bool]]

_STATES = {
    "approve": "approved", "edit": "edited", "reject": "rejected", "respond": "responded", "fail": "failed",
}  # fmt: skip
_HOW = {"completed": "completed", "failed": "failed", "cancelled": "been cancelled"}


def state_of(review: Review, cast_: Sequence[ReviewDecision], groups: Groups) -> ReviewState:
    """The review as the rules of deciding see it."""
    decided = frozenset(each.reviewer for each in cast_)
    return ReviewState(
        review_id=review.review_id, state=review.state, saw=review.saw,
        answers=cast(tuple[Answer, ...], tuple(review.answers)), reviewers=groups.reviewers(review, decided),
        holder=review.holder, blind=review.blind, lease_until=review.lease_until, due_at=review.due_at,
        decided_by=decided,
    )  # fmt: skip


async def take(
    session: AsyncSession,
    run: Run,
    review: Review,
    decision: Approve | Edit | Reject | Respond,
    *,
    by: str,
    at: datetime,
    groups: Groups,
    voice: Voice | None = None,
) -> None:
    """Take the decision; settle the review where that is what it comes to.

    Raises `ReviewConflictError` and `ReviewEditError`, and has changed nothing then.
    """
    _require_run(run, review)
    before = await reviews.decisions(session, review.review_id)
    decisions.admit(decision, state_of(review, before, groups), by=by, at=at)
    changes: tuple[Change, ...] = ()
    if isinstance(decision, Edit):
        changes = decisions.edited(decision, review.subject, review.edit_schema)
        await require_own(session, run.owner, decision, review.edit_schema)
    made = vote(decision, reviewer=by, subject=review.subject)
    votes = [*(_vote_of(each) for each in before), made]
    now_standing = standing(_agreement(review), votes)
    session.add(
        ReviewDecision(
            review_id=review.review_id, reviewer=by, answer=made.answer, outcome=made.outcome, payload=made.payload,
            words=made.words, changes=[change.model_dump() for change in changes], saw=decision.saw, at=at,
        )
    )  # fmt: skip
    review.holder = review.lease_until = None
    reviews.act(session, review, "decided", by, at=at, answer=made.answer, outcome=made.outcome, **spoken(voice))
    if now_standing.state is State.SETTLED:
        await _settle(session, run, review, _outcome(review, now_standing, votes, at))
    elif now_standing.state is State.DISPUTED and not review.disputed:
        review.disputed = True
        review.reviewers = _thirds(review, {each.reviewer for each in votes})
        reviews.act(session, review, "disputed", None, at=at, tally=now_standing.tally, third=review.reviewers)
    decided = {each.reviewer for each in votes}
    if review.state == "open" and groups.is_exhausted(review, decided):
        reviews.act(session, review, "opened", None, at=at, group=review.group_name)
        review.group_name = None


def _agreement(review: Review) -> Agreement:
    """As its votes are counted. Who may settle a dispute stands in the row's `reviewers` from then on, and `admit` asks
    those alone: an escalation hands it to others than the arbiters.
    """
    return Agreement.model_validate(review.agreement).model_copy(update={"arbiters": frozenset()})


def _require_run(run: Run, review: Review) -> None:
    """Raises `ReviewConflictError` where nothing will come of a decision: its run ends, or has ended."""
    if review.state != "open" or (run.status not in ENDED and run.cancel_requested_at is None):
        return
    how = f"has {_HOW[run.status]}" if run.status in ENDED else "is being cancelled"
    raise ReviewConflictError(
        f"run {run.run_id} {how}: review {review.review_id} waits for no decision any more",
        subject=str(review.review_id), state=review.state, conflict="late",
    )  # fmt: skip


def _vote_of(row: ReviewDecision) -> Vote:
    return Vote(
        reviewer=row.reviewer, answer=cast(Answer, row.answer), outcome=row.outcome, words=row.words,
        payload=row.payload,
    )  # fmt: skip


def _thirds(review: Review, decided: set[str]) -> list[str]:
    """Who may settle a dispute, as `standing` takes it: the arbiters who have not decided, or those asked who have not,
    or else anybody.
    """
    arbiters = Agreement.model_validate(review.agreement).arbiters
    return sorted(arbiters - decided) or [name for name in review.reviewers if name not in decided]


def _outcome(review: Review, found: Standing, votes: Sequence[Vote], at: datetime) -> Outcome:
    stands = found.vote
    assert stands is not None
    assert found.settled_by is not None
    return Outcome(
        review_id=review.review_id, answer=stands.answer, payload=stands.payload,
        reason=stands.words if stands.answer == "reject" else "",
        message=stands.words if stands.answer == "respond" else "",
        by=tuple(each.reviewer for each in votes if each.outcome == stands.outcome),
        settled_by=found.settled_by, at=at,
    )  # fmt: skip


async def advance(session: AsyncSession, run: Run, review: Review, at: datetime) -> bool:
    """Do what is due of the review's deadline at this moment."""
    if review.state != "open" or review.next_at is None or run.cancel_requested_at is not None:
        return False
    deadline = Deadline.model_validate(review.deadline)
    clock, due = deadlines.advanced(deadline, Clock.model_validate(review.clock), at)
    _keep_time(review, deadline, clock)
    for action in due:
        await _act(session, run, review, action, at)
        if action.kind in {"remind", "escalate"}:
            await callback_rows.tell_of_time(session, run, review, action, clock, at=at)
    return bool(due)


def _keep_time(review: Review, deadline: Deadline, clock: Clock) -> None:
    review.clock = clock.model_dump(mode="json")
    review.due_at = deadlines.due_at(deadline, clock)
    review.next_at = deadlines.next_at(deadline, clock)


async def _act(session: AsyncSession, run: Run, review: Review, action: Action, at: datetime) -> None:
    details: dict[str, Any] = {"due_at": action.due_at.isoformat()}
    if action.kind == "remind":
        whom = [review.holder] if review.holder else review.reviewers
        reviews.act(session, review, "reminded", None, at=at, whom=whom, group=review.group_name, **details)
    elif action.kind == "escalate":
        reviews.act(
            session, review, "escalated", None, at=at, to=action.group, group=review.group_name,
            reviewers=review.reviewers, holder=review.holder, **details,
        )  # fmt: skip
        review.group_name, review.reviewers = action.group, []
        review.holder = review.lease_until = None
    else:
        reason = "" if action.kind == "approve" else f"nobody decided before {action.due_at.isoformat()}"
        outcome = Outcome(review_id=review.review_id, answer=action.kind, reason=reason, settled_by="timeout", at=at)
        await _settle(session, run, review, outcome)


async def _settle(session: AsyncSession, run: Run, review: Review, outcome: Outcome) -> None:
    review.state, review.settled_at = _STATES[outcome.answer], outcome.at
    review.outcome = outcome.written()
    review.holder = review.lease_until = review.next_at = None
    reviews.act(
        session, review, "settled", None, at=outcome.at, answer=outcome.answer, settled_by=outcome.settled_by,
        by=list(outcome.by),
    )  # fmt: skip
    await _deliver(session, run, review, outcome.at)


async def deliver_again(session: AsyncSession, run: Run, review: Review, at: datetime) -> bool:
    """Hand the run the outcome that it could not take when it was settled."""
    if review.outcome is None or review.delivered_at is not None or review.state == "cancelled":
        return False
    return await _deliver(session, run, review, at)


async def _deliver(session: AsyncSession, run: Run, review: Review, at: datetime) -> bool:
    """Give the run the outcome where it waits for it; else it stays to be delivered."""
    asked = next((each for each in run.interrupts if each["id"] == review.interrupt_id), None)
    if run.status in ENDED or asked is None or review.interrupt_id in run.resume:
        return False
    outcome = review.outcome
    assert outcome is not None
    await answer(session, run, {review.interrupt_id: outcome}, by=", ".join(outcome["by"]) or None)
    review.delivered_at = at
    reviews.act(session, review, "delivered", None, at=at)
    return True
