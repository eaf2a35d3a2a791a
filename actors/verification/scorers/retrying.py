"""Trying again: exponential backoff with full jitter, for errors that another try can cure."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from actors.errors import ScorerAnswerError, ScorerError, ScorerRateLimitedError, ScorerUnavailableError

T = TypeVar("T")

_RETRIED = (ScorerUnavailableError, ScorerAnswerError)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` after the first try; before the n-th, a random wait up to min(cap_s, base_s · 2ⁿ⁻¹) seconds.

    Being told to slow down is no failure of the item: those tries are not counted, but end after `patience_s`.
    A provider that asks for more than `longest_wait_s` (a spent daily quota) is taken as down at once.
    """

    retries: int = 4
    base_s: float = 0.5
    cap_s: float = 20.0
    patience_s: float = 120.0
    longest_wait_s: float = 60.0

    def wait_s(self, attempt: int) -> float:
        """Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/."""
        return random.uniform(0, min(self.cap_s, self.base_s * 2**attempt))  # noqa: S311 - spreads load, no secret


async def retrying(call: Callable[[], Awaitable[T]], policy: RetryPolicy) -> T:
    """The result of `call`, tried as `policy` says.

    Raises the last error, of its own class, with the number of tries in its message and in `details["tries"]`.
    Errors outside `ScorerUnavailableError` and `ScorerAnswerError` are raised as they come.
    """
    failures = limited = 0
    patient_until = 0.0
    while True:
        try:
            return await call()
        except ScorerRateLimitedError as error:
            now = time.monotonic()
            patient_until = patient_until or now + policy.patience_s
            asked = float(error.details.get("retry_after_s") or 0.0)
            wait = asked + policy.wait_s(limited)
            limited += 1
            if asked > policy.longest_wait_s or now + wait > patient_until or policy.retries == 0:
                raise _final(error, failures + limited) from error
        except _RETRIED as error:
            wait = policy.wait_s(failures)
            failures += 1
            if failures > policy.retries:
                raise _final(error, failures + limited) from error
        await asyncio.sleep(wait)


def _final(error: ScorerError, tries: int) -> ScorerError:
    said = f"gave up after {tries} {'try' if tries == 1 else 'tries'}: {error.message}"
    return type(error)(said, subject=error.subject, **{**error.details, "tries": tries})
