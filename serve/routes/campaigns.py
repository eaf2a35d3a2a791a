"""Campaigns: create, list, poll."""

from __future__ import annotations

from time import time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from serve import idempotency, wire
from serve.auth import Caller, authorize, principal
from serve.deps import Given, IdempotencyKey
from serve.poll_route import CampaignPath, PollRoute
from serve.schemas import campaigns as schemas
from serve.schemas.fields import Name
from serve.schemas.problems import problems
from storage import activities, campaigns
from storage.clock import now

router = APIRouter(prefix="/campaigns", tags=["campaigns"], dependencies=[Depends(principal)])

Wallet = Annotated[Name, Path(description="a wallet address")]
After = Annotated[UUID | None, Query(description="the `campaign_id` that ended the page before")]


@router.post(
    "/create-campaigns",
    status_code=201,
    response_model=schemas.CampaignAnswer,
    responses={200: {"model": schemas.CampaignAnswer, "description": "it exists already, equal"}, **problems(409)},
)
async def create_campaign(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    body: schemas.CampaignBody,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Open a campaign. A repeated on-chain id with an equal body answers the first row; with another body, 409."""
    caller = authorize(caller, body.creator_wallet_address)

    async def work(session: AsyncSession) -> idempotency.Answer:
        campaign, made = await campaigns.create(session, body.model_dump())
        if made:
            activities.record(
                session, campaign.campaign_id, "campaign_created", caller.name,
                onchain_campaign_id=campaign.onchain_campaign_id,
            )  # fmt: skip
        return 201 if made else 200, schemas.of_row(campaign, time())

    return await idempotency.write(
        request, given, caller, idempotency_key, sent=body.model_dump_json().encode(), work=work
    )


async def _listed(request: Request, given: Given, limit: int | None, after: UUID | None, **which: Any) -> Response:
    size = given.page(limit)
    async with given.database.read() as session:
        rows = await campaigns.listed(session, limit=size, after=after, **which)
    moment = time()
    cursor = str(rows[-1].campaign_id) if rows else None
    documents = [schemas.of_row(row, moment) for row in rows]
    return wire.answer(documents, headers=wire.next_page(request, rows, size, cursor))


@router.get("/all", response_model=list[schemas.CampaignAnswer], responses=problems())
async def list_campaigns(request: Request, given: Given, limit: wire.Limit = None, after: After = None) -> Response:
    """All campaigns, newest first."""
    return await _listed(request, given, limit, after)


@router.get("/active", response_model=list[schemas.CampaignAnswer], responses=problems())
async def list_active_campaigns(
    request: Request, given: Given, limit: wire.Limit = None, after: After = None
) -> Response:
    """Campaigns that take contributions now, newest first."""
    return await _listed(request, given, limit, after, active_at=now())


@router.get("/{wallet}/campaigns/created", response_model=list[schemas.CampaignAnswer], responses=problems())
async def list_created_campaigns(
    request: Request, given: Given, wallet: Wallet, limit: wire.Limit = None, after: After = None
) -> Response:
    """The campaigns of a creator, newest first; of an unknown one, none."""
    return await _listed(request, given, limit, after, creator=wallet)


async def get_campaign(onchain_campaign_id: CampaignPath) -> Response:  # noqa: ARG001 - for OpenAPI
    """One campaign, as it is at this moment. Web clients poll this every 5 s; `ETag` and `If-None-Match` work."""
    raise AssertionError("PollRoute answers this itself")


def add_poll(app: FastAPI) -> None:
    """Put the poll before every other route: it is the one asked most."""
    route = PollRoute(
        "/campaigns/{onchain_campaign_id}",
        get_campaign,
        methods=["GET"],
        tags=["campaigns"],
        dependencies=[Depends(principal)],
        response_model=schemas.CampaignAnswer,
        responses={304: {"description": "unchanged since the ETag of `If-None-Match`"}, **problems(404)},
    )
    app.router.routes.insert(0, route)
