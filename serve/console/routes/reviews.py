"""The review queue, and one review: claimed, looked at, decided; and then the next one."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from actors.errors import ReviewConflictError, ReviewEditError
from actors.reviews.decisions import DECISION
from serve.auth import require_owner
from serve.console import parts
from serve.console.contents import Contents
from serve.console.guard import SANDBOX
from serve.console.live import changes
from serve.console.pages import page, to
from serve.console.schema_form import SchemaForm, filled, form_of, refilled
from serve.console.scope import sight
from serve.console.session import Visiting, Visitor
from serve.deps import Given, Services
from serve.schemas.fields import I64_MAX
from storage.errors import NotFoundError
from storage.reviews import STATES, Review

router = APIRouter(prefix="/reviews")

_PAGE = 50

After = Annotated[int | None, Query(ge=0, le=I64_MAX)]
State = Annotated[str | None, Query(max_length=20)]
Checkpoint = Annotated[str | None, Query(max_length=200)]


@router.get("")
async def queue(
    request: Request,
    given: Given,
    visitor: Visiting,
    *,
    state: State = None,
    checkpoint: Checkpoint = None,
    after: After = None,
    done: Annotated[str | None, Query(max_length=20)] = None,
) -> Response:
    chosen = state if state in STATES else "open"
    rows = await given.reviews.queue(
        sight(visitor), limit=_PAGE + 1, after=after, states=(chosen,), checkpoint=checkpoint or None
    )
    shown = rows[:_PAGE]
    return page(
        request, "reviews.html", reviews=shown, state=chosen, states=STATES, checkpoint=checkpoint or "", after=after,
        done=done if done in STATES else None, more=shown[-1].number if len(rows) > _PAGE else None,
    )  # fmt: skip


@router.get("/live")
async def live(
    request: Request, given: Given, visitor: Visiting, *, state: State = None, checkpoint: Checkpoint = None
) -> Response:
    chosen, seen = (state if state in STATES else "open"), sight(visitor)

    async def standing() -> Any:
        rows = await given.reviews.queue(seen, limit=_PAGE, states=(chosen,), checkpoint=checkpoint or None)
        return [[row.review_id, row.holder, row.group_name, row.due_at, row.disputed] for row in rows]

    return changes(request, given, f"reviews {seen} {chosen} {checkpoint}", standing)


@router.post("/claim")
async def claim_next(
    request: Request, given: Given, visitor: Visiting, checkpoint: Annotated[str | None, Form(max_length=200)] = None
) -> Response:
    """The next that nobody holds, claimed; back to the queue where there is none."""
    found = await given.reviews.claim_next(
        sight(visitor), by=visitor.name, checkpoint=checkpoint or None, voice=visitor.principal.voice
    )
    where = "/reviews" if found is None else f"/reviews/{found.review_id}"
    return to(request, where, checkpoint=checkpoint)


@router.get("/{review_id}")
async def review_page(
    request: Request,
    given: Given,
    visitor: Visiting,
    review_id: UUID,
    done: Annotated[str | None, Query(max_length=20)] = None,
) -> Response:
    """The review. Its query's `checkpoint` is what the queue was narrowed to, and stays so for the next review."""
    review = await _seen(given, visitor, review_id)
    return await _page(request, given, visitor, review, done=done if done in STATES else None)


@router.get("/{review_id}/live")
async def review_live(request: Request, given: Given, visitor: Visiting, review_id: UUID) -> Response:
    await _seen(given, visitor, review_id)

    async def standing() -> Any:
        now = await given.reviews.get(review_id)
        return [now.state, now.holder, now.lease_until, now.group_name, now.due_at, now.disputed, now.delivered_at]

    return changes(request, given, f"review {review_id}", standing)


@router.get("/{review_id}/parts/{number}/picture")
async def picture(request: Request, given: Given, visitor: Visiting, review_id: UUID, number: int) -> Response:
    """An image of the review as we drew it; nothing of the bytes that were sent."""
    review = await _seen(given, visitor, review_id)
    where = await parts.named(review.shown[number], given.database) if 0 <= number < len(review.shown) else None
    if where is None:
        raise NotFoundError(f"review {review_id} has no picture {number}", subject=str(review_id), noun="picture")
    contents: Contents = request.app.state.contents
    headers = {**SANDBOX, "Content-Disposition": 'inline; filename="picture.png"'}
    return Response(await contents.picture(where), media_type="image/png", headers=headers)


