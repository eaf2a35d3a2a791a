"""The review queue, and one review: claimed, looked at, decided; and then the next one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from actors.errors import ReviewConflictError, ReviewEditError
from actors.reviews.decisions import DECISION, Answer
from serve.console import parts
from serve.console.contents import Contents
from serve.console.formats import pressing
from serve.console.live import changes
from serve.console.pages import page, to
from serve.console.schema_form import SchemaForm, filled, form_of, pick_among, refilled
from serve.console.scope import seen_review, sight
from serve.console.session import Visiting, Visitor
from serve.deps import Given, Services
from serve.schemas.fields import I64_MAX
from storage.reviews import STATES, Review

router = APIRouter(prefix="/reviews")

_PAGE = 50

Number = Annotated[int | None, Query(ge=0, le=I64_MAX)]
State = Annotated[str | None, Query(max_length=20)]
Checkpoint = Annotated[str | None, Query(max_length=200)]
Done = Annotated[str | None, Query(max_length=20)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How somebody goes through the queue, carried from page to page in their addresses: the checkpoint that it was
    narrowed to, and the number up to which reviews are passed over, because they gave that one back.
    """

    checkpoint: str | None
    passed: int | None

    @property
    def query(self) -> dict[str, Any]:
        return {"checkpoint": self.checkpoint, "passed": self.passed}


def _walk(checkpoint: Checkpoint = None, passed: Number = None) -> Walk:
    return Walk(checkpoint=checkpoint or None, passed=passed)


Walking = Annotated[Walk, Depends(_walk)]


@router.get("")
async def queue(
    request: Request,
    given: Given,
    visitor: Visiting,
    *,
    walk: Walking,
    state: State = None,
    after: Number = None,
    done: Done = None,
    exhausted: bool = False,
) -> Response:
    """`done` is what became of the last decision, `exhausted` that no review could be claimed: both are told once."""
    chosen = state if state in STATES else "open"
    rows = await given.reviews.queue(
        sight(visitor), limit=_PAGE + 1, after=after, states=(chosen,), checkpoint=walk.checkpoint
    )
    shown = rows[:_PAGE]
    return page(
        request, "reviews.html", reviews=shown, state=chosen, states=STATES, walk=walk, after=after,
        exhausted=exhausted, done=done if done in STATES else None,
        more=shown[-1].number if len(rows) > _PAGE else None,
    )  # fmt: skip


@router.get("/live")
async def live(
    request: Request, given: Given, visitor: Visiting, *, state: State = None, checkpoint: Checkpoint = None
) -> Response:
    chosen, seen = (state if state in STATES else "open"), sight(visitor)

    async def standing() -> Any:
        rows = await given.reviews.queue(seen, limit=_PAGE, states=(chosen,), checkpoint=checkpoint or None)
        return [[row.review_id, row.holder, row.group_name, row.due_at, row.disputed, pressing(row)] for row in rows]

    return changes(request, given, f"reviews {seen} {chosen} {checkpoint}", standing)


@router.post("/claim")
async def claim_next(request: Request, given: Given, visitor: Visiting, walk: Walking) -> Response:
    """The next that nobody holds, claimed; back to the queue where there is none, which says so."""
    return await _to_next(request, given, visitor, walk)


@router.get("/{review_id}")
async def review_page(
    request: Request, given: Given, visitor: Visiting, *, review_id: UUID, walk: Walking, done: Done = None
) -> Response:
    review = await seen_review(given, visitor, review_id)
    return await _page(request, given, visitor, review, walk, done=done if done in STATES else None)


@router.get("/{review_id}/live")
async def review_live(request: Request, given: Given, visitor: Visiting, review_id: UUID) -> Response:
    await seen_review(given, visitor, review_id)

    async def standing() -> Any:
        now = await given.reviews.get(review_id)
        return [
            now.state, now.holder, now.lease_until, now.group_name, now.due_at, now.disputed, now.delivered_at,
            pressing(now),
        ]  # fmt: skip

    return changes(request, given, f"review {review_id}", standing)


@router.post("/{review_id}/claim")
async def claim(request: Request, given: Given, visitor: Visiting, review_id: UUID, walk: Walking) -> Response:
    review = await seen_review(given, visitor, review_id)
    try:
        await given.reviews.claim(review_id, by=visitor.name, voice=visitor.principal.voice)
    except ReviewConflictError as error:
        return await _page(request, given, visitor, review, walk, fault=error.message, status=409)
    return to(request, f"/reviews/{review_id}", **walk.query)


