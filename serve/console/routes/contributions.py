"""One contribution: what it holds, how it was judged and why."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from serve.console import sending
from serve.console.contents import Contents, Named, require_may_open
from serve.console.pages import page
from serve.console.session import Visiting, Visitor
from serve.deps import Given, Services
from serve.errors import ForbiddenError
from storage import campaigns, contributions, verifications
from storage.campaigns import Campaign
from storage.contributions import Contribution

router = APIRouter(prefix="/contributions")

_RESULTS = 10
# A picture in its visitor's own browser.
_CACHED_S = 300


@router.get("/{contribution_id}")
async def contribution_page(request: Request, given: Given, visitor: Visiting, contribution_id: UUID) -> Response:
    contribution, campaign = await _found(given, contribution_id)
    async with given.database.read() as session:
        results = await verifications.of_contribution(session, contribution_id, limit=_RESULTS)
    contents: Contents = request.app.state.contents
    view = refused = None
    try:
        require_may_open(visitor, contribution, campaign)
    except ForbiddenError as error:
        refused = error.message
    else:
        view = await contents.view(Named.of(contribution))
    return page(
        request, "contribution.html", contribution=contribution, campaign=campaign, results=results, view=view,
        refused=refused,
    )  # fmt: skip


@router.get("/{contribution_id}/picture")
async def picture(request: Request, given: Given, visitor: Visiting, contribution_id: UUID) -> Response:
    """An image."""
    contents: Contents = request.app.state.contents
    body = await contents.picture(Named.of(await _allowed(given, visitor, contribution_id)))
    return sending.drawn(body, cached_s=_CACHED_S)


@router.get("/{contribution_id}/pages/{number}")
async def pdf_page(request: Request, given: Given, visitor: Visiting, contribution_id: UUID, number: int) -> Response:
    """The pictures on a PDF's page."""
    contents: Contents = request.app.state.contents
    body = await contents.page_picture(Named.of(await _allowed(given, visitor, contribution_id)), number)
    return sending.drawn(body, cached_s=_CACHED_S)


@router.get("/{contribution_id}/media")
async def media(request: Request, given: Given, visitor: Visiting, contribution_id: UUID) -> Response:
    """Sound or film, to be played."""
    contents: Contents = request.app.state.contents
    fetched = await contents.fetch(Named.of(await _allowed(given, visitor, contribution_id)))
    return sending.played(request, fetched.data)


@router.get("/{contribution_id}/original")
async def original(request: Request, given: Given, visitor: Visiting, contribution_id: UUID) -> Response:
    """The bytes as they were sent, to be saved and not shown."""
    contents: Contents = request.app.state.contents
    fetched = await contents.fetch(Named.of(await _allowed(given, visitor, contribution_id)))
    return sending.saved(fetched.data, str(contribution_id))


async def _found(given: Services, contribution_id: UUID) -> tuple[Contribution, Campaign]:
    async with given.database.read() as session:
        contribution = await contributions.get(session, contribution_id)
        return contribution, await campaigns.get(session, contribution.campaign_id)


async def _allowed(given: Services, visitor: Visitor, contribution_id: UUID) -> Contribution:
    contribution, campaign = await _found(given, contribution_id)
    require_may_open(visitor, contribution, campaign)
    return contribution
