"""Errors are told apart by what can be done about them, and tries are spaced and counted."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from actors.errors import (
    BudgetExceededError,
    MissingKeyError,
    ScorerRateLimitedError,
    StepTimeoutError,
    WorkerLostError,
)
from actors.runs.retrying import RetryPolicy, attempted, classify, described, durable
from storage.errors import DatabaseUnavailableError, NotFoundError


class AnsweredError(Exception):
    """As HTTP clients raise them."""

    def __init__(self, status_code: int) -> None:
        super().__init__(str(status_code))
        self.status_code = status_code


class APIConnectionError(Exception):
    """As a model's client calls its own."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DatabaseUnavailableError("away"), "retryable"),
        (WorkerLostError("died"), "retryable"),
        (StepTimeoutError("slow"), "retryable"),
        (ConnectionResetError(), "retryable"),
        (TimeoutError(), "retryable"),
        (APIConnectionError(), "retryable"),
        (AnsweredError(429), "retryable"),
        (AnsweredError(503), "retryable"),
        (AnsweredError(401), "needs_person"),
        (AnsweredError(402), "needs_person"),
        (MissingKeyError("no key"), "needs_person"),
        (AnsweredError(400), "permanent"),
        (BudgetExceededError("spent"), "permanent"),
        (NotFoundError("gone"), "permanent"),
        (KeyError("a fault of ours"), "permanent"),
    ],
)
def test_errors_by_what_can_be_done(error: Exception, expected: str) -> None:
    assert classify(error) == expected
    assert described(error, classify(error))["retryable"] == (expected == "retryable")


def test_waits_grow_with_a_jitter_to_the_cap_and_heed_what_the_error_asks() -> None:
    policy = RetryPolicy(base_s=1.0, factor=2.0, cap_s=10.0)
    for failed, most in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 10.0)):
        waits = {policy.wait_s(failed, TimeoutError()) for _ in range(50)}
        assert len(waits) > 10
        assert all(most / 2 <= each <= most for each in waits)
    assert policy.wait_s(1, ScorerRateLimitedError("slow down", retry_after_s=7.0)) == 7.0
    assert policy.wait_s(1, ScorerRateLimitedError("slow down", retry_after_s=70.0)) == 10.0


async def test_a_step_is_tried_as_often_as_its_policy_says_and_only_where_it_helps() -> None:
    tries: list[int] = []

    async def failing(error: Exception) -> None:
        tries.append(1)
        raise error

    policy = RetryPolicy(attempts=3, base_s=0.001)
    with pytest.raises(ConnectionError):
        await attempted(lambda: failing(ConnectionError()), policy)
    assert len(tries) == 3
    with pytest.raises(KeyError):
        await attempted(lambda: failing(KeyError()), policy)
    assert len(tries) == 4


async def test_a_step_past_its_limit_is_stopped_and_its_own_timeouts_are_its_own() -> None:
    stopped = asyncio.Event()

    async def slow(_: object) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    began = time.monotonic()
    with pytest.raises(StepTimeoutError):
        await durable(slow, retry=RetryPolicy(attempts=2, base_s=0.001), timeout_s=0.05)({})
    assert stopped.is_set()
    assert time.monotonic() - began < 50

    async def timed_out(_: object) -> None:
        raise TimeoutError("of a library")

    with pytest.raises(TimeoutError, match="of a library"):
        await durable(timed_out, retry=RetryPolicy(attempts=1), timeout_s=5)({})


async def test_a_plain_function_runs_beside_the_loop() -> None:
    go = threading.Event()

    def slow(_: object) -> str:
        assert go.wait(30), "the loop stood still"
        return "done"

    running = asyncio.ensure_future(durable(slow)({}))
    await asyncio.sleep(0.1)
    assert not running.done()
    go.set()
    assert await running == "done"
