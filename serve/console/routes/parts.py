"""The contents of a review's parts that are kept here: drawn, played, or saved as they were sent."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from serve.console import parts, sending
from serve.console.contents import Contents, Named
from serve.console.scope import seen_review
from serve.console.session import Visiting, Visitor
from serve.deps import Given, Services
from storage.errors import NotFoundError

router = APIRouter(prefix="/reviews/{review_id}/parts/{number}")


@router.get("/picture")
async def picture(request: Request, given: Given, visitor: Visiting, review_id: UUID, number: int) -> Response:
    """An image."""
    where = await _named(given, visitor, review_id, number)
    contents: Contents = request.app.state.contents
    return sending.drawn(await contents.picture(where))


@router.get("/pages/{page}")
async def pdf_page(  # noqa: PLR0917 - a page of a part of a review
    request: Request, given: Given, visitor: Visiting, review_id: UUID, number: int, page: int
) -> Response:
    """The pictures on a PDF's page."""
    where = await _named(given, visitor, review_id, number)
    contents: Contents = request.app.state.contents
    return sending.drawn(await contents.page_picture(where, page))


@router.get("/media")
async def media(request: Request, given: Given, visitor: Visiting, review_id: UUID, number: int) -> Response:
    """Sound or film, to be played."""
    where = await _named(given, visitor, review_id, number)
    contents: Contents = request.app.state.contents
    return sending.played(request, (await contents.fetch(where)).data)


@router.get("/original")
async def original(request: Request, given: Given, visitor: Visiting, review_id: UUID, number: int) -> Response:
    """The bytes as they were sent, to be saved and not shown."""
    where = await _named(given, visitor, review_id, number)
    contents: Contents = request.app.state.contents
    return sending.saved((await contents.fetch(where)).data, f"{review_id}-{number}")


async def _named(given: Services, visitor: Visitor, review_id: UUID, number: int) -> Named:
    review = await seen_review(given, visitor, review_id)
    where = await parts.named(review.shown[number], given.database) if 0 <= number < len(review.shown) else None
    if where is None:
        raise NotFoundError(
            f"review {review_id} has no content of its own at part {number}", subject=str(review_id), noun="part"
        )
    return where
