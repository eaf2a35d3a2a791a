"""Verification batches on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StrictBool

from actors.reviews.question import review_id_of
from serve.schemas import verification
from serve.schemas.fields import CampaignKey, SampleSize
from serve.schemas.verification import VerdictAnswer
from storage.verdict_reviews import CHECKPOINT
from storage.verifications import RECENT_S, UNFINISHED, Progress, VerificationBatch, VerificationResult


class DatasetToVerify(BaseModel):
    """All contributions of a campaign, or those that nothing could judge yet, or a random sample of either."""

    onchain_campaign_id: CampaignKey
    sample_size: SampleSize | None = None
    only_unjudged: StrictBool = Field(
        default=False,
        description="only contributions without a verdict, or with ERROR: what came in since, and what an outage left",
    )


class BatchStarted(BaseModel):
    message: str
    triggered_count: int
    total_found_in_campaign: int
    batch_id: UUID


class Verdicts(BaseModel):
    ACCEPT: int = 0
    REJECT: int = 0
    REVIEW: int = 0
    ERROR: int = 0


class BatchAnswer(BaseModel):
    """Where a batch stands. `verdicts` count what a person decided as they did, and `decided` counts those alone.
    `throughput_per_s` is that of the last two minutes, so time in which nothing ran does not count, and once the batch
    has ended that of the whole run; it and `estimated_seconds_left` are null while unknown.

    `errors` counts ERROR rows by their code.
    """

    batch_id: UUID
    onchain_campaign_id: str
    state: Literal["pending", "running", "completed", "cancelled", "failed"]
    cancel_requested: bool
    total_found_in_campaign: int
    triggered_count: int
    judged: int
    verdicts: Verdicts
    decided: Verdicts
    errors: dict[str, int]
    throughput_per_s: float | None
    estimated_seconds_left: float | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class PersonsDecision(BaseModel):
    """What people decided on a result, and why."""

    verdict: Literal["ACCEPT", "REJECT"]
    score: float | None
    by: str
    reason: str
    review_id: UUID
    decided_at: datetime


class ResultAnswer(VerdictAnswer):
    """What the machine found. `review_id` is the review in which a person is asked about it (decision REVIEW), and
    `decided` what they decided, once they have.
    """

    result_id: int
    contribution_id: UUID | None
    contributor: str
    created_at: datetime
    review_id: UUID | None
    decided: PersonsDecision | None


def of_batch(
    batch: VerificationBatch, progress: Progress, onchain_campaign_id: str, moment: datetime
) -> dict[str, Any]:
    rate = _rate(batch, progress, moment)
    left = max(0, batch.triggered_count - progress.judged)
    if batch.state not in UNFINISHED:
        seconds: float | None = 0.0
    else:
        seconds = round(left / rate, 1) if rate else None
    return {
        "batch_id": batch.batch_id,
        "onchain_campaign_id": onchain_campaign_id,
        "state": batch.state,
        "cancel_requested": batch.cancel_requested,
        "total_found_in_campaign": batch.total_found,
        "triggered_count": batch.triggered_count,
        "judged": progress.judged,
        "verdicts": {"ACCEPT": 0, "REJECT": 0, "REVIEW": 0, "ERROR": 0, **progress.verdicts},
        "decided": {"ACCEPT": 0, "REJECT": 0, "REVIEW": 0, "ERROR": 0, **progress.decided},
        "errors": progress.errors,
        "throughput_per_s": None if rate is None else round(rate, 2),
        "estimated_seconds_left": seconds,
        "error": batch.error,
        "created_at": batch.created_at,
        "started_at": batch.started_at,
        "finished_at": batch.finished_at,
    }


def _rate(batch: VerificationBatch, progress: Progress, moment: datetime) -> float | None:
    """Judgements a second: of late while the batch runs, from its start to its end once it has ended."""
    if batch.started_at is None:
        return None
    judged, seconds = progress.judged, ((batch.finished_at or moment) - batch.started_at).total_seconds()
    if batch.finished_at is None:
        judged, seconds = progress.recent, min(seconds, RECENT_S)
    return judged / seconds if judged and seconds > 0 else None


def of_result(row: VerificationResult, decision: VerificationResult | None = None) -> dict[str, Any]:
    asked = row.review_run_id
    return {
        "result_id": row.result_id,
        "contribution_id": row.contribution_id,
        "contributor": row.contributor,
        "created_at": row.created_at,
        "review_id": None if asked is None else review_id_of(asked, CHECKPOINT),
        "decided": None if decision is None else _of_decision(decision),
        **verification.of_row(row),
    }


def _of_decision(row: VerificationResult) -> dict[str, Any]:
    return {
        "verdict": row.verdict,
        "score": row.score,
        "by": row.decided_by,
        "reason": row.reasoning,
        "review_id": row.review_id,
        "decided_at": row.created_at,
    }
