"""`Reviews`: the queue of what waits for people, and what they do there. Any process may have one.

What is accepted is committed when a call returns: the decision, what it comes to and its delivery to the run are one
transaction. Whoever changes a run and its review locks the run first, as the hosts do. Time passes in `tick`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import ReviewConflictError, ReviewEditError
from actors.reviews import settling
from actors.reviews.agreement import Agreement
from actors.reviews.decisions import Approve, Edit, Reject, Respond, closed_to
from actors.reviews.groups import ANYBODY, Groups
from actors.reviews.voices import Voice, has_decided, spoken
from storage import reviews, runs, schedules
from storage.engine import Database
from storage.reviews import Review, ReviewAction, ReviewDecision, Sight

log = logging.getLogger(__name__)

# How long a claim holds unless it is asked for otherwise; renewed by claiming again.
LEASE_S, LONGEST_LEASE_S = 900.0, 24 * 3600.0
# The database is away: that is no review's fault.
_AWAY = (OperationalError, InterfaceError, PoolTimeoutError, OSError)
# Of one review: a client that repeats a refused decision for ever fills no table.
_REFUSALS_KEPT = 1000


class Page(Protocol):
    """A page of reviews that something is due of, behind the place where the page before ended."""

    async def __call__(
        self, session: AsyncSession, *, after: reviews.Place | None, limit: int
    ) -> Sequence[reviews.Place]: ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A review, what reviewers decided so far, and what was done to it, newest where it is much."""

    review: Review
    decisions: Sequence[ReviewDecision]
    actions: Sequence[ReviewAction]


