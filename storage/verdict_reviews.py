"""Verdicts REVIEW and people: who is asked about which result, and what their decision writes.

Each result row that a person is asked about names the run that asks. The run is accepted in the transaction that writes
the row, so none is lost and none is asked twice. A decision is a result row of its own, which names the one it decides:
what the machine found stays as it was. On equal content a decision stands: no later verdict of the machine changes the
contribution, and nobody is asked again. That holds from the moment that the decision is accepted, whatever is verified
before its run has written it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from storage import activities
from storage.clock import now
from storage.errors import ConflictError
from storage.runs import CHANNEL, shard_of

# The kind of the runs that ask.
KIND = "contribution_review"
# The checkpoint that they ask at.
CHECKPOINT = "verification"
SCORER = "person"
# Whose question it is about a contribution, while nobody has asked it to end.
_ASKING = (
    "SELECT runs.run_id FROM runs JOIN verification_results v ON v.review_run_id = runs.run_id"
    " WHERE v.review_run_id IS NOT NULL AND runs.status IN ('pending', 'running', 'waiting')"
    " AND runs.cancel_requested_at IS NULL"
)
# What the statement that writes results does besides, in the same breath, for a batch waits for it. It has `new`, the
# rows that it wrote, and is given `run_ids` and their `shards`, `ids` of contributions, `kind`, `channel` and `moment`.
# A run is accepted for each row that names one, for the campaign's creator; hosts are told of a few, and find the
# others by themselves within a second or so. `asking` are the runs that ask about what was judged anew (`stop_asking`):
# the state that a statement sees has none of its own rows in it, so its own runs are not among them.
BESIDE = (
    "made AS (INSERT INTO runs (run_id, thread_id, shard, kind, owner, status, steps, progress, spec, input,"  # noqa: S608  # constants only
    "  interrupts, resume, budget, usage, attempt, recoveries, event_seq, retained, created_at, updated_at)"
    "  SELECT new.review_run_id, new.review_run_id::text, g.shard, :kind, p.creator_wallet_address, 'pending', 0, '{}',"
    "   '{}', jsonb_build_object('result_id', new.result_id), '[]', '{}', '{}', '{}', 1, 0, 1, 'all', :moment, :moment"
    "  FROM new JOIN unnest(CAST(:run_ids AS uuid[]), CAST(:shards AS int2[])) AS g(run_id, shard)"
    "   ON g.run_id = new.review_run_id JOIN campaigns p ON p.campaign_id = new.campaign_id"
    "  RETURNING run_id, shard, owner),"
    " begun AS (INSERT INTO run_events (run_id, seq, at, type, step, data)"
    "  SELECT run_id, 1, :moment, 'run.created', NULL,"
    "   jsonb_build_object('kind', CAST(:kind AS text), 'owner', owner) FROM made),"
    f" asking AS ({_ASKING} AND v.contribution_id = ANY(CAST(:ids AS uuid[])) AND v.contribution_id IN"
    "  (SELECT contribution_id FROM new WHERE verdict <> 'ERROR')),"
    " told AS MATERIALIZED (SELECT pg_notify(:channel, shard || ' ' || run_id) FROM"
    "  (SELECT run_id, shard FROM made LIMIT 4) AS few)"
)
# A person is asked about a result unless one has decided on this content.
REVIEW_RUN = (
    "CASE WHEN r.review_run_id IS NOT NULL AND NOT EXISTS (SELECT FROM contributions c"
    " WHERE c.contribution_id = r.contribution_id AND c.reviewed_hash = r.content_hash) THEN r.review_run_id END"
)


def given_beside(run_ids: Sequence[UUID]) -> dict[str, Any]:
    """The parameters of `BESIDE` for these runs."""
    shards = [shard_of(str(run_id)) for run_id in run_ids]
    return {"run_ids": list(run_ids), "shards": shards, "kind": KIND, "channel": CHANNEL}


async def stop_asking(session: AsyncSession, run_ids: Sequence[UUID]) -> None:
    """Ask these runs to end. What people have settled goes on, to write it.

    The rows are held first, as whoever takes a decision holds them, and looked at in a statement of its own: one that
    waited for a decision would look at the review as it was before.
    """
    if run_ids:
        await session.execute(_HOLD, {"run_ids": list(run_ids)})
        await session.execute(_STOP, {"run_ids": list(run_ids), "moment": now(), "channel": CHANNEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person is asked about: the result, its contribution and campaign, and the original it may be a copy of."""

    result_id: int
    contribution_id: UUID
    contributor: str
    onchain_campaign_id: str
    campaign_title: str
    required_score: float
    data_url: str
    blob_id: str | None
    submitted_at: datetime
    verdict: str
    score: float | None
    confidence: float | None
    reasoning: str
    marks: list[dict[str, Any]]
    scorer: str | None
    content_hash: str | None
    media_type: str | None
    left_out: list[str]
    duplicate_of: UUID | None
    duplicate_kind: str | None
    similarity: float | None
    original_contributor: str | None
    original_data_url: str | None
    original_blob_id: str | None
    original_media_type: str | None
    original_submitted_at: datetime | None


