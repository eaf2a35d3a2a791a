"""Verification batches: start one over a campaign, watch it, page through its results, cancel it."""

from __future__ import annotations

import logging
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from actors.verification.models import Verdict
from serve import idempotency, wire
from serve.auth import Caller, principal
from serve.deps import Given, IdempotencyKey, Services
from serve.schemas import batches as schemas
from serve.schemas.fields import I64_MAX
from serve.schemas.problems import problems
from storage import activities, campaigns, verifications
from storage.clock import now

logger = logging.getLogger(__name__)

router = APIRouter(tags=["verification"], dependencies=[Depends(principal)])

BatchId = Annotated[UUID, Path(description="the `batch_id` that started it")]
After = Annotated[int | None, Query(ge=0, le=I64_MAX, description="the `result_id` that ended the page before")]


@router.post(
    "/agent-workflows/verify-campaign-dataset",
    status_code=202,
    response_model=schemas.BatchStarted,
    responses=problems(404, 409),
)
async def verify_campaign_dataset(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    body: schemas.DatasetToVerify,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a batch over a campaign's contributions, and answer at once.

    A creator verifies after the deadline: what was handed in may be verified also after the campaign was closed or has
    expired.
    """
    started: list[UUID] = []

    async def work(session: AsyncSession) -> idempotency.Answer:
        campaign = await campaigns.by_onchain_id(session, body.onchain_campaign_id)
        batch = await verifications.open_batch(
            session, campaign.campaign_id, sample_size=body.sample_size, only_unjudged=body.only_unjudged
        )
        activities.record(
            session, campaign.campaign_id, "batch_started", caller.name,
            batch_id=str(batch.batch_id), triggered_count=batch.triggered_count,
        )  # fmt: skip
        started.append(batch.batch_id)
        return 202, {
            "message": f"verifying {batch.triggered_count} of {batch.total_found} contributions",
            "triggered_count": batch.triggered_count,
            "total_found_in_campaign": batch.total_found,
            "batch_id": batch.batch_id,
        }

    sent = body.model_dump_json().encode()
    response = await idempotency.write(request, given, caller, idempotency_key, sent=sent, work=work)
    for batch_id in started:
        await _wake(given, batch_id)
    return response


async def _wake(given: Services, batch_id: UUID) -> None:
    """The batch is committed; its runner also looks by itself, so a call that fails only costs time."""
    try:
        await given.verification.wake(batch_id)
    except Exception:
        logger.exception("batch %s is kept, but its runner could not be told", batch_id)


@router.get("/verification-batches/{batch_id}", response_model=schemas.BatchAnswer, responses=problems(404))
async def get_batch(given: Given, batch_id: BatchId) -> Response:
    """Where a batch stands: its state, counts by verdict, rate, time left and errors by reason."""
    async with given.database.read() as session:
        return wire.answer(await _document(session, batch_id))


async def _document(session: AsyncSession, batch_id: UUID) -> dict[str, object]:
    batch = await verifications.batch(session, batch_id)
    campaign = await campaigns.get(session, batch.campaign_id)
    progress = await verifications.progress(session, batch_id)
    return schemas.of_batch(batch, progress, campaign.onchain_campaign_id, now())


@router.get(
    "/verification-batches/{batch_id}/results", response_model=list[schemas.ResultAnswer], responses=problems(404)
)
async def list_results(
    request: Request,
    given: Given,
    *,
    batch_id: BatchId,
    verdict: Annotated[Verdict | None, Query(description="only rows of this verdict")] = None,
    limit: wire.Limit = None,
    after: After = None,
) -> Response:
    """A batch's results, in the order they were written: what the machine found, and what people decided on it."""
    size = given.page(limit)
    async with given.database.read() as session:
        await verifications.batch(session, batch_id)
        rows = await verifications.results(
            session, batch_id, limit=size, after=after, verdict=None if verdict is None else verdict.value
        )
        decided = await verifications.decisions_on(session, rows)
    cursor = str(rows[-1].result_id) if rows else None
    documents = [schemas.of_result(row, decided.get(row.result_id)) for row in rows]
    return wire.answer(documents, headers=wire.next_page(request, rows, size, cursor))


@router.post(
    "/verification-batches/{batch_id}/cancel", response_model=schemas.BatchAnswer, responses=problems(404, 409)
)
async def cancel_batch(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    batch_id: BatchId,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Stop a batch: at once where it waits, after the chunks under way where it runs. A finished one stays as it is."""

    async def work(session: AsyncSession) -> idempotency.Answer:
        before = await verifications.batch(session, batch_id)
        asked_already = before.cancel_requested
        batch = await verifications.request_cancel(session, batch_id)
        if batch.cancel_requested and not asked_already:
            activities.record(
                session, batch.campaign_id, "batch_cancelled", caller.name, batch_id=str(batch_id)
            )  # fmt: skip
        return 200, await _document(session, batch_id)

    response = await idempotency.write(request, given, caller, idempotency_key, sent=b"", work=work)
    await _wake(given, batch_id)
    return response
