"""Contributions: submit, list."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from serve import idempotency, wire
from serve.auth import Caller, authorize, principal
from serve.deps import Given, IdempotencyKey
from serve.errors import CampaignClosedError, CampaignFullError
from serve.poll_route import CampaignPath
from serve.schemas import contributions as schemas
from serve.schemas.fields import I64_MAX, Name
from serve.schemas.problems import problems
from storage import activities, campaigns, contributions
from storage.campaigns import Campaign
from storage.clock import now

router = APIRouter(prefix="/campaigns", tags=["contributions"], dependencies=[Depends(principal)])

After = Annotated[int | None, Query(ge=0, le=I64_MAX, description="the cursor of the `Link` header")]
Contributor = Annotated[Name | None, Query(description="only this wallet's")]


def require_open(campaign: Campaign) -> None:
    """Raises `CampaignClosedError` unless the campaign takes contributions now."""
    if not campaign.open_at(now()):
        reason = "has expired" if campaign.is_active else "is not active"
        raise CampaignClosedError(
            f"campaign {campaign.onchain_campaign_id!r} {reason} and takes no contributions",
            subject=campaign.onchain_campaign_id,
        )


@router.post(
    "/submit-contributions",
    status_code=201,
    response_model=schemas.ContributionAnswer,
    responses={
        200: {"model": schemas.ContributionAnswer, "description": "it was submitted before, equal"},
        **problems(404, 409),
    },
)
async def submit_contribution(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    body: schemas.ContributionBody,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Hand in a contribution. A repeated on-chain id with an equal body answers the first row; with another, 409."""
    caller = authorize(caller, body.contributor)

    async def work(session: AsyncSession) -> idempotency.Answer:
        # The lock makes the counters exact, and the last free place is given once.
        campaign = await campaigns.by_onchain_id(session, body.campaign_id, lock=True)
        taken = campaign.current_contributions
        row, made = await contributions.submit(session, body.columns(campaign.campaign_id))
        if not made:
            return 200, schemas.of_row(row)
        # Refused only now, and rolled back: a repeated submission is answered also after the campaign has closed.
        require_open(campaign)
        if taken >= campaign.max_data_count:
            raise CampaignFullError(
                f"campaign {body.campaign_id!r} has all {campaign.max_data_count} contributions it asked for",
                subject=body.campaign_id,
            )
        activities.record(
            session, campaign.campaign_id, "contribution_submitted", caller.name,
            contribution_id=str(row.contribution_id),
        )  # fmt: skip
        return 201, schemas.of_row(row)

    sent = body.model_dump_json().encode()
    return await idempotency.write(request, given, caller, idempotency_key, sent=sent, work=work)


@router.get(
    "/get-contributions/{onchain_campaign_id}", response_model=schemas.ContributionList, responses=problems(404)
)
async def list_contributions(
    request: Request,
    given: Given,
    *,
    onchain_campaign_id: CampaignPath,
    contributor: Contributor = None,
    limit: wire.Limit = None,
    after: After = None,
) -> Response:
    """A campaign's contributions in order of submission, and how many distinct contributors it has."""
    size = given.page(limit)
    async with given.database.read() as session:
        campaign = await campaigns.by_onchain_id(session, onchain_campaign_id)
        rows = await contributions.of_campaign(
            session, campaign.campaign_id, contributor=contributor, limit=size, after=after
        )
    document = {
        "contributions": [schemas.of_row(row) for row in rows],
        "unique_contributions_count": campaign.unique_contributions_count,
    }
    cursor = str(rows[-1].seq) if rows else None
    return wire.answer(document, headers=wire.next_page(request, rows, size, cursor))
