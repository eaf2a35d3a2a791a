"""Reviews: one row per question that a run asks of people, from the moment it is asked.

open → approved | edited | rejected | responded | failed, or cancelled where its run ended first. A run that is retried
opens its cancelled reviews again. Beside them what people decided and all that was done, neither of which changes.
Leases and deadlines are judged by the database's clock, so hosts whose clocks differ agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Identity, Index, Select, and_, func, or_, select, text, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, defer, mapped_column

from storage.clock import now
from storage.columns import Json, JsonList, Timestamp
from storage.engine import Base
from storage.errors import NotFoundError
from storage.ids import new_id
from storage.runs import RETRIED, UNFINISHED, Run

SETTLED = ("approved", "edited", "rejected", "responded", "failed")
STATES = ("open", *SETTLED, "cancelled")

# Whoever shows the queue listens here: the id of a review that something was done to.
CHANNEL = "hyvve_reviews"

_MaybeJson = JSONB(none_as_null=True)


class Review(Base):
    """`number` gives the queue its order: the earliest asked first."""

    __tablename__ = "reviews"
    __table_args__ = (
        Index("uq_reviews_number", "number", unique=True),
        Index("ix_reviews_open", "number", postgresql_where=text("state = 'open'")),
        Index("ix_reviews_next", "next_at", postgresql_where=text("state = 'open' AND next_at IS NOT NULL")),
        Index("ix_reviews_leases", "lease_until", postgresql_where=text("state = 'open' AND lease_until IS NOT NULL")),
        Index(
            "ix_reviews_undelivered", "settled_at",
            postgresql_where=text("settled_at IS NOT NULL AND delivered_at IS NULL AND state <> 'cancelled'"),
        ),
        Index("ix_reviews_run", "run_id", "number"),
        Index("ix_reviews_owner", "owner", "number"),
        Index("ix_reviews_campaign", "campaign_id", "number", postgresql_where=text("campaign_id IS NOT NULL")),
        Index("ix_reviews_contribution", "contribution_id", postgresql_where=text("contribution_id IS NOT NULL")),
    )  # fmt: skip

    review_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    # No foreign key: as of run_events, the run's own row is written with it.
    run_id: Mapped[UUID]
    interrupt_id: Mapped[str]
    step: Mapped[str | None]
    checkpoint: Mapped[str]
    title: Mapped[str]
    # The kind of runs that asks.
    source: Mapped[str]
    # The run's: the wallet it acts for; none is the system.
    owner: Mapped[str | None]
    campaign_id: Mapped[str | None]
    contribution_id: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="open")
    subject: Mapped[Json]
    # The digest of `subject`, which a decision names.
    saw: Mapped[str]
    shown: Mapped[JsonList]
    edit_schema: Mapped[dict[str, Any] | None] = mapped_column(_MaybeJson)
    ruling: Mapped[dict[str, Any] | None] = mapped_column(_MaybeJson)
    answers: Mapped[JsonList]
    # Whom it is with now; nobody named is anybody.
    reviewers: Mapped[JsonList]
    group_name: Mapped[str | None]
    agreement: Mapped[Json]
    # Those who were asked disagree: a third decides.
    disputed: Mapped[bool] = mapped_column(default=False)
    deadline: Mapped[Json]
    clock: Mapped[Json]
    due_at: Mapped[Timestamp | None]
    # When a reminder, an escalation or its end is due.
    next_at: Mapped[Timestamp | None]
    holder: Mapped[str | None]
    lease_until: Mapped[Timestamp | None]
    blind: Mapped[bool] = mapped_column(default=False)
    # Decisions that were refused; of a flood of them only the first are recorded.
    refused: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Timestamp] = mapped_column(default=now)
    settled_at: Mapped[Timestamp | None]
    outcome: Mapped[dict[str, Any] | None] = mapped_column(_MaybeJson)
    # When the outcome was handed to the run.
    delivered_at: Mapped[Timestamp | None]

    @property
    def hides(self) -> bool:
        """Whether its reviewers are not told of each other: it is blind, and waits for them, or may again after a retry
        of its run.
        """
        return self.blind and self.state in ("open", "cancelled")


class ReviewDecision(Base):
    """What one reviewer decided. Never changed: the database refuses it."""

    __tablename__ = "review_decisions"

    review_id: Mapped[UUID] = mapped_column(primary_key=True)
    reviewer: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    answer: Mapped[str]
    # Equal ones are the same decision.
    outcome: Mapped[str]
    payload: Mapped[dict[str, Any] | None] = mapped_column(_MaybeJson)
    # The reason of a rejection, the message of a response.
    words: Mapped[str]
    # What the edit made different.
    changes: Mapped[JsonList]
    saw: Mapped[str]
    at: Mapped[Timestamp] = mapped_column(default=now)


class ReviewAction(Base):
    """What was done to a review, by whom, when, and what they saw. Never changed: the database refuses it.

    `kind`: asked, claimed, renewed, released, lease_lost, decided, refused, disputed, opened (to anybody: all of its
    group have decided), reminded, escalated, settled, delivered, cancelled.
    """

    __tablename__ = "review_actions"
    __table_args__ = (Index("ix_review_actions", "review_id", "seq"), Index("ix_review_actions_run", "run_id", "seq"))

    action_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    review_id: Mapped[UUID]
    run_id: Mapped[UUID]
    kind: Mapped[str]
    # None is the machine.
    who: Mapped[str | None]
    saw: Mapped[str | None]
    details: Mapped[Json] = mapped_column(default=dict)
    at: Mapped[Timestamp] = mapped_column(default=now)


class RunArtifact(Base):
    """What a step made that is to be kept: a payload, a response, a diff. Never changed: the database refuses it."""

    __tablename__ = "run_artifacts"
    __table_args__ = (Index("ix_run_artifacts_seq", "run_id", "seq"),)

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    artifact_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    kind: Mapped[str]
    name: Mapped[str]
    step: Mapped[str | None]
    body: Mapped[Any] = mapped_column(JSONB)
    at: Mapped[Timestamp] = mapped_column(default=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Which reviews are looked at: all, or the system's, those of a wallet's runs, those that name a reviewer, and
    those that are with a group of theirs and name nobody.
    """

    everything: bool = False
    wallet: str | None = None
    reviewer: str | None = None
    groups: tuple[str, ...] = ()

    def sees(self, review: Review) -> bool:
        if self.everything or review.owner is None or review.owner == self.wallet:
            return True
        if not review.reviewers and review.group_name in self.groups:
            return True
        return self.reviewer is not None and self.reviewer in review.reviewers


