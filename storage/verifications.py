"""Verification batches and results. A result row is the checkpoint: a batch goes on with the items that lack one.

A batch's `epoch` rises each time a runner takes it over; a result is written only by the present epoch, so a
cut-off runner's late tasks cannot write (see `write_results`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import BigInteger, ForeignKey, Identity, Index, UniqueConstraint, func, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column

from storage import verdict_reviews
from storage.campaigns import Campaign
from storage.clock import now
from storage.columns import Json, JsonList, Timestamp
from storage.contributions import Contribution
from storage.engine import Base
from storage.errors import ConflictError, NotFoundError
from storage.ids import new_id

# pending → running → completed | cancelled | failed
UNFINISHED = ("pending", "running")
# How far back a batch's present pace is measured: long enough for one that waits for slow answers.
RECENT_S = 120.0


class VerificationBatch(Base):
    __tablename__ = "verification_batches"
    __table_args__ = (
        Index("ix_batches_unfinished", "state", postgresql_where=text("state IN ('pending', 'running')")),
        Index("ix_batches_campaign", "campaign_id", "created_at"),
    )

    batch_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.campaign_id"))
    state: Mapped[str] = mapped_column(default="pending")
    sample_size: Mapped[int | None]
    triggered_count: Mapped[int] = mapped_column(default=0)
    total_found: Mapped[int] = mapped_column(default=0)
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    # Whether a person is asked about each verdict REVIEW.
    asks_people: Mapped[bool] = mapped_column(default=True)
    error: Mapped[str | None]
    created_at: Mapped[Timestamp] = mapped_column(default=now)
    started_at: Mapped[Timestamp | None]
    finished_at: Mapped[Timestamp | None]


class VerificationBatchItem(Base):
    """Membership, fixed when the batch is made; `ordinal` follows the order of submission."""

    __tablename__ = "verification_batch_items"

    batch_id: Mapped[UUID] = mapped_column(ForeignKey("verification_batches.batch_id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    contribution_id: Mapped[UUID] = mapped_column(ForeignKey("contributions.contribution_id"))


class VerificationResult(Base):
    """One judgement. Online verification of a loose file has no contribution and no batch."""

    __tablename__ = "verification_results"
    __table_args__ = (
        UniqueConstraint("batch_id", "contribution_id", name="uq_results_batch_contribution"),
        Index("ix_results_contribution", "contribution_id", "result_id"),
        Index("ix_results_batch", "batch_id", "result_id"),
        Index("ix_results_asked", "contribution_id", postgresql_where=text("review_run_id IS NOT NULL")),
        Index("uq_results_decides", "decides", unique=True, postgresql_where=text("decides IS NOT NULL")),
        Index(
            "uq_results_decided", "contribution_id", "content_hash", unique=True,
            postgresql_where=text("decides IS NOT NULL"),
        ),
        Index("ix_results_decisions", "campaign_id", "result_id", postgresql_where=text("decides IS NOT NULL")),
    )  # fmt: skip

    result_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    batch_id: Mapped[UUID | None] = mapped_column(ForeignKey("verification_batches.batch_id"))
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.campaign_id"))
    contribution_id: Mapped[UUID | None] = mapped_column(ForeignKey("contributions.contribution_id"))
    contributor: Mapped[str]
    verdict: Mapped[str]
    score: Mapped[float | None]
    raw_score: Mapped[float | None]
    adjustment: Mapped[float | None]
    confidence: Mapped[float | None]
    reasoning: Mapped[str]
    marks: Mapped[JsonList]
    scorer: Mapped[str | None]
    scorer_version: Mapped[str | None]
    content_hash: Mapped[str | None]
    media_type: Mapped[str | None]
    left_out: Mapped[JsonList]
    duplicate_of: Mapped[UUID | None]
    duplicate_kind: Mapped[str | None]
    similarity: Mapped[float | None]
    error_code: Mapped[str | None]
    usage: Mapped[Json]
    duration_ms: Mapped[float]
    created_at: Mapped[Timestamp] = mapped_column(default=now)
    # The run that asks a person about it.
    review_run_id: Mapped[UUID | None]
    # Of a person's decision: the result that it is on, who decided, by which review.
    decides: Mapped[int | None] = mapped_column(BigInteger)
    decided_by: Mapped[str | None]
    review_id: Mapped[UUID | None]


@dataclass(slots=True, kw_only=True)
class ResultRow:
    """A judgement on its way to the table. Scores 0–100, `None` on ERROR: a failure is never a score."""

    campaign_id: UUID
    contributor: str
    verdict: str
    reasoning: str
    contribution_id: UUID | None = None
    score: float | None = None
    raw_score: float | None = None
    adjustment: float | None = None
    confidence: float | None = None
    marks: list[dict[str, Any]] = field(default_factory=list)
    scorer: str | None = None
    scorer_version: str | None = None
    content_hash: str | None = None
    media_type: str | None = None
    left_out: list[str] = field(default_factory=list)
    duplicate_of: UUID | None = None
    duplicate_kind: str | None = None
    similarity: float | None = None
    error_code: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    duration_ms: float = 0.0
    # Set where it is written and a person is asked about it.
    review_run_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a batch stands, computed from its rows. `verdicts` count what people decided as they decided it, and
    `decided` counts those alone. `recent` are those judged in the last `RECENT_S` seconds.
    """

    judged: int
    recent: int
    verdicts: dict[str, int]
    decided: dict[str, int]
    errors: dict[str, int]
    first_at: datetime | None
    last_at: datetime | None