_ASKED = text(
    "SELECT r.result_id, r.contribution_id, r.contributor, p.onchain_campaign_id, p.title AS campaign_title,"
    " coalesce((p.thresholds->>'required_score')::float8, p.required_quality_score) AS required_score,"
    " c.data_url, c.blob_id, c.created_at AS submitted_at, r.verdict, r.score, r.confidence, r.reasoning, r.marks,"
    " r.scorer, r.content_hash, r.media_type, r.left_out, r.duplicate_of, r.duplicate_kind, r.similarity,"
    " o.contributor AS original_contributor, o.data_url AS original_data_url, o.blob_id AS original_blob_id,"
    " (SELECT v.media_type FROM verification_results v WHERE v.contribution_id = o.contribution_id"
    "  AND v.media_type IS NOT NULL ORDER BY v.result_id DESC LIMIT 1) AS original_media_type,"
    " o.created_at AS original_submitted_at"
    " FROM verification_results r JOIN contributions c ON c.contribution_id = r.contribution_id"
    " JOIN campaigns p ON p.campaign_id = r.campaign_id"
    " LEFT JOIN contributions o ON o.contribution_id = r.duplicate_of WHERE r.result_id = :result_id"
)


async def asked(session: AsyncSession, result_id: int) -> Asked:
    """What this result is about. Results are never removed: raises where there is none."""
    return Asked(**(await session.execute(_ASKED, {"result_id": result_id})).mappings().one())


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The decision as it stands. `superseded`: other content was verified meanwhile, and nothing is written."""

    result_id: int | None
    verdict: str
    score: float | None
    superseded: bool = False


# A run writes about the result that it was accepted for, what its own review of that contribution came to.
_OWN = text(
    "SELECT r.campaign_id, r.contribution_id, r.content_hash FROM verification_results r"
    " JOIN reviews v ON v.run_id = r.review_run_id AND v.contribution_id = r.contribution_id::text"
    " WHERE r.result_id = :result_id AND r.review_run_id = :run_id AND v.review_id = :review_id"
    " AND v.outcome IS NOT NULL"
)
# What the machine found last after what was asked about: whether it is of the content that was decided on.
_NEWER = text(
    "SELECT coalesce(content_hash = :content_hash, false) FROM verification_results"
    " WHERE contribution_id = :contribution_id AND result_id > :result_id AND verdict <> 'ERROR' AND decides IS NULL"
    " ORDER BY result_id DESC LIMIT 1"
)
# Nobody is asked again what is decided: the other questions about this content.
_OTHERS = text(
    f"{_ASKING} AND v.contribution_id = :contribution_id AND v.content_hash = :content_hash AND runs.run_id <> :run_id"
)
_HOLD = text("SELECT FROM runs WHERE run_id = ANY(CAST(:run_ids AS uuid[])) ORDER BY run_id FOR NO KEY UPDATE")
_STOP = text(
    "WITH stopped AS (UPDATE runs SET cancel_requested_at = :moment, updated_at = :moment"
    "  WHERE run_id = ANY(CAST(:run_ids AS uuid[])) AND status IN ('pending', 'running', 'waiting')"
    "  AND cancel_requested_at IS NULL"
    "  AND NOT EXISTS (SELECT FROM reviews q WHERE q.run_id = runs.run_id AND q.outcome IS NOT NULL)"
    "  RETURNING run_id, shard)"
    " SELECT pg_notify(:channel, shard || ' ' || run_id) FROM (SELECT run_id, shard FROM stopped LIMIT 4) AS few"
)
_DECIDE = text(
    "INSERT INTO verification_results (batch_id, campaign_id, contribution_id, contributor, verdict, score, raw_score,"
    " adjustment, confidence, reasoning, marks, scorer, scorer_version, content_hash, media_type, left_out,"
    " duplicate_of, duplicate_kind, similarity, error_code, usage, duration_ms, created_at, decides, decided_by,"
    " review_id)"
    " SELECT NULL, campaign_id, contribution_id, contributor, :verdict, :score, raw_score, NULL, NULL, :reasoning,"
    " marks, :scorer, NULL, content_hash, media_type, left_out, duplicate_of, duplicate_kind, similarity, NULL, '{}',"
    " 0, :moment, result_id, :by, :review_id FROM verification_results WHERE result_id = :result_id"
    " ON CONFLICT DO NOTHING RETURNING result_id"
)


async def decide(
    session: AsyncSession,
    result_id: int,
    *,
    verdict: str,
    score: float | None,
    by: str,
    reasoning: str,
    review_id: UUID,
    run_id: UUID,
) -> Decided:
    """Write what people decided about this result: a result row, the contribution, an activity. Once, however often.

    One on content that is no longer the contribution's, as verification last saw it, is answered as `superseded`; on
    equal content it stands, whatever the machine found meanwhile. Raises `ConflictError` unless this run asks about
    this result, and people have settled this review of it.
    """
    of = (await session.execute(_OWN, {"result_id": result_id, "run_id": run_id, "review_id": review_id})).one_or_none()
    if of is None:
        raise ConflictError(
            f"run {run_id} may not decide result {result_id}: it asks about another one, or review {review_id} of it is"
            " not settled",
            subject=str(run_id),
        )  # fmt: skip
    # Verification writes under this lock too, so one of both sees the other.
    lock = text("SELECT FROM contributions WHERE contribution_id = :id FOR UPDATE")
    await session.execute(lock, {"id": of.contribution_id})
    if (earlier := await _decision(session, result_id, of.contribution_id, of.content_hash)) is not None:
        return earlier
    newer = (await session.execute(_NEWER, {**of._asdict(), "result_id": result_id})).scalar_one_or_none()
    if newer is False:
        return Decided(result_id=None, verdict=verdict, score=score, superseded=True)
    moment = now()
    row = {
        "result_id": result_id, "verdict": verdict, "score": score, "reasoning": reasoning, "by": by,
        "review_id": review_id, "moment": moment, "scorer": SCORER,
    }  # fmt: skip
    made = (await session.execute(_DECIDE, row)).scalar_one()
    mirror = text(
        "UPDATE contributions SET verdict = :verdict, verified_score = :score, verified_at = :moment,"
        " is_verified = :accepted, reviewed_hash = :content_hash"
        " WHERE contribution_id = :contribution_id"
    )
    await session.execute(
        mirror, {**of._asdict(), "verdict": verdict, "score": score, "moment": moment, "accepted": verdict == "ACCEPT"}
    )
    others = (await session.execute(_OTHERS, {**of._asdict(), "run_id": run_id})).scalars().all()
    await stop_asking(session, others)
    activities.record(
        session, of.campaign_id, "contribution_reviewed", by,
        contribution_id=str(of.contribution_id), verdict=verdict, score=score, review_id=str(review_id),
    )  # fmt: skip
    await session.flush()
    return Decided(result_id=made, verdict=verdict, score=score)


async def _decision(
    session: AsyncSession, result_id: int, contribution_id: UUID, content_hash: str | None
) -> Decided | None:
    """The decision on this result, or on equal content of the same contribution."""
    query = text(
        "SELECT result_id, verdict, score FROM verification_results WHERE contribution_id = :contribution_id"
        " AND decides IS NOT NULL AND (decides = :result_id OR content_hash = :content_hash) LIMIT 1"
    )
    given = {"contribution_id": contribution_id, "result_id": result_id, "content_hash": content_hash}
    row = (await session.execute(query, given)).one_or_none()
    return None if row is None else Decided(result_id=row.result_id, verdict=row.verdict, score=row.score)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the machine found of a contribution, and what people decided on it: a verdict, or none."""

    verdict: str
    score: float | None
    confidence: float | None
    marked: bool
    similarity: float | None
    decided: str | None


# The decisions with the results that they are on, then the newest result of each contribution that waits for none.
_JUDGEMENTS = text(
    "SELECT r.verdict, r.score, r.confidence, r.marks <> '[]', r.similarity, d.verdict FROM verification_results d"
    " JOIN verification_results r ON r.result_id = d.decides"
    " WHERE d.campaign_id = :campaign_id AND d.decides IS NOT NULL"
    " UNION ALL SELECT * FROM (SELECT DISTINCT ON (r.contribution_id) r.verdict, r.score, r.confidence,"
    "  r.marks <> '[]', r.similarity, CAST(NULL AS text) FROM contributions c"
    "  JOIN verification_results r ON r.contribution_id = c.contribution_id AND r.decides IS NULL"
    "  WHERE c.campaign_id = :campaign_id AND c.reviewed_hash IS NULL"
    "  ORDER BY r.contribution_id, r.result_id DESC) AS newest"
)


async def judgements(session: AsyncSession, campaign_id: UUID) -> list[Judgement]:
    """All that a campaign's thresholds are calibrated by, and would act on."""
    return [Judgement(*row) for row in await session.execute(_JUDGEMENTS, {"campaign_id": campaign_id})]
