"""Calibration: thresholds that reviewers' decisions propose for a campaign, and applying them. The creator's alone."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from actors.reviews import calibrating
from serve import idempotency, wire
from serve.auth import Principal, Speaker, principal, require_owner
from serve.deps import Given, IdempotencyKey
from serve.poll_route import CampaignPath
from serve.schemas import calibration as schemas
from serve.schemas.problems import problems
from storage import campaign_thresholds, campaigns
from storage.campaigns import Campaign

router = APIRouter(
    prefix="/campaigns/{onchain_campaign_id}/calibration", tags=["reviews"], dependencies=[Depends(principal)]
)

# Of the history that is shown; the newest say what holds and what held before.
_HISTORY = 20


async def _campaign(
    session: AsyncSession, caller: Principal, onchain_campaign_id: str, *, lock: bool = False
) -> Campaign:
    campaign = await campaigns.by_onchain_id(session, onchain_campaign_id, lock=lock)
    require_owner(caller, campaign.creator_wallet_address, noun="campaign", subject=onchain_campaign_id)
    return campaign


@router.get("", response_model=schemas.CalibrationAnswer, responses=problems(403, 404))
async def get_calibration(given: Given, *, caller: Speaker, onchain_campaign_id: CampaignPath) -> Response:
    """What reviewers' decisions on this campaign's contributions propose for its thresholds, and what would change.

    Nothing is proposed on too few decisions. Nobody was asked about what the machine decided alone, so a proposal never
    leaves more of that to people.
    """
    async with given.database.read() as session:
        campaign = await _campaign(session, caller, onchain_campaign_id)
        found = await calibrating.proposal(session, campaign, given.reading)
        history = await campaign_thresholds.history(session, campaign.campaign_id, limit=_HISTORY)
    return wire.answer(schemas.of_calibration(onchain_campaign_id, found, list(history)))


@router.post("/apply", response_model=schemas.AppliedAnswer, responses=problems(403, 404, 409))
async def apply_calibration(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    onchain_campaign_id: CampaignPath,
    body: schemas.ProposalToApply,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Let later verification of this campaign go by the proposal with this digest; verdicts that were given stay.

    A decision that was made meanwhile changes the proposal: then it is a 409, and what is proposed now is to be seen
    first.
    """

    async def work(session: AsyncSession) -> idempotency.Answer:
        campaign = await _campaign(session, caller, onchain_campaign_id, lock=True)
        row = await calibrating.apply(session, campaign, given.reading, digest=body.digest, by=caller.name)
        return 200, schemas.of_applied(row)

    sent = body.model_dump_json().encode()
    return await idempotency.write(request, given, caller, idempotency_key, sent=sent, work=work)
