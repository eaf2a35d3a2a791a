"""A campaign's thresholds: what its reviewers' decisions propose, with the effect, before it is applied."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from actors.reviews import calibrating
from serve.auth import require_owner
from serve.console.pages import page, to
from serve.console.session import Visiting, Visitor
from serve.deps import Given
from storage import campaign_thresholds, campaigns
from storage.campaigns import Campaign

router = APIRouter(prefix="/campaigns/{campaign_id}/calibration")

_HISTORY = 20


@router.get("")
async def calibration(request: Request, given: Given, visitor: Visiting, campaign_id: UUID) -> Response:
    async with given.database.read() as session:
        campaign = await campaigns.get(session, campaign_id)
        _require_creator(visitor, campaign)
        found = await calibrating.proposal(session, campaign, given.reading)
        history = await campaign_thresholds.history(session, campaign_id, limit=_HISTORY)
    digest = None if found.proposed is None else found.digest
    return page(
        request, "calibration.html", campaign=campaign, found=found.document(), digest=digest, history=list(history)
    )


@router.post("/apply")
async def apply(
    request: Request, given: Given, visitor: Visiting, campaign_id: UUID, digest: Annotated[str, Form(max_length=128)]
) -> Response:
    """Apply the proposal that was seen; one that has changed since is refused, and shown anew."""
    async with given.database.begin() as session:
        campaign = await campaigns.get(session, campaign_id)
        _require_creator(visitor, campaign)
        # Locked, so that of two who apply at once the second sees what the first did.
        campaign = await campaigns.by_onchain_id(session, campaign.onchain_campaign_id, lock=True)
        await calibrating.apply(session, campaign, given.reading, digest=digest, by=visitor.name)
    return to(request, f"/campaigns/{campaign_id}/calibration")


def _require_creator(visitor: Visitor, campaign: Campaign) -> None:
    require_owner(
        visitor.principal, campaign.creator_wallet_address, noun="campaign", subject=campaign.onchain_campaign_id
    )
