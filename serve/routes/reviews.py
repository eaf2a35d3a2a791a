"""Reviews: the queue of what waits for people, claiming one, and deciding it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from actors.errors import ReviewConflictError, ReviewEditError
from actors.reviews.service import LEASE_S
from serve import idempotency, wire
from serve.auth import Principal, Speaker, principal, require_owner
from serve.deps import Given, IdempotencyKey, Services
from serve.errors import ReviewerMissingError
from serve.schemas import reviews as schemas
from serve.schemas.fields import I64_MAX, Name
from serve.schemas.problems import problems
from storage.errors import HyvveError
from storage.reviews import Review, Sight

T = TypeVar("T")

router = APIRouter(prefix="/teams/reviews", tags=["reviews"], dependencies=[Depends(principal)])

ReviewId = Annotated[UUID, Path(description="the review's id")]
Reviewer = Annotated[
    Name | None,
    Header(alias="X-Reviewer", description="who looks or decides, where the body does not name them; else the wallet"),
]


@router.get("", response_model=list[schemas.ReviewSummary], responses=problems(403))
async def list_reviews(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    reviewer: Reviewer = None,
    state: Annotated[list[schemas.State] | None, Query(description="only these states; by default open")] = None,
    checkpoint: Annotated[Name | None, Query(description="only this checkpoint")] = None,
    source: Annotated[Name | None, Query(description="only of this kind of runs")] = None,
    run_id: Annotated[UUID | None, Query(description="only of this run")] = None,
    campaign_id: Annotated[Name | None, Query(description="only of this campaign")] = None,
    contribution_id: Annotated[Name | None, Query(description="only of this contribution")] = None,
    group: Annotated[Name | None, Query(description="only those that are with this group")] = None,
    holder: Annotated[Name | None, Query(description="only those that this reviewer holds")] = None,
    free: Annotated[bool, Query(description="only those that nobody holds")] = False,
    limit: wire.Limit = None,
    after: Annotated[int | None, Query(ge=0, le=I64_MAX, description="the `number` that ended the page before")] = None,
) -> Response:
    """The queue, the earliest asked first: reviews of the caller's runs, the system's, and those that name it as a
    reviewer or are with a group that it is in. An API key that speaks for no wallet sees all.
    """
    size = given.page(limit)
    rows = await given.reviews.queue(
        sight(caller, reviewer), limit=size, after=after, states=state or ("open",), checkpoint=checkpoint,
        source=source, run_id=run_id, campaign_id=campaign_id, contribution_id=contribution_id, group=group,
        holder=holder, free=free,
    )  # fmt: skip
    cursor = str(rows[-1].number) if rows else None
    known = _name(caller, reviewer)
    return wire.answer(
        [schemas.of_summary(row, known) for row in rows], headers=wire.next_page(request, rows, size, cursor)
    )


@router.post(
    "/claim",
    response_model=schemas.ReviewAnswer,
    responses={204: {"description": "nothing waits that the caller may decide"}, **problems(403)},
)
async def claim_next_review(
    given: Given, *, caller: Speaker, reviewer: Reviewer = None, body: schemas.ClaimNextIn | None = None
) -> Response:
    """Claim the earliest review that nobody holds and the caller may decide. Of many at once each is given another."""
    asked = body or schemas.ClaimNextIn()
    by = decider(caller, asked.reviewer or reviewer)
    review = await given.reviews.claim_next(
        sight(caller, by), by=by, lease_s=asked.lease_s or LEASE_S, checkpoint=asked.checkpoint, group=asked.group,
        after=asked.after, voice=caller.voice,
    )  # fmt: skip
    if review is None:
        return Response(status_code=204)
    return wire.answer(await _whole(given, review.review_id, by))


@router.get("/{review_id}", response_model=schemas.ReviewAnswer, responses=problems(403, 404))
async def get_review(given: Given, *, caller: Speaker, review_id: ReviewId, reviewer: Reviewer = None) -> Response:
    """One review with all that helps to decide, and what was done to it so far."""
    found = await given.reviews.whole(review_id)
    _require_sight(given, caller, reviewer, found.review)
    known = _name(caller, reviewer)
    return wire.answer(schemas.of_review(found.review, found.decisions, found.actions, known))


@router.post("/{review_id}/claim", response_model=schemas.ReviewAnswer, responses=problems(403, 404, 409))
async def claim_review(
    given: Given,
    *,
    caller: Speaker,
    review_id: ReviewId,
    reviewer: Reviewer = None,
    body: schemas.ClaimIn | None = None,
) -> Response:
    """Hold the review for a while: nobody else decides it meanwhile. Its holder's further claim renews the lease."""
    asked = body or schemas.ClaimIn()
    by = decider(caller, asked.reviewer or reviewer)
    await seen(given, caller, by, review_id)
    lease_s = asked.lease_s or LEASE_S
    await or_state(given, review_id, given.reviews.claim(review_id, by=by, lease_s=lease_s, voice=caller.voice))
    return wire.answer(await _whole(given, review_id, by))


