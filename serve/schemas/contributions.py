"""Contributions on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from serve.schemas.fields import CampaignKey, Name, Percent, Reference, Reputation, Token, Url
from storage.contributions import Contribution


class ContributionBody(BaseModel):
    """What a contributor sends. `campaign_id` is the campaign's on-chain id.

    `quality_score` and `ai_verification_score` are the client's claims; they never become the verified score.
    """

    campaign_id: CampaignKey
    contributor: Name
    data_url: Reference
    transaction_hash: Token
    onchain_contribution_id: Token = ""
    quality_score: Percent | None = None
    ai_verification_score: Percent | None = None
    reputation_score: Reputation | None = None
    blob_id: Url | None = None
    file_type: Token | None = None

    def columns(self, campaign_id: UUID) -> dict[str, Any]:
        """The columns of `storage.contributions.BODY_COLUMNS`."""
        return {
            "onchain_contribution_id": self.onchain_contribution_id,
            "campaign_id": campaign_id,
            "contributor": self.contributor,
            "data_url": self.data_url,
            "blob_id": self.blob_id,
            "file_type": self.file_type,
            "transaction_hash": self.transaction_hash,
            "claimed_quality_score": self.quality_score,
            "claimed_ai_verification_score": self.ai_verification_score,
            "reputation_score": self.reputation_score,
        }


class ClaimedScores(BaseModel):
    """What the client said of its own contribution. Nobody checked it."""

    quality_score: float | None
    ai_verification_score: float | None


class ContributionAnswer(BaseModel):
    """A contribution. `ai_verification_score` is the verified score, or null while it is not verified.

    `quality_score` is a category: of the claimed score until there is a verdict, and of the verified one from then on.
    What was judged and got no score (ERROR, a copy, REVIEW by a person) is "Low Quality", whatever was claimed.
    """

    contribution_id: UUID
    onchain_contribution_id: str
    campaign_id: UUID
    contributor: str
    data_url: str
    blob_id: str | None
    file_type: str | None
    transaction_hash: str
    quality_score: str | None
    ai_verification_score: float | None
    claimed_scores: ClaimedScores
    reputation_score: float | None
    verdict: str | None
    verified_at: datetime | None
    is_verified: bool
    reward_claimed: bool
    created_at: datetime


class ContributionList(BaseModel):
    contributions: list[ContributionAnswer]
    unique_contributions_count: int


def category(score: float | None) -> str | None:
    """Above 95 high, 80 to 95 medium, below 80 low; of no score, none."""
    if score is None:
        return None
    return "High Quality" if score > 95 else "Medium Quality" if score >= 80 else "Low Quality"


def of_row(row: Contribution) -> dict[str, Any]:
    claims = (row.claimed_quality_score, row.claimed_ai_verification_score)
    claimed = next((claim for claim in claims if claim is not None), None)
    return {
        "contribution_id": row.contribution_id,
        "onchain_contribution_id": row.onchain_contribution_id,
        "campaign_id": row.campaign_id,
        "contributor": row.contributor,
        "data_url": row.data_url,
        "blob_id": row.blob_id,
        "file_type": row.file_type,
        "transaction_hash": row.transaction_hash,
        "quality_score": category(claimed if row.verdict is None else row.verified_score or 0.0),
        "ai_verification_score": row.verified_score,
        "claimed_scores": {"quality_score": claims[0], "ai_verification_score": claims[1]},
        "reputation_score": row.reputation_score,
        "verdict": row.verdict,
        "verified_at": row.verified_at,
        "is_verified": row.is_verified,
        "reward_claimed": row.reward_claimed,
        "created_at": row.created_at,
    }