@router.post("/{review_id}/release")
async def release(
    request: Request,
    given: Given,
    visitor: Visiting,
    *,
    review_id: UUID,
    walk: Walking,
    then: Annotated[str | None, Form(max_length=20)] = None,
) -> Response:
    """Give it back: to the queue, or with `then` next on to the one after it."""
    review = await seen_review(given, visitor, review_id)
    try:
        await given.reviews.release(review_id, by=visitor.name, voice=visitor.principal.voice)
    except ReviewConflictError as error:
        return await _page(request, given, visitor, review, walk, fault=error.message, status=409)
    walk = replace(walk, passed=max(walk.passed or 0, review.number))
    return await _to_next(request, given, visitor, walk) if then == "next" else to(request, "/reviews", **walk.query)


@router.post("/{review_id}/decide")
async def decide(
    request: Request,
    given: Given,
    visitor: Visiting,
    *,
    review_id: UUID,
    walk: Walking,
    answer: Annotated[Answer, Form()],
    saw: Annotated[str, Form(max_length=128)],
) -> Response:
    """Decide, and go on with the next review of the walk. What is refused comes back as it was filled in, with the
    reason.
    """
    review = await seen_review(given, visitor, review_id)
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
            return await _page(request, given, visitor, review, walk, form=again, sent=sent, status=422)
        brought = {"payload": payload}
    try:
        decision = DECISION.validate_python({"answer": answer, "review_id": review_id, "saw": saw, **brought})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fault = f"{first['loc'][-1]}: {first['msg']}"
        return await _page(request, given, visitor, review, walk, fault=fault, sent=sent, status=422)
    try:
        decided = await given.reviews.decide(review_id, decision, by=visitor.name, voice=visitor.principal.voice)
    except ReviewEditError as error:
        places = {each["path"]: each["message"] for each in error.details["errors"]}
        again = refilled(form, sent, places)
        return await _page(
            request, given, visitor, review, walk, form=again, sent=sent, fault=error.message, status=422
        )
    except ReviewConflictError as error:
        review = await given.reviews.get(review_id)
        return await _page(request, given, visitor, review, walk, sent=sent, fault=error.message, status=409)
    return await _to_next(request, given, visitor, walk, done=decided.state)


async def _to_next(
    request: Request, given: Services, visitor: Visitor, walk: Walk, *, done: str | None = None
) -> Response:
    """On to the next review of the walk, claimed; where none is left, to the queue, whose next is its first again."""
    found = await given.reviews.claim_next(
        sight(visitor), by=visitor.name, checkpoint=walk.checkpoint, after=walk.passed, voice=visitor.principal.voice
    )
    if found is None:
        return to(request, "/reviews", checkpoint=walk.checkpoint, done=done, exhausted="yes")
    return to(request, f"/reviews/{found.review_id}", **walk.query, done=done)


async def _page(
    request: Request,
    given: Services,
    visitor: Visitor,
    review: Review,
    walk: Walk,
    *,
    form: SchemaForm | None = None,
    sent: dict[str, str] | None = None,
    fault: str | None = None,
    done: str | None = None,
    status: int = 200,
) -> Response:
    hidden = review.hides
    decisions = [
        each for each in await given.reviews.decisions(review.review_id) if not hidden or each.reviewer == visitor.name
    ]
    actions = [
        each for each in await given.reviews.actions(review.review_id) if not hidden or each.who in (None, visitor.name)
    ]
    contents: Contents = request.app.state.contents
    shown = await parts.shown(review.shown, contents=contents, database=given.database, limits=given.reading.read)
    made = form or form_of(review.subject, review.edit_schema)
    # In the order of the form, for the database keeps none.
    subject = {name: review.subject[name] for name in made.names if name in review.subject}
    return page(
        request, "review.html", subject={**subject, **review.subject}, status=status, review=review, walk=walk,
        mine=review.holder == visitor.name, hidden=hidden, shown=shown, form=made, editing=form is not None,
        pick=pick_among(made, parts.choices(shown)), sent=sent or {}, fault=fault, done=done, decisions=decisions,
        actions=actions,
    )  # fmt: skip