async def open_batch(
    session: AsyncSession,
    campaign_id: UUID,
    *,
    sample_size: int | None = None,
    only_unjudged: bool = False,
    asks_people: bool = True,
) -> VerificationBatch:
    """A pending batch over all of a campaign's contributions, members fixed now; or over those alone that nothing could
    judge yet (without a verdict, or with ERROR), or over a random sample of either.

    `total_found` and `triggered_count` count the very contributions that the members were chosen from, and the members.
    A sample is compared with what the campaign has read so far: an original that no batch has read yet is not found. A
    later batch over all judges in order of submission and finds it, and its verdicts replace those of the sample.
    """
    batch = VerificationBatch(
        batch_id=new_id(), campaign_id=campaign_id, sample_size=sample_size, asks_people=asks_people
    )
    session.add(batch)
    await session.flush()
    # One statement sees one state of the table, whoever submits meanwhile.
    wanted = "SELECT * FROM found"
    if only_unjudged:
        wanted = "SELECT * FROM found WHERE verdict IS NULL OR verdict = 'ERROR'"
    chosen = wanted if sample_size is None else f"{wanted} ORDER BY random() LIMIT :sample_size"
    query = text(
        "WITH found AS MATERIALIZED (SELECT contribution_id, seq, verdict FROM contributions"  # noqa: S608  # constants only
        "  WHERE campaign_id = :campaign_id),"
        " members AS (INSERT INTO verification_batch_items (batch_id, ordinal, contribution_id)"
        "  SELECT :batch_id, row_number() OVER (ORDER BY seq) - 1, contribution_id"
        f"  FROM ({chosen}) c RETURNING ordinal)"
        " SELECT (SELECT count(*) FROM found), (SELECT count(*) FROM members)"
    )
    given: dict[str, Any] = {"campaign_id": campaign_id, "batch_id": batch.batch_id}
    if sample_size is not None:
        given["sample_size"] = sample_size
    batch.total_found, batch.triggered_count = (await session.execute(query, given)).one()
    await session.flush()
    return batch


async def batch(session: AsyncSession, batch_id: UUID) -> VerificationBatch:
    """The batch. Raises `NotFoundError`."""
    row = await session.get(VerificationBatch, batch_id)
    if row is None:
        raise NotFoundError.of("verification batch", str(batch_id))
    return row


