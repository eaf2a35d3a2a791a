"""Calibration of a campaign's thresholds on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from actors.reviews.calibration import Calibration
from storage.campaign_thresholds import CampaignThresholds

Verdict = Literal["ACCEPT", "REJECT", "REVIEW", "ERROR"]


class ThresholdsAnswer(BaseModel):
    """A score of `required_score` is accepted; within `review_margin` points of it, or where the scorer is less sure
    than `min_confidence` (0 to 1), a person decides.
    """

    required_score: float
    review_margin: float
    min_confidence: float


class DisagreementsAnswer(BaseModel):
    """Past decisions that the required score alone contradicts."""

    present: int
    proposed: int


class ChangeAnswer(BaseModel):
    now: Verdict
    then: Verdict
    count: int


class EffectAnswer(BaseModel):
    """What would be said of the results that nobody decided on, were they verified again: `changes` by verdict, how
    many of their REVIEWs would be `decided_alone`, and how many results would be `left_to_people`. Of past decisions
    the machine would have made `past_decided_alone` by itself, `past_agreed` of them as people did.
    """

    changes: list[ChangeAnswer]
    decided_alone: int
    left_to_people: int
    past_decided_alone: int
    past_agreed: int


class AppliedAnswer(BaseModel):
    """Thresholds as they were applied, and by whom."""

    thresholds: ThresholdsAnswer
    digest: str
    applied_by: str
    applied_at: datetime


class CalibrationAnswer(BaseModel):
    """What a campaign's reviewers' decisions speak for. `proposed` is null where nothing is proposed, and `reason` says
    why. `interval` holds each required score that the decisions speak for about as well. To apply the proposal, send
    its `digest`.
    """

    onchain_campaign_id: str
    present: ThresholdsAnswer
    proposed: ThresholdsAnswer | None
    digest: str | None
    reason: str
    decisions: int
    approved: int
    interval: tuple[float, float] | None
    disagreements: DisagreementsAnswer | None
    effect: EffectAnswer
    history: list[AppliedAnswer]


class ProposalToApply(BaseModel):
    """`digest` is of the proposal that was seen."""

    model_config = ConfigDict(extra="forbid")

    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def of_calibration(onchain_campaign_id: str, found: Calibration, history: list[CampaignThresholds]) -> dict[str, Any]:
    return {
        "onchain_campaign_id": onchain_campaign_id,
        "digest": None if found.proposed is None else found.digest,
        **found.document(),
        "history": [of_applied(row) for row in history],
    }


def of_applied(row: CampaignThresholds) -> dict[str, Any]:
    return {
        "thresholds": {
            "required_score": row.required_score,
            "review_margin": row.review_margin,
            "min_confidence": row.min_confidence,
        },
        "digest": row.digest,
        "applied_by": row.applied_by,
        "applied_at": row.applied_at,
    }
