"""Providers that accept work first and do it later: polled for, told of by webhooks, stopped at the provider."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, final

from pydantic import SecretStr

from actors.errors import ProviderAnswerError, ProviderUnavailableError
from actors.providers.base import AIProvider
from actors.providers.models import Job, Payload, ProviderResponse
from storage.errors import HyvveError

log = logging.getLogger(__name__)

Wakes = Callable[[Job], AbstractContextManager[asyncio.Event]]
"""Given for as long as a job is waited for: an event that whoever hears of the job's end sets."""

# Stopping a job may take this long; the run engine gives a cancelled step 5 s.
_CANCEL_S = 4.0


class JobProvider(AIProvider):
    """A provider that accepts work first. A job outlives whoever began it: it can be finished by its id, anywhere.

    `webhook_setting` is where the secret comes from that it signs its webhooks with.
    """

    webhook_setting: ClassVar[str] = "HYVVE_PROVIDER_WEBHOOK_SECRETS"

    @abstractmethod
    async def begin(self, payload: Payload, *, idempotency_key: str | None) -> Job:
        """The job that was accepted; it costs from now on."""

    @abstractmethod
    async def look(self, job: Job, payload: Payload) -> ProviderResponse | Job:
        """Its response, once it is done, else the job with its present status. Raises `JobFailedError` or
        `JobCanceledError` for one that ended without.
        """

    @abstractmethod
    async def stop(self, job: Job) -> None:
        """End the job at the provider. One that has ended already is left as it is."""

    async def signing_secret(self) -> SecretStr | None:
        """What its webhooks are signed with; `None` where nobody knows, and then none is taken."""
        return self.reach.webhook_secret

    def webhook_job(self, body: Mapping[str, Any]) -> Job | None:  # noqa: ARG002 - for subclasses
        """The job that a verified webhook tells of; `None` where it tells of none."""
        return None

    @final
    async def start(self, payload: Payload, *, idempotency_key: str | None = None) -> Job:
        """Have the work accepted. Cancelled meanwhile, what may have been accepted is stopped."""
        await self.require_valid(payload)

        async def call() -> Job:
            async with asyncio.timeout(self.settings.timeout_s):
                return await self._begun(payload, idempotency_key)

        return await self.guarded(call, payload.model, self.settings.timeout_s)

    @final
    async def finish(
        self, job: Job, payload: Payload, *, timeout_s: float | None = None, wake: asyncio.Event | None = None
    ) -> ProviderResponse:
        """The job's response, polled for; `wake` is set by whoever knows earlier, such as a webhook.

        Cancelled or out of time, the job is stopped at the provider.
        """
        limit = timeout_s or self.settings.timeout_s

        async def call() -> ProviderResponse:
            async with asyncio.timeout(limit):
                return await self._finished(job, payload, wake)

        return await self.guarded(call, payload.model, limit)

    @final
    async def cancel(self, job: Job) -> None:
        """Stop the job at the provider. Raises what the provider's answer comes to."""
        await self.guarded(lambda: self.stop(job), job.model, None)

    @final
    async def call(self, payload: Payload, *, idempotency_key: str | None) -> ProviderResponse:
        return await self._finished(await self._begun(payload, idempotency_key), payload, None)

    async def _begun(self, payload: Payload, idempotency_key: str | None) -> Job:
        # In a task of its own: cancelled in mid-flight, nobody would know the id of what was accepted.
        beginning = asyncio.create_task(self.begin(payload, idempotency_key=idempotency_key))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await _within(self._stop_begun(beginning))
            raise

    async def _stop_begun(self, beginning: asyncio.Task[Job]) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CANCEL_S / 2):
                await self.stop(await beginning)

    async def _finished(self, job: Job, payload: Payload, wake: asyncio.Event | None) -> ProviderResponse:
        wait_s, lost_since = self.settings.poll_s, math.inf
        try:
            while True:
                try:
                    found = await self._looked(job, payload)
                except (ProviderUnavailableError, ProviderAnswerError) as error:
                    # The job goes on: asking again costs nothing, beginning anew costs it all once more.
                    lost_since = min(lost_since, time.monotonic())
                    if time.monotonic() - lost_since >= self.settings.poll_patience_s:
                        raise
                    wait_s = max(wait_s, float(error.details.get("retry_after_s") or 0.0))
                else:
                    if isinstance(found, ProviderResponse):
                        return found
                    job, lost_since = found, math.inf
                await _awoken(wake, wait_s)
                wait_s = min(self.settings.poll_cap_s, wait_s * 1.3)
        except asyncio.CancelledError:
            await _within(self._stop_quietly(job))
            raise

    async def _looked(self, job: Job, payload: Payload) -> ProviderResponse | Job:
        try:
            return await self.look(job, payload)
        except HyvveError:
            raise
        except Exception as error:
            if (found := self.fault(error, payload.model)) is not None:
                raise found from error
            raise

    async def _stop_quietly(self, job: Job) -> None:
        try:
            async with asyncio.timeout(_CANCEL_S):
                await self.stop(job)
        except Exception:  # the caller is leaving: this is for whoever reads the log
            log.exception("%s at %s could not be stopped", job.id, self.name)


async def _within(stopping: Awaitable[None]) -> None:
    """Wait for it although we are being cancelled, and cancelled again; it bounds itself."""
    task = asyncio.ensure_future(stopping)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)


async def _awoken(wake: asyncio.Event | None, wait_s: float) -> None:
    if wake is None:
        await asyncio.sleep(wait_s)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(wake.wait(), wait_s)
    wake.clear()