async def unfinished(session: AsyncSession) -> Sequence[UUID]:
    """Ids of batches that are pending or running, oldest first."""
    query = select(VerificationBatch.batch_id).where(VerificationBatch.state.in_(UNFINISHED))
    return (await session.execute(query.order_by(VerificationBatch.batch_id))).scalars().all()


async def take_over(session: AsyncSession, batch_id: UUID) -> int | None:
    """Become the batch's runner: a fresh epoch, or `None` where the batch is finished."""
    statement = (
        update(VerificationBatch)
        .where(VerificationBatch.batch_id == batch_id, VerificationBatch.state.in_(UNFINISHED))
        .values(
            epoch=VerificationBatch.epoch + 1,
            state="running",
            started_at=func.coalesce(VerificationBatch.started_at, now()),
        )
        .returning(VerificationBatch.epoch)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def standing(session: AsyncSession, batch_id: UUID) -> tuple[bool, int]:
    """Whether somebody asked the batch to stop, and its epoch."""
    query = select(VerificationBatch.cancel_requested, VerificationBatch.epoch)
    row = (await session.execute(query.where(VerificationBatch.batch_id == batch_id))).one()
    return row[0], row[1]


async def missing(session: AsyncSession, batch_id: UUID, *, after: int, limit: int) -> list[tuple[int, UUID]]:
    """`(ordinal, contribution_id)` of up to `limit` items past `after` without a result yet, in order; none at the end.

    Items first, their results after: the planner's statistics lag behind a batch, and for a join of both it reads all
    results of the batch for each item.
    """
    query = (
        select(VerificationBatchItem.ordinal, VerificationBatchItem.contribution_id)
        .where(VerificationBatchItem.batch_id == batch_id)
        .order_by(VerificationBatchItem.ordinal)
        .limit(limit)
    )
    while True:
        page = (await session.execute(query.where(VerificationBatchItem.ordinal > after))).all()
        left = set(await without_row(session, batch_id, [contribution_id for _, contribution_id in page]))
        found = [(ordinal, contribution_id) for ordinal, contribution_id in page if contribution_id in left]
        if found or not page:
            return found
        after = page[-1][0]


async def without_row(session: AsyncSession, batch_id: UUID, contribution_ids: Sequence[UUID]) -> list[UUID]:
    """Those of these contributions that have no result in the batch yet, in the order given."""
    query = text(
        "SELECT contribution_id FROM verification_results"
        " WHERE batch_id = :batch_id AND contribution_id = ANY(CAST(:ids AS uuid[]))"
    )
    done = set((await session.execute(query, {"batch_id": batch_id, "ids": list(contribution_ids)})).scalars())
    return [each for each in contribution_ids if each not in done]


async def write_results(
    session: AsyncSession, batch_id: UUID, epoch: int, rows: Sequence[ResultRow], *, asks_people: bool = False
) -> int:
    """Write judgements of a batch and mirror them on the contributions; answers how many were new.

    An ERROR is not mirrored over an earlier verdict: it says that nothing could judge, not that the verdict was wrong;
    nor is anything over what a person decided on equal content. With `asks_people`, and where the batch asks them too,
    a person is asked about each new REVIEW. Raises `ConflictError` where `epoch` is no longer the batch's, or the batch
    is finished: the caller was cut off and must stop. The batch's row is held until the unit of work ends, before all
    other rows: so both stand still, and writers of one batch take turns (see `results`).
    """
    present = (await session.execute(_TURN, {"batch_id": batch_id})).one_or_none()
    if present is None or present[0] != epoch or present[1] not in UNFINISHED:
        found = "gone" if present is None else f"{present[1]} at epoch {present[0]}"
        raise ConflictError(f"batch {batch_id} is {found}; this runner holds epoch {epoch}", subject=str(batch_id))
    return await _insert_results(session, batch_id, rows, asks_people=asks_people and present[2])


async def write_single(session: AsyncSession, row: ResultRow, *, asks_people: bool = False) -> None:
    """Write one online judgement, outside any batch; mirrored, and asked about, as `write_results` does."""
    await _insert_results(session, None, [row], asks_people=asks_people)


# Held from before ids are given to rows until those are seen, so the ids of a batch are seen in their order, which is
# what whoever pages by them relies on. Whose machine vanishes in its turn holds up the others no longer than this: the
# server would wait for it for hours.
_TURN_S = 30
_TURN = text(
    "SELECT epoch, state, asks_people, set_config('idle_in_transaction_session_timeout', CAST(:turn AS text), true)"
    " FROM verification_batches WHERE batch_id = :batch_id FOR NO KEY UPDATE"
).bindparams(turn=f"{_TURN_S}s")


# One statement and one parameter, for this is the hot path of a batch: the rows as JSON, which orjson writes from the
# dataclass in a fraction of the time that binding each column takes.
_COLUMNS = (
    "campaign_id uuid, contribution_id uuid, contributor text, verdict text, score float8, raw_score float8,"
    " adjustment float8, confidence float8, reasoning text, marks jsonb, scorer text, scorer_version text,"
    " content_hash text, media_type text, left_out jsonb, duplicate_of uuid, duplicate_kind text, similarity float8,"
    " error_code text, usage jsonb, duration_ms float8, review_run_id uuid"
)
_NAMES = ", ".join(column.split()[0] for column in _COLUMNS.split(","))
_VALUES = _NAMES.replace("review_run_id", verdict_reviews.REVIEW_RUN)
_INSERT = text(
    "WITH new AS ("  # noqa: S608  # constants only
    f" INSERT INTO verification_results (batch_id, created_at, {_NAMES})"
    f" SELECT CAST(:batch_id AS uuid), :moment, {_VALUES}"
    f" FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_COLUMNS})"
    " ON CONFLICT ON CONSTRAINT uq_results_batch_contribution DO NOTHING"
    " RETURNING result_id, campaign_id, contribution_id, verdict, score, content_hash, review_run_id"
    "), mirrored AS ("
    " UPDATE contributions c SET verdict = new.verdict, verified_score = new.score, verified_at = :moment,"
    " is_verified = (new.verdict = 'ACCEPT') FROM new WHERE c.contribution_id = new.contribution_id"
    # Says it twice: the planner takes JSON to be a hundred rows, for which it would read all contributions.
    " AND c.contribution_id = ANY(CAST(:ids AS uuid[]))"
    # An outage takes nothing away from who was judged already; that it was is in the results.
    " AND (new.verdict <> 'ERROR' OR c.verdict IS NULL OR c.verdict = 'ERROR')"
    # A column of this very row, so that a decision that is written at the same moment is seen.
    " AND (c.reviewed_hash IS NULL OR c.reviewed_hash IS DISTINCT FROM new.content_hash)"
    f"), {verdict_reviews.BESIDE}"
    " SELECT (SELECT count(*) FROM new), (SELECT array_agg(run_id) FROM asking), (SELECT count(*) FROM told)"
)
# People's decisions are written under this lock, too. A statement sees the state of when it began, so it begins when it
# need wait for none of them.
_HOLD = text(
    "SELECT FROM contributions WHERE contribution_id = ANY(CAST(:ids AS uuid[])) ORDER BY contribution_id"
    " FOR NO KEY UPDATE"
)


async def _insert_results(
    session: AsyncSession, batch_id: UUID | None, rows: Sequence[ResultRow], *, asks_people: bool
) -> int:
    if not rows:
        return 0
    run_ids = []
    for row in rows if asks_people else ():
        if row.verdict == "REVIEW" and row.contribution_id is not None:
            row.review_run_id = new_id()
            run_ids.append(row.review_run_id)
    values = {
        "batch_id": batch_id,
        "moment": now(),
        "rows": orjson.dumps(list(rows)).decode(),
        "ids": [row.contribution_id for row in rows if row.contribution_id is not None],
        **verdict_reviews.given_beside(run_ids),
    }
    if values["ids"]:
        await session.execute(_HOLD, {"ids": values["ids"]})
    count, asking, _ = (await session.execute(_INSERT, values)).one()
    await verdict_reviews.stop_asking(session, asking or [])
    return int(count)


_PROGRESS = text(
    "SELECT coalesce(d.verdict, r.verdict), d.verdict IS NOT NULL, r.error_code, count(*), min(r.created_at),"
    " max(r.created_at), count(*) FILTER (WHERE r.created_at > :since) FROM verification_results r"
    " LEFT JOIN verification_results d ON r.verdict = 'REVIEW' AND d.decides IS NOT NULL"
    "  AND d.contribution_id = r.contribution_id AND d.content_hash = r.content_hash"
    " WHERE r.batch_id = :batch_id GROUP BY 1, 2, 3"
)


async def progress(session: AsyncSession, batch_id: UUID) -> Progress:
    """Counts per verdict and per error code of a batch."""
    verdicts: dict[str, int] = {}
    decided: dict[str, int] = {}
    errors: dict[str, int] = {}
    moments: list[datetime] = []
    recent = 0
    given = {"batch_id": batch_id, "since": now() - timedelta(seconds=RECENT_S)}
    for verdict, by_person, error_code, count, first, last, new in await session.execute(_PROGRESS, given):
        recent += new
        verdicts[verdict] = verdicts.get(verdict, 0) + count
        if by_person:
            decided[verdict] = decided.get(verdict, 0) + count
        if error_code is not None:
            errors[error_code] = errors.get(error_code, 0) + count
        moments += [first, last]
    return Progress(
        sum(verdicts.values()),
        recent,
        verdicts,
        decided,
        errors,
        min(moments, default=None),
        max(moments, default=None),
    )


async def decisions_on(session: AsyncSession, rows: Sequence[VerificationResult]) -> dict[int, VerificationResult]:
    """What people decided on these results, or on equal content of the same contribution, by `result_id`."""
    asked = {row.result_id: (row.contribution_id, row.content_hash) for row in rows if row.verdict == "REVIEW"}
    if not asked:
        return {}
    query = select(VerificationResult).where(
        VerificationResult.decides.is_not(None),
        VerificationResult.contribution_id.in_({contribution_id for contribution_id, _ in asked.values()}),
    )
    found = {(row.contribution_id, row.content_hash): row for row in (await session.execute(query)).scalars()}
    return {result_id: found[content] for result_id, content in asked.items() if content in found}


async def results(
    session: AsyncSession, batch_id: UUID, *, limit: int, after: int | None = None, verdict: str | None = None
) -> Sequence[VerificationResult]:
    """A batch's results in the order they were written, those with `result_id` above `after`.

    While the batch runs, too, none comes to be seen below one that was seen: writers take turns.
    """
    query = select(VerificationResult).where(VerificationResult.batch_id == batch_id)
    if after is not None:
        query = query.where(VerificationResult.result_id > after)
    if verdict is not None:
        query = query.where(VerificationResult.verdict == verdict)
    return (await session.execute(query.order_by(VerificationResult.result_id).limit(limit))).scalars().all()


async def of_contribution(session: AsyncSession, contribution_id: UUID, *, limit: int) -> Sequence[VerificationResult]:
    """A contribution's results, newest first."""
    query = select(VerificationResult).where(VerificationResult.contribution_id == contribution_id)
    return (await session.execute(query.order_by(VerificationResult.result_id.desc()).limit(limit))).scalars().all()


async def last_of_each(session: AsyncSession, contribution_ids: Sequence[UUID]) -> dict[UUID, VerificationResult]:
    """The newest result of each of these contributions that has one."""
    query = (
        select(VerificationResult)
        .distinct(VerificationResult.contribution_id)
        .where(VerificationResult.contribution_id.in_(contribution_ids))
        .order_by(VerificationResult.contribution_id, VerificationResult.result_id.desc())
    )
    rows = (await session.execute(query)).scalars().all()
    return {row.contribution_id: row for row in rows if row.contribution_id is not None}


async def duplicates(
    session: AsyncSession, campaign_id: UUID, *, limit: int, after: int = 0
) -> list[tuple[int, VerificationResult]]:
    """`(seq, result)` of a campaign's contributions that repeat an earlier one by their newest result, in order of
    submission, those with `seq` above `after`.
    """
    last = (
        select(VerificationResult)
        .where(VerificationResult.contribution_id == Contribution.contribution_id)
        .order_by(VerificationResult.result_id.desc())
        .limit(1)
        .lateral()
    )
    found = aliased(VerificationResult, last)
    query = (
        select(Contribution.seq, found)
        .join(last, true())
        .where(Contribution.campaign_id == campaign_id, Contribution.seq > after, found.duplicate_of.is_not(None))
        .order_by(Contribution.seq)
        .limit(limit)
    )
    return [(seq, row) for seq, row in await session.execute(query)]


async def judged_since(session: AsyncSession, since: datetime, *, most: int) -> int:
    """How many judgements were written then or later, counted no further than `most`."""
    newest = select(VerificationResult.created_at).order_by(VerificationResult.result_id.desc()).limit(most).subquery()
    query = select(func.count()).select_from(newest).where(newest.c.created_at >= since)
    return int((await session.execute(query)).scalar_one())


async def under_way(session: AsyncSession, *, limit: int) -> list[tuple[UUID, UUID, str, str, int, int]]:
    """Batches that are pending or running, newest first: batch, campaign, its title, state, items, items judged."""
    judged = (
        select(func.count())
        .where(VerificationResult.batch_id == VerificationBatch.batch_id)
        .correlate(VerificationBatch)
        .scalar_subquery()
    )
    query = (
        select(
            VerificationBatch.batch_id, Campaign.campaign_id, Campaign.title, VerificationBatch.state,
            VerificationBatch.triggered_count, judged,
        )
        .join(Campaign, Campaign.campaign_id == VerificationBatch.campaign_id)
        .where(VerificationBatch.state.in_(UNFINISHED))
        .order_by(VerificationBatch.batch_id.desc())
        .limit(limit)
    )  # fmt: skip
    return [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in await session.execute(query)]


async def batches_of(session: AsyncSession, campaign_id: UUID, *, limit: int) -> Sequence[VerificationBatch]:
    """A campaign's batches, newest first."""
    query = select(VerificationBatch).where(VerificationBatch.campaign_id == campaign_id)
    return (await session.execute(query.order_by(VerificationBatch.created_at.desc()).limit(limit))).scalars().all()


async def request_cancel(session: AsyncSession, batch_id: UUID) -> VerificationBatch:
    """Ask a batch to stop; a finished one stays as it is. A pending one is cancelled at once."""
    query = select(VerificationBatch).where(VerificationBatch.batch_id == batch_id).with_for_update()
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise NotFoundError.of("verification batch", str(batch_id))
    if row.state in UNFINISHED:
        row.cancel_requested = True
        if row.state == "pending":
            row.state, row.finished_at = "cancelled", now()
        await session.flush()
    return row


async def finish(session: AsyncSession, batch_id: UUID, epoch: int, state: str, *, error: str | None = None) -> bool:
    """Close the batch as its present runner; `False` where another runner has taken it over."""
    statement = (
        update(VerificationBatch)
        .where(
            VerificationBatch.batch_id == batch_id,
            VerificationBatch.epoch == epoch,
            VerificationBatch.state.in_(UNFINISHED),
        )
        .values(state=state, finished_at=now(), error=error)
        .returning(VerificationBatch.batch_id)
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None