@router.post("/{review_id}/release", response_model=schemas.ReviewAnswer, responses=problems(403, 404, 409))
async def release_review(
    given: Given,
    *,
    caller: Speaker,
    review_id: ReviewId,
    reviewer: Reviewer = None,
    body: schemas.ReleaseIn | None = None,
) -> Response:
    """Give the review back to the queue."""
    by = decider(caller, (body.reviewer if body is not None else None) or reviewer)
    await seen(given, caller, by, review_id)
    await or_state(given, review_id, given.reviews.release(review_id, by=by, voice=caller.voice))
    return wire.answer(await _whole(given, review_id, by))


@router.post("/{review_id}/decide", response_model=schemas.ReviewAnswer, responses=problems(403, 404, 409))
async def decide_review(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    review_id: ReviewId,
    body: schemas.DecisionIn,
    reviewer: Reviewer = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Decide: approve, edit, reject or respond. It is kept for good before this answers, and the run goes on once the
    review is settled. A late, foreign or repeated decision is a 409 (`conflict` says which, `state` how it stands).
    """
    by = decider(caller, body.reviewer or reviewer)
    await seen(given, caller, by, review_id)
    decision = schemas.decision_of(body)

    async def work(session: AsyncSession) -> idempotency.Answer | HyvveError:
        taken = await given.reviews.take(session, review_id, decision, by=by, voice=caller.voice)
        return taken if isinstance(taken, HyvveError) else (200, await _whole(given, review_id, by, session=session))

    sent = orjson.dumps([by, body.model_dump(mode="json")])
    deciding = idempotency.write(request, given, caller, idempotency_key, sent=sent, work=work)
    return await or_state(given, review_id, deciding)


def sight(caller: Principal, reviewer: str | None) -> Sight:
    """What this caller may see: an API key that speaks for no wallet everything, others what is theirs."""
    everything = caller.kind == "api_key" and caller.wallet is None
    return Sight(everything=everything, wallet=caller.wallet, reviewer=_name(caller, reviewer))


def _name(caller: Principal, reviewer: str | None) -> str | None:
    return reviewer or caller.wallet or caller.key_id


def decider(caller: Principal, reviewer: str | None) -> str:
    """Who decides: the name that was given, else the wallet, else the API key's. Raises `ReviewerMissingError`."""
    name = _name(caller, reviewer)
    if name is None:
        reason = "name who decides: here, by the header X-Reviewer, or by your wallet's address"
        fault = {"in": "body", "path": "$.reviewer", "message": reason, "code": "missing"}
        raise ReviewerMissingError(f"$.reviewer: {reason}", errors=[fault])
    return name


async def seen(given: Services, caller: Principal, reviewer: str | None, review_id: UUID) -> Review:
    """The review, which this caller may see. Raises `NotFoundError`, or `ForbiddenError`."""
    review = await given.reviews.get(review_id)
    _require_sight(given, caller, reviewer, review)
    return review


def _require_sight(given: Services, caller: Principal, reviewer: str | None, review: Review) -> None:
    if not given.reviews.sees(sight(caller, reviewer), review):
        require_owner(caller, review.owner, noun="review", subject=str(review.review_id))


async def or_state(given: Services, review_id: UUID, asking: Awaitable[T]) -> T:
    """What was asked for. A conflict says how the review stands, an edit's faults stand at their place in the body."""
    try:
        return await asking
    except ReviewConflictError as error:
        now = await given.reviews.get(review_id)
        error.details["state"] = {
            "status": now.state, "saw": now.saw, "holder": None if now.hides else now.holder,
            "lease_until": now.lease_until, "due_at": now.due_at, "disputed": now.disputed,
        }  # fmt: skip
        raise
    except ReviewEditError as error:
        placed: list[dict[str, Any]] = [
            {**each, "in": "body", "path": f"$.payload{each['path'].removeprefix('$')}", "code": "edit"}
            for each in error.details["errors"]
        ]
        raise ReviewEditError(error.message, subject=error.subject, errors=placed) from None


async def _whole(
    given: Services, review_id: UUID, reviewer: str | None, *, session: AsyncSession | None = None
) -> dict[str, Any]:
    found = await given.reviews.whole(review_id, session=session)
    return schemas.of_review(found.review, found.decisions, found.actions, reviewer)
