"""A campaign's thresholds: what reviewers' decisions propose now, and applying just that."""

from __future__ import annotations

import asyncio

from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import CalibrationChangedError
from actors.reviews.calibration import Calibration, Judged, calibrated
from actors.settings import VerificationSettings
from actors.verification.decide import thresholds_of
from actors.verification.pipeline import brief_of
from storage import activities, campaign_thresholds, verdict_reviews
from storage.campaign_thresholds import CampaignThresholds
from storage.campaigns import Campaign


async def proposal(session: AsyncSession, campaign: Campaign, settings: VerificationSettings) -> Calibration:
    """What the decisions so far speak for, and what it would change."""
    present = thresholds_of(brief_of(campaign), settings)
    results = [
        Judged(
            each.verdict, each.score, each.confidence, marked=each.marked, similarity=each.similarity,
            approved=None if each.decided is None else each.decided == "ACCEPT",
        )
        for each in await verdict_reviews.judgements(session, campaign.campaign_id)
    ]  # fmt: skip
    # A hundred thousand results take a moment, which is others' too on this loop.
    return await asyncio.to_thread(calibrated, present, results)


async def apply(
    session: AsyncSession, campaign: Campaign, settings: VerificationSettings, *, digest: str, by: str
) -> CampaignThresholds:
    """Let later verification go by the proposal of this digest. The caller holds the campaign's row lock.

    Raises `CalibrationChangedError` where that is not what is proposed now.
    """
    found = await proposal(session, campaign, settings)
    subject = campaign.onchain_campaign_id
    if found.proposed is None:
        raise CalibrationChangedError(
            f"nothing is proposed for campaign {subject!r}: {found.reason}",
            subject=subject, state={"status": "nothing", "digest": None},
        )  # fmt: skip
    if found.digest != digest:
        raise CalibrationChangedError(
            f"the proposal for campaign {subject!r} has changed since it was shown: look at it again, and apply what "
            "you see then",
            subject=subject, state={"status": "proposed", "digest": found.digest},
        )  # fmt: skip
    document = found.document()
    row = await campaign_thresholds.apply(
        session, campaign, document["proposed"], digest=digest, proposal=document, by=by
    )
    activities.record(
        session, campaign.campaign_id, "thresholds_calibrated", by, digest=digest, **document["proposed"]
    )  # fmt: skip
    return row
