"""A campaign's thresholds: what its reviewers' decisions propose, with the effect, before it is applied."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from actors.errors import CalibrationChangedError
from actors.reviews import calibrating
from serve.auth import require_owner
from serve.console.pages import page, to
from serve.console.session import Visiting, Visitor
from serve.deps import Given, Services
from storage import campaign_thresholds, campaigns
from storage.campaigns import Campaign

router = APIRouter(prefix="/campaigns/{campaign_id}/calibration")

_HISTORY = 20


@router.get("")
async def calibration(
    request: Request, given: Given, visitor: Visiting, campaign_id: UUID, *, applied: bool = False
) -> Response:
    return await _page(request, given, visitor, campaign_id, applied=applied)


@router.post("/apply")
async def apply(
    request: Request, given: Given, visitor: Visiting, campaign_id: UUID, digest: Annotated[str, Form(max_length=128)]
) -> Response:
    """Apply the proposal that was seen; one that has changed since is refused, and shown as it is now."""
    try:
        async with given.database.begin() as session:
            campaign = await campaigns.get(session, campaign_id)
            _require_creator(visitor, campaign)
            # Locked, so that of two who apply at once the second sees what the first did.
            campaign = await campaigns.by_onchain_id(session, campaign.onchain_campaign_id, lock=True)
            await calibrating.apply(session, campaign, given.reading, digest=digest, by=visitor.name)
    except CalibrationChangedError as error:
        return await _page(request, given, visitor, campaign_id, fault=error.message, status=409)
    return to(request, f"/campaigns/{campaign_id}/calibration", applied="yes")


async def _page(
    request: Request,
    given: Services,
    visitor: Visitor,
    campaign_id: UUID,
    *,
    applied: bool = False,
    fault: str | None = None,
    status: int = 200,
) -> Response:
    async with given.database.read() as session:
        campaign = await campaigns.get(session, campaign_id)
        _require_creator(visitor, campaign)
        found = await calibrating.proposal(session, campaign, given.reading)
        history = await campaign_thresholds.history(session, campaign_id, limit=_HISTORY)
    digest = None if found.proposed is None else found.digest
    return page(
        request, "calibration.html", status=status, campaign=campaign, found=found.document(), digest=digest,
        history=list(history), applied=applied, fault=fault,
    )  # fmt: skip


def _require_creator(visitor: Visitor, campaign: Campaign) -> None:
    require_owner(
        visitor.principal, campaign.creator_wallet_address, noun="campaign", subject=campaign.onchain_campaign_id
    )