# Megabytes in a page, and nobody reads them there.
_HEAVY = (Review.subject, Review.shown, Review.edit_schema, Review.ruling, Review.outcome)


async def get(session: AsyncSession, review_id: UUID) -> Review:
    """The review. Raises `NotFoundError`."""
    row = await session.get(Review, review_id, populate_existing=True)
    if row is None:
        raise NotFoundError.of("review", str(review_id))
    return row


async def run_of(session: AsyncSession, review_id: UUID) -> UUID:
    """The run that asks. Raises `NotFoundError`."""
    found = (await session.execute(select(Review.run_id).where(Review.review_id == review_id))).scalar_one_or_none()
    if found is None:
        raise NotFoundError.of("review", str(review_id))
    return found


async def locked(session: AsyncSession, review_id: UUID) -> Review:
    """The review, which nobody else changes until the unit of work ends. Raises `NotFoundError`.

    Whoever also locks its run locks that first, as the hosts do.
    """
    row = await session.get(Review, review_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFoundError.of("review", str(review_id))
    return row


async def page(
    session: AsyncSession,
    sight: Sight,
    *,
    limit: int,
    after: int | None = None,
    states: Sequence[str] = ("open",),
    checkpoint: str | None = None,
    source: str | None = None,
    run_id: UUID | None = None,
    campaign_id: str | None = None,
    contribution_id: str | None = None,
    group: str | None = None,
    holder: str | None = None,
    free: bool = False,
) -> Sequence[Review]:
    """Reviews in the order in which they were asked, those after number `after`, without what is shown of each.

    `free`: only those that nobody holds. Who holds a blind one that waits finds it by their name, and nobody else does.
    """
    query = _in_sight(sight).options(*(defer(column, raiseload=True) for column in _HEAVY))
    for column, value in (
        (Review.checkpoint, checkpoint), (Review.source, source), (Review.run_id, run_id),
        (Review.campaign_id, campaign_id), (Review.contribution_id, contribution_id), (Review.group_name, group),
        (Review.holder, holder),
    ):  # fmt: skip
        if value is not None:
            query = query.where(column == value)
    if states:
        # One state by itself, so that the partial index of the open ones is used.
        query = query.where(Review.state == states[0] if len(states) == 1 else Review.state.in_(states))
    if holder is not None and holder != sight.reviewer:
        query = query.where(~_hidden())
    if free:
        query = query.where(_unheld())
    if after is not None:
        query = query.where(Review.number > after)
    return (await session.execute(query.order_by(Review.number).limit(limit))).scalars().all()


async def next_free(
    session: AsyncSession,
    sight: Sight,
    by: str,
    *,
    checkpoint: str | None,
    group: str | None,
    after: int | None,
    closed: Sequence[str] = (),
) -> Review | None:
    """The earliest open review that `by` may decide and nobody holds, locked; another's lock is passed over.

    `closed` are groups that `by` is not in: what is with them is not theirs.
    """
    decided = select(ReviewDecision.review_id).where(
        ReviewDecision.review_id == Review.review_id, ReviewDecision.reviewer == by
    )
    query = _in_sight(sight).where(
        Review.state == "open", _unheld(), or_(Review.reviewers == [], Review.reviewers.contains([by])),
        or_(Review.due_at.is_(None), Review.due_at > func.clock_timestamp()), ~decided.exists(),
    )  # fmt: skip
    for column, value in ((Review.checkpoint, checkpoint), (Review.group_name, group)):
        if value is not None:
            query = query.where(column == value)
    if closed:
        named = Review.reviewers.contains([by])
        query = query.where(or_(named, Review.group_name.is_(None), Review.group_name.not_in(closed)))
    if after is not None:
        query = query.where(Review.number > after)
    query = query.order_by(Review.number).limit(1).with_for_update(skip_locked=True)
    return (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()


def _in_sight(sight: Sight) -> Any:
    query = select(Review)
    if sight.everything:
        return query
    seen: list[ColumnElement[bool]] = [Review.owner.is_(None)]
    if sight.wallet is not None:
        seen.append(Review.owner == sight.wallet)
    if sight.reviewer is not None:
        seen.append(Review.reviewers.contains([sight.reviewer]))
    if sight.groups:
        seen.append(and_(Review.reviewers == [], Review.group_name.in_(sight.groups)))
    return query.where(or_(*seen))


def _unheld() -> Any:
    return or_(Review.holder.is_(None), Review.lease_until < func.clock_timestamp())


def _hidden() -> ColumnElement[bool]:
    """Of a review whose reviewers do not see each other, while they still decide, or may after a retry of its run."""
    retried = select(Run.run_id).where(Run.run_id == Review.run_id, Run.retained.in_(RETRIED)).exists()
    return and_(Review.blind, or_(Review.state == "open", and_(Review.state == "cancelled", retried)))


async def decisions(session: AsyncSession, review_id: UUID) -> Sequence[ReviewDecision]:
    """What reviewers decided, in the order in which they did."""
    query = select(ReviewDecision).where(ReviewDecision.review_id == review_id).order_by(ReviewDecision.seq)
    return (await session.execute(query)).scalars().all()


# What one client can do to a review again and again, without anything coming of it.
_IDLE = ("refused", "claimed", "renewed", "released")


async def actions(
    session: AsyncSession, review_id: UUID, *, limit: int = 1000, kind: str | None = None
) -> Sequence[ReviewAction]:
    """What was done to the review, in order; of a `kind`, that alone.

    Where it is more than `limit`, the newest; refusals and claims are counted by themselves, so that no flood of them
    hides what was decided.
    """
    given = select(ReviewAction).where(ReviewAction.review_id == review_id)
    parts = [given.where(ReviewAction.kind == kind)] if kind is not None else [
        given.where(ReviewAction.kind.in_(_IDLE)), given.where(ReviewAction.kind.not_in(_IDLE))
    ]  # fmt: skip
    found: list[ReviewAction] = []
    for part in parts:
        found += (await session.execute(part.order_by(ReviewAction.seq.desc()).limit(limit))).scalars()
    return sorted(found, key=lambda each: each.seq)


def act(session: AsyncSession, review: Review, kind: str, who: str | None, *, at: datetime, **details: Any) -> None:
    """Put on record what was done to the review, with the digest of what it was about then."""
    session.add(
        ReviewAction(
            review_id=review.review_id, run_id=review.run_id, kind=kind, who=who, saw=review.saw, details=details, at=at
        )
    )


async def of_interrupts(session: AsyncSession, run_id: UUID, interrupt_ids: Sequence[str]) -> dict[str, Review]:
    """The newest review of each of these interrupts that has one."""
    query = (
        select(Review).where(Review.run_id == run_id, Review.interrupt_id.in_(interrupt_ids)).order_by(Review.number)
        .options(*(defer(column, raiseload=True) for column in _HEAVY))
    )  # fmt: skip
    return {row.interrupt_id: row for row in (await session.execute(query)).scalars()}


# Where a page of reviews ended: when that review was due, and which it is.
Place = tuple[datetime, UUID]


async def due(session: AsyncSession, *, after: Place | None, limit: int) -> Sequence[Place]:
    """Open reviews whose reminder, escalation or end has come, the longest due first."""
    query = select(Review.next_at, Review.review_id).where(
        Review.state == "open", Review.next_at <= func.clock_timestamp()
    )
    return await _paged(session, query, Review.next_at, after, limit)


async def undelivered(session: AsyncSession, *, after: Place | None, limit: int) -> Sequence[Place]:
    """Settled reviews whose run goes on and was not given the outcome yet, the longest settled first."""
    query = select(Review.settled_at, Review.review_id).join(Run, Run.run_id == Review.run_id).where(
        Review.settled_at.is_not(None), Review.delivered_at.is_(None), Review.state != "cancelled",
        Run.status.in_(UNFINISHED),
    )  # fmt: skip
    return await _paged(session, query, Review.settled_at, after, limit)


async def _paged(
    session: AsyncSession, query: Select[Any, UUID], moment: Any, after: Place | None, limit: int
) -> Sequence[Place]:
    if after is not None:
        query = query.where(tuple_(moment, Review.review_id) > after)
    rows = await session.execute(query.order_by(moment, Review.review_id).limit(limit))
    return [(row[0], row[1]) for row in rows]


_RUN_OUT = text(
    "WITH lost AS (SELECT review_id, holder, lease_until FROM reviews WHERE state = 'open'"
    " AND lease_until < clock_timestamp() ORDER BY lease_until LIMIT :limit FOR UPDATE SKIP LOCKED),"
    " freed AS (UPDATE reviews r SET holder = NULL, lease_until = NULL FROM lost WHERE r.review_id = lost.review_id"
    "  RETURNING r.review_id, r.run_id, r.saw, lost.holder, lost.lease_until)"
    " INSERT INTO review_actions (action_id, review_id, run_id, kind, who, saw, details, at)"
    " SELECT gen_random_uuid(), review_id, run_id, 'lease_lost', holder, saw,"
    "  jsonb_build_object('lease_until', lease_until), clock_timestamp() FROM freed RETURNING review_id"
)


async def end_leases(session: AsyncSession, *, limit: int) -> int:
    """Reviews whose lease has run out are nobody's; answers how many. What somebody is just writing to is left."""
    return len((await session.execute(_RUN_OUT, {"limit": limit})).all())


async def of_run(session: AsyncSession, run_id: UUID, *, after: int, limit: int) -> Sequence[Review]:
    """The run's reviews with all that is shown of them, in the order in which they were asked."""
    query = (
        select(Review).where(Review.run_id == run_id, Review.number > after).order_by(Review.number).limit(limit)
    )  # fmt: skip
    return (await session.execute(query)).scalars().all()


async def decisions_of_run(session: AsyncSession, run_id: UUID, *, after: int, limit: int) -> Sequence[ReviewDecision]:
    """What reviewers decided of the run's reviews, in order; of a blind one that waits it is not told yet."""
    query = (
        select(ReviewDecision).join(Review, Review.review_id == ReviewDecision.review_id)
        .where(Review.run_id == run_id, ReviewDecision.seq > after, ~_hidden())
        .order_by(ReviewDecision.seq).limit(limit)
    )  # fmt: skip
    return (await session.execute(query)).scalars().all()


async def actions_of_run(session: AsyncSession, run_id: UUID, *, after: int, limit: int) -> Sequence[ReviewAction]:
    """What was done to the run's reviews, in order; of a blind one that waits only that it was asked."""
    query = (
        select(ReviewAction).join(Review, Review.review_id == ReviewAction.review_id)
        .where(
            ReviewAction.run_id == run_id, ReviewAction.seq > after, or_(ReviewAction.kind == "asked", ~_hidden())
        )
        .order_by(ReviewAction.seq).limit(limit)
    )  # fmt: skip
    return (await session.execute(query)).scalars().all()


async def artifacts(session: AsyncSession, run_id: UUID, *, after: int = 0, limit: int = 100) -> Sequence[RunArtifact]:
    """What the run's steps kept, in order."""
    query = (
        select(RunArtifact).where(RunArtifact.run_id == run_id, RunArtifact.seq > after)
        .order_by(RunArtifact.seq).limit(limit)
    )  # fmt: skip
    return (await session.execute(query)).scalars().all()
