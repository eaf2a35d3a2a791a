"""A provider's call as a step of a run makes it: paid for once, whatever dies meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TypeVar

from pydantic import BaseModel

from actors.agents.documents import storable
from actors.errors import ProviderError
from actors.providers.base import AIProvider
from actors.providers.jobs import JobProvider, Wakes
from actors.providers.models import Job, Payload, ProviderResponse
from actors.runs.step import current

T = TypeVar("T", bound=BaseModel)


async def called(
    provider: AIProvider,
    payload: Payload,
    *,
    key: str = "call",
    timeout_s: float | None = None,
    wakes: Wakes | None = None,
) -> ProviderResponse:
    """What the model answers. A response, or the id of a job, is recorded with the run as soon as there is one: the
    same step, run again by another host, takes it from there. The usage is added to the run's. `wakes` gives what is
    set when a job is done. Raises as `AIProvider.execute` does, and `BudgetExceededError`.

    `key` names the call within its step. A try after a job's own failure begins a new job, one at most; a try after a
    lost connection waits for the old one.
    """
    if isinstance(provider, JobProvider):
        return await _job(provider, payload, key, timeout_s, wakes)

    async def call(idempotency_key: str) -> ProviderResponse:
        current().require_budget()
        return await provider.execute(payload, idempotency_key=idempotency_key, timeout_s=timeout_s)

    response, is_new = await _once(key, call, ProviderResponse)
    return _counted(response, is_new=is_new)


async def _job(
    provider: JobProvider, payload: Payload, key: str, timeout_s: float | None, wakes: Wakes | None
) -> ProviderResponse:
    number = 0
    while True:

        async def start(idempotency_key: str) -> Job:
            current().require_budget()
            return await provider.start(payload, idempotency_key=idempotency_key)

        job, is_new = await _once(f"{key}:{number}", start, Job)

        async def finish(_: str, job: Job = job) -> ProviderResponse:
            with wakes(job) if wakes is not None else nullcontext() as wake:
                return await provider.finish(job, payload, timeout_s=timeout_s, wake=wake)

        try:
            response, is_new = await _once(f"{key}:{number}:response", finish, ProviderResponse)
        except ProviderError as error:
            # A job that an earlier try began, and that has ended without a response, leaves this try its own; so does
            # one that its host, stopped in good order, has stopped.
            if is_new or error.subject != job.id:
                raise
            number += 1
        else:
            return _counted(response, is_new=is_new)


async def _once(key: str, call: Callable[[str], Awaitable[T]], kind: type[T]) -> tuple[T, bool]:
    """(what the call answered now or before, whether it was now)."""
    is_new = False

    async def made(idempotency_key: str) -> object:
        nonlocal is_new
        is_new = True
        # What was paid for must not be lost over a character that cannot be kept.
        return storable((await call(idempotency_key)).model_dump(mode="json"))

    return kind.model_validate(await current().once(key, made)), is_new


def _counted(response: ProviderResponse, *, is_new: bool) -> ProviderResponse:
    used = response.usage
    if is_new:
        current().use(
            response.model,
            prompt_tokens=used.input_tokens,
            completion_tokens=used.output_tokens,
            cost_micro_usd=used.cost_micro_usd,
        )
    return response
