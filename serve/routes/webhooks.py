"""Webhooks of AI providers: taken only from who signs as the provider, kept on record, told to who waits."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from actors.errors import MissingKeyError, UnknownProviderError, WebhookRefusedError
from actors.providers import bell, webhooks
from actors.providers.jobs import JobProvider
from actors.providers.models import Job
from serve.deps import Given, Services
from serve.schemas.fields import Name
from serve.schemas.problems import problems
from storage import webhooks as records
from storage.clock import now
from storage.errors import CacheUnavailableError
from storage.webhooks import Result

logger = logging.getLogger(__name__)

# No key of ours: who calls proves itself by its signature.
router = APIRouter(prefix="/teams/webhooks", tags=["webhooks"])

Provider = Annotated[Name, Path(description="the provider, as `GET /teams/providers` names it")]


@router.post("/{provider}", status_code=204, response_class=Response, responses=problems(404))
async def take_webhook(request: Request, given: Given, provider: Provider) -> Response:
    """What a provider tells of a job. A wrong or old signature is a 401; one that was taken before changes nothing."""
    known = given.teams.providers.provider(provider)
    if not isinstance(known, JobProvider):
        raise UnknownProviderError(f"{provider} sends no webhooks", subject=provider)
    tolerance_s = known.settings.webhook_tolerance_s
    secret = await known.signing_secret()
    try:
        webhook = webhooks.verified(
            request.headers, await request.body(), secret=secret, tolerance_s=tolerance_s, now=now(),
            setting=known.webhook_setting,
        )  # fmt: skip
    except (WebhookRefusedError, MissingKeyError) as error:
        logger.warning("a webhook for %s is refused: %s", provider, error)
        await _record(given, provider, "refused", delivery_id=error.subject, reason=error.message)
        raise
    try:
        job = known.webhook_job(webhook.body)
        first = await bell.ring_once(given.cache, webhook, job, tolerance_s=tolerance_s)
    except CacheUnavailableError as error:
        # Whoever waits for the job asks for it by itself, and the provider sends it again.
        await _record(given, provider, "ignored", delivery_id=webhook.id, reason=error.message)
        raise
    result: Result = "repeated" if not first else "ignored" if job is None else "taken"
    await _record(given, provider, result, delivery_id=webhook.id, job=job)
    return Response(status_code=204)


async def _record(
    given: Services,
    provider: str,
    result: Result,
    *,
    delivery_id: str | None,
    job: Job | None = None,
    reason: str | None = None,
) -> None:
    async with given.database.begin() as session:
        await records.record(
            session,
            provider,
            result,
            delivery_id=_kept(delivery_id),
            job_id=None if job is None else _kept(job.id),
            reason=_kept(reason),
        )


def _kept(text: str | None) -> str | None:
    """What a stranger sent, as it can be stored."""
    return None if text is None else text.replace("\x00", "")[:500]
