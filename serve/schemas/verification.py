"""Verdicts on the wire."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from serve.schemas.fields import CampaignKey, Reference
from storage.verifications import ResultRow, VerificationResult

_SENTENCES = {
    "ACCEPT": "accepted",
    "REJECT": "rejected",
    "REVIEW": "a person will decide",
    "ERROR": "could not be judged; it may be sent again",
}


class ContributionToVerify(BaseModel):
    """`data_url` overrides where the content is fetched from."""

    contribution_id: UUID
    onchain_campaign_id: CampaignKey | None = None
    data_url: Reference | None = None


class MarkAnswer(BaseModel):
    criterion: str
    value: float
    reason: str


class VerdictAnswer(BaseModel):
    """One judgement. `score` is 0 to 100, or null where nothing gave one: decision ERROR, an exact copy (REJECT) that
    needs none, or content that the scorer cannot mark (REVIEW). A failure is never a score.
    """

    decision: Literal["ACCEPT", "REJECT", "REVIEW", "ERROR"]
    score: float | None
    reasoning: str
    message: str
    raw_score: float | None
    adjustment: float | None
    confidence: float | None
    marks: list[MarkAnswer]
    scorer: str | None
    scorer_version: str | None
    content_hash: str | None
    media_type: str | None
    left_out: list[str]
    duplicate_of: UUID | None
    duplicate_kind: str | None
    similarity: float | None
    error_code: str | None
    duration_ms: float


class SubmissionVerdict(VerdictAnswer):
    file_type_processed: Literal["text", "image"]
    onchain_campaign_id: str
    contributor_wallet_address: str


class ContributionVerdict(VerdictAnswer):
    contribution_id: UUID
    contributor_wallet_address: str


# Older clients know no decision but this.
_PASSES_AT, _FAILS_FROM = 80.0, 79.0


class OlderVerdict(BaseModel):
    """What older clients read. `verification_score` passes at 80, so it says what `decision` says: at least 80 on
    ACCEPT, at most 79 on anything else, 0 where there is no score. The score itself is `score`.
    """

    verification_score: float = Field(ge=0, le=100)
    score: float | None
    reasoning: str
    message: str
    decision: str
    onchain_campaign_id: str


def of_row(row: ResultRow | VerificationResult) -> dict[str, Any]:
    """The members that every judgement has."""
    return {
        "decision": row.verdict,
        "score": row.score,
        "reasoning": row.reasoning,
        "message": message(row),
        "raw_score": row.raw_score,
        "adjustment": row.adjustment,
        "confidence": row.confidence,
        "marks": row.marks,
        "scorer": row.scorer,
        "scorer_version": row.scorer_version,
        "content_hash": row.content_hash,
        "media_type": row.media_type,
        "left_out": row.left_out,
        "duplicate_of": row.duplicate_of,
        "duplicate_kind": row.duplicate_kind,
        "similarity": row.similarity,
        "error_code": row.error_code,
        "duration_ms": row.duration_ms,
    }


def message(row: ResultRow | VerificationResult) -> str:
    """The verdict as a sentence for people."""
    score = "" if row.score is None else f" with {row.score:.1f} of 100"
    return f"{_SENTENCES.get(row.verdict, row.verdict)}{score}"


def older_score(row: ResultRow) -> float:
    """A score on the side of 80 where the verdict is; the campaign's own bar and copies are the verdict's business."""
    if row.verdict == "ACCEPT":
        return max(row.score or 0.0, _PASSES_AT)
    return min(row.score or 0.0, _FAILS_FROM)


def file_type(row: ResultRow) -> str:
    return "image" if (row.media_type or "").startswith("image/") else "text"