class Reviews:
    """Of one database. Belongs to the event loop that it is used in."""

    # `at_once`: reviews that a tick reads at a time, and leases that one ends.
    def __init__(
        self, database: Database, groups: Groups = ANYBODY, *, keys_speak_for_many: bool = True, at_once: int = 500
    ) -> None:
        self._database = database
        self._groups = groups
        self._keys_speak_for_many = keys_speak_for_many
        self._at_once = at_once

    def sees(self, sight: Sight, review: Review) -> bool:
        """Whether it is one of the reviews that are looked at so."""
        return self._seen(sight).sees(review)

    async def queue(
        self, sight: Sight, *, limit: int, after: int | None = None, states: Sequence[str] = ("open",), **filters: Any
    ) -> Sequence[Review]:
        """Reviews in the order in which they were asked, after number `after`, without what is shown of each.

        Filters are those of `storage.reviews.page`.
        """
        async with self._database.read() as session:
            return await reviews.page(session, self._seen(sight), limit=limit, after=after, states=states, **filters)

    async def get(self, review_id: UUID) -> Review:
        """The review as it stands. Raises `NotFoundError`."""
        async with self._database.read() as session:
            return await reviews.get(session, review_id)

    async def whole(self, review_id: UUID, *, session: AsyncSession | None = None) -> Whole:
        """The review with what was decided and done about it, in one look: in the caller's unit of work with what that
        has done. Raises `NotFoundError`.
        """
        async with self._database.within(session) as unit:
            return Whole(
                await reviews.get(unit, review_id),
                await reviews.decisions(unit, review_id),
                await reviews.actions(unit, review_id),
            )

    async def decisions(self, review_id: UUID) -> Sequence[ReviewDecision]:
        """What reviewers decided so far, in order."""
        async with self._database.read() as session:
            return await reviews.decisions(session, review_id)

    async def actions(self, review_id: UUID) -> Sequence[ReviewAction]:
        """What was done to the review, in order; of thousands of actions the newest."""
        async with self._database.read() as session:
            return await reviews.actions(session, review_id)

    async def claim(self, review_id: UUID, *, by: str, lease_s: float = LEASE_S, voice: Voice | None = None) -> Review:
        """The review is `by`'s alone to decide, for `lease_s` seconds from now. Its holder's claim renews the lease.

        Raises `NotFoundError`, and `ReviewConflictError` where it is held, settled, for others or decided by them.
        """
        async with self._database.begin() as session:
            review = await reviews.locked(session, review_id)
            cast = await reviews.decisions(session, review_id)
            moment = await schedules.clock(session)
            if (refused := closed_to(settling.state_of(review, cast, self._groups), by=by, at=moment)) is not None:
                conflict, message = refused
                raise ReviewConflictError(
                    message, subject=str(review_id), state=review.state, conflict=conflict, holder=review.holder
                )
            _hold(session, review, by, moment, lease_s, voice)
        return review

    async def claim_next(
        self,
        sight: Sight,
        *,
        by: str,
        lease_s: float = LEASE_S,
        checkpoint: str | None = None,
        group: str | None = None,
        after: int | None = None,
        voice: Voice | None = None,
    ) -> Review | None:
        """Claim the earliest review in sight that nobody holds and `by` may decide; `None` where there is none.

        Of many who ask at once each is given another.
        """
        async with self._database.begin() as session:
            review = await reviews.next_free(
                session, self._seen(sight), by, checkpoint=checkpoint, group=group, after=after,
                closed=self._groups.closed_to(by),
            )  # fmt: skip
            if review is not None:
                _hold(session, review, by, await schedules.clock(session), lease_s, voice)
        return review

    async def release(self, review_id: UUID, *, by: str, voice: Voice | None = None) -> Review:
        """The review is nobody's again; of one that nobody holds, nothing is changed.

        Raises `NotFoundError`, and `ReviewConflictError` where another holds it.
        """
        async with self._database.begin() as session:
            review = await reviews.locked(session, review_id)
            if review.holder is not None:
                if review.holder != by:
                    holder = "somebody else" if review.blind else review.holder
                    raise ReviewConflictError(
                        f"review {review_id} is held by {holder}, and not by {by}",
                        subject=str(review_id), state=review.state, conflict="held", holder=review.holder,
                    )  # fmt: skip
                review.holder = review.lease_until = None
                reviews.act(session, review, "released", by, at=await schedules.clock(session), **spoken(voice))
        return review

    async def decide(
        self,
        review_id: UUID,
        decision: Approve | Edit | Reject | Respond,
        *,
        by: str,
        voice: Voice | None = None,
    ) -> Review:
        """Take `by`'s decision; where it settles the review, the run goes on. All of that or nothing is committed.

        Raises `NotFoundError`, `ReviewConflictError` for a late, foreign or repeated one, and `ReviewEditError`; a
        refused decision is put on record.
        """
        async with self._database.begin() as session:
            taken = await self.take(session, review_id, decision, by=by, voice=voice)
        if isinstance(taken, Review):
            return taken
        raise taken

    async def take(
        self,
        session: AsyncSession,
        review_id: UUID,
        decision: Approve | Edit | Reject | Respond,
        *,
        by: str,
        voice: Voice | None = None,
    ) -> Review | ReviewConflictError | ReviewEditError:
        """`decide` in the caller's unit of work. Answers why a decision is refused, for that it was is on record when
        the unit of work is committed. Raises `NotFoundError`.
        """
        run = await runs.locked(session, await reviews.run_of(session, review_id))
        review = await reviews.locked(session, review_id)
        moment = await schedules.clock(session)
        try:
            await self._require_voice(session, review, voice)
            await settling.take(session, run, review, decision, by=by, at=moment, groups=self._groups, voice=voice)
        except (ReviewConflictError, ReviewEditError) as error:
            _refuse(session, review, error, answer=decision.answer, by=by, at=moment, voice=voice)
            return error
        return review

    async def tick(self) -> dict[str, int]:
        """Do what has become due: leases that ran out, reminders, escalations, ends, deliveries; answers how many.

        Any number of hosts may do this at once: each review is done by one.
        """
        async with self._database.begin() as session:
            leases = await reviews.end_leases(session, limit=self._at_once)
        advanced = await self._each(reviews.due, settling.advance)
        delivered = await self._each(reviews.undelivered, settling.deliver_again)
        return {"leases": leases, "deadlines": advanced, "deliveries": delivered}

    async def _require_voice(self, session: AsyncSession, review: Review, voice: Voice | None) -> None:
        if self._keys_speak_for_many or Agreement.model_validate(review.agreement).needed == 1:
            return
        if has_decided(voice, await reviews.actions(session, review.review_id, kind="decided")):
            raise ReviewConflictError(
                f"this API key has decided on review {review.review_id} already, and is one voice here",
                subject=str(review.review_id), state=review.state, conflict="repeated",
            )  # fmt: skip

    def _seen(self, sight: Sight) -> Sight:
        return replace(sight, groups=self._groups.of(sight.reviewer))

    async def _each(self, page: Page, work: settling.Timely) -> int:
        """Do this to all reviews there are now, also behind many with which nothing can be done; answers how many."""
        count = 0
        after: reviews.Place | None = None
        while True:
            async with self._database.read() as session:
                found = await page(session, after=after, limit=self._at_once)
            for _, review_id in found:
                count += await self._done(review_id, work)
            if len(found) < self._at_once:
                return count
            after = found[-1]

    async def _done(self, review_id: UUID, work: settling.Timely) -> bool:
        """Whether there was something to do. One review that cannot be done keeps no other from it."""
        try:
            async with self._database.begin() as session:
                run = await runs.locked(session, await reviews.run_of(session, review_id))
                review = await reviews.locked(session, review_id)
                return await work(session, run, review, await schedules.clock(session))
        except _AWAY:
            raise
        except Exception:
            log.exception("review %s cannot be gone on with", review_id)
            return False


def _hold(  # noqa: PLR0917 - what a claim is
    session: AsyncSession, review: Review, by: str, moment: datetime, lease_s: float, voice: Voice | None
) -> None:
    if review.holder is not None and review.holder != by:  # its lease is over
        reviews.act(session, review, "lease_lost", review.holder, at=moment, to=by)
    until = moment + timedelta(seconds=min(max(1.0, lease_s), LONGEST_LEASE_S))
    kind = "claimed" if review.holder != by else "renewed"
    review.holder, review.lease_until = by, until
    reviews.act(session, review, kind, by, at=moment, lease_until=until.isoformat(), **spoken(voice))


def _refuse(
    session: AsyncSession,
    review: Review,
    error: ReviewConflictError | ReviewEditError,
    *,
    answer: str,
    by: str,
    at: datetime,
    voice: Voice | None,
) -> None:
    review.refused += 1
    if review.refused <= _REFUSALS_KEPT:
        conflict = error.details.get("conflict", "edit")
        reviews.act(
            session,
            review,
            "refused",
            by,
            at=at,
            answer=answer,
            conflict=conflict,
            message=error.message[:1000],
            **spoken(voice),
        )