@router.post("/{review_id}/claim")
async def claim(
    request: Request, given: Given, visitor: Visiting, review_id: UUID, checkpoint: Checkpoint = None
) -> Response:
    review = await _seen(given, visitor, review_id)
    try:
        await given.reviews.claim(review_id, by=visitor.name, voice=visitor.principal.voice)
    except ReviewConflictError as error:
        return await _page(request, given, visitor, review, fault=error.message, status=409)
    return to(request, f"/reviews/{review_id}", checkpoint=checkpoint)


@router.post("/{review_id}/release")
async def release(
    request: Request, given: Given, visitor: Visiting, review_id: UUID, checkpoint: Checkpoint = None
) -> Response:
    review = await _seen(given, visitor, review_id)
    try:
        await given.reviews.release(review_id, by=visitor.name, voice=visitor.principal.voice)
    except ReviewConflictError as error:
        return await _page(request, given, visitor, review, fault=error.message, status=409)
    return to(request, "/reviews", checkpoint=checkpoint)


@router.post("/{review_id}/decide")
async def decide(
    request: Request,
    given: Given,
    visitor: Visiting,
    *,
    review_id: UUID,
    answer: Annotated[str, Form(max_length=20)],
    saw: Annotated[str, Form(max_length=128)],
    checkpoint: Checkpoint = None,
) -> Response:
    """Decide, and go on with the next review of what the queue was narrowed to. What is refused comes back as it was
    filled in, with the reason.
    """
    review = await _seen(given, visitor, review_id)
    sent = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    brought: dict[str, Any] = {
        "reject": {"reason": sent.get("reason", "")},
        "respond": {"message": sent.get("message", "")},
    }.get(answer, {})
    form = form_of(review.subject, review.edit_schema)
    if answer == "edit":
        payload, faults = filled(form, sent, review.subject)
        if faults:
            again = refilled(form, sent, faults)
            return await _page(request, given, visitor, review, form=again, sent=sent, status=422)
        brought = {"payload": payload}
    try:
        decision = DECISION.validate_python({"answer": answer, "review_id": review_id, "saw": saw, **brought})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fault = f"{first['loc'][-1]}: {first['msg']}"
        return await _page(request, given, visitor, review, fault=fault, sent=sent, status=422)
    try:
        decided = await given.reviews.decide(review_id, decision, by=visitor.name, voice=visitor.principal.voice)
    except ReviewEditError as error:
        places = {each["path"]: each["message"] for each in error.details["errors"]}
        again = refilled(form, sent, places)
        return await _page(request, given, visitor, review, form=again, sent=sent, fault=error.message, status=422)
    except ReviewConflictError as error:
        review = await given.reviews.get(review_id)
        return await _page(request, given, visitor, review, sent=sent, fault=error.message, status=409)
    done = decided.state if decided.state != "open" else None
    following = await given.reviews.claim_next(
        sight(visitor), by=visitor.name, checkpoint=checkpoint or None, voice=visitor.principal.voice
    )
    where = "/reviews" if following is None else f"/reviews/{following.review_id}"
    return to(request, where, checkpoint=checkpoint, done=done)


async def _seen(given: Services, visitor: Visitor, review_id: UUID) -> Review:
    """The review, which this visitor may see. Raises `NotFoundError`, or `ForbiddenError`."""
    review = await given.reviews.get(review_id)
    if not given.reviews.sees(sight(visitor), review):
        require_owner(visitor.principal, review.owner, noun="review", subject=str(review_id))
    return review


async def _page(
    request: Request,
    given: Services,
    visitor: Visitor,
    review: Review,
    *,
    form: SchemaForm | None = None,
    sent: dict[str, str] | None = None,
    fault: str | None = None,
    done: str | None = None,
    status: int = 200,
) -> Response:
    hidden = review.blind and review.state == "open"
    decisions = [
        each for each in await given.reviews.decisions(review.review_id) if not hidden or each.reviewer == visitor.name
    ]
    actions = [
        each for each in await given.reviews.actions(review.review_id) if not hidden or each.who in (None, visitor.name)
    ]
    contents: Contents = request.app.state.contents
    made = form or form_of(review.subject, review.edit_schema)
    # In the order of the form, for the database keeps none.
    subject = {name: review.subject[name] for name in made.names if name in review.subject}
    return page(
        request, "review.html", subject={**subject, **review.subject}, status=status, review=review,
        checkpoint=request.query_params.get("checkpoint", "")[:200],
        mine=review.holder == visitor.name, hidden=hidden,
        shown=await parts.shown(review.shown, contents=contents, database=given.database, limits=given.reading.read),
        form=made, editing=form is not None, sent=sent or {},
        fault=fault, done=done, decisions=decisions, actions=actions,
    )  # fmt: skip
