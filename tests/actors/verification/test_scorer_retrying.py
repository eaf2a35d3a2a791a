"""Trying again spreads out, ends, and says what happened."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from actors.errors import (
    MissingKeyError,
    ScorerAnswerError,
    ScorerError,
    ScorerRateLimitedError,
    ScorerRefusedError,
    ScorerUnavailableError,
)
from actors.verification.scorers.retrying import RetryPolicy, retrying
from actors.verification.scorers.status import classified, retry_after_s
from storage.errors import HyvveError

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.002, patience_s=0.2)


class Calls:
    """Raises the given errors one after the other (the last one for ever), or answers where there is none left."""

    def __init__(self, *errors: HyvveError, forever: bool = False) -> None:
        self.errors = list(errors)
        self.forever = forever
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.forever:
            raise self.errors[0]
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_failures_that_may_pass_are_tried_again() -> None:
    calls = Calls(ScorerUnavailableError("down"), ScorerAnswerError("nonsense"), ScorerUnavailableError("down"))
    assert await retrying(calls, QUICK) == "done"
    assert calls.made == 4


async def test_the_last_error_is_told_with_the_number_of_tries_and_survives_pickling() -> None:
    calls = Calls(ScorerUnavailableError("down", subject="openai", status=503), forever=True)
    with pytest.raises(ScorerUnavailableError) as caught:
        await retrying(calls, QUICK)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == "gave up after 4 tries: down"
    assert (copy.subject, copy.details) == ("openai", {"status": 503, "tries": 4})


@pytest.mark.parametrize("error", [ScorerRefusedError("no"), MissingKeyError("no key"), ScorerError("unknown")])
async def test_what_will_not_pass_is_not_tried_again(error: HyvveError) -> None:
    calls = Calls(error, forever=True)
    with pytest.raises(type(error)):
        await retrying(calls, QUICK)
    assert calls.made == 1


async def test_being_limited_does_not_use_up_tries_but_ends() -> None:
    calls = Calls(*[ScorerRateLimitedError("slow")] * 10)
    assert await retrying(calls, QUICK) == "done"
    with pytest.raises(ScorerRateLimitedError, match="gave up after"):
        await retrying(Calls(ScorerRateLimitedError("slow", retry_after_s=0.15), forever=True), QUICK)


async def test_without_retries_the_first_failure_is_the_last() -> None:
    for error in (ScorerUnavailableError("down"), ScorerRateLimitedError("slow")):
        calls = Calls(error, forever=True)
        with pytest.raises(type(error), match="gave up after 1 try: "):
            await retrying(calls, RetryPolicy(retries=0))
        assert calls.made == 1


def test_waits_are_spread_over_a_doubling_range_up_to_the_cap() -> None:
    policy = RetryPolicy(base_s=1.0, cap_s=8.0)
    for attempt, most in enumerate((1, 2, 4, 8, 8, 8)):
        waits = [policy.wait_s(attempt) for _ in range(300)]
        assert 0 <= min(waits) < most * 0.1
        assert most * 0.9 < max(waits) <= most


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ScorerRefusedError),
        (401, ScorerRefusedError),
        (403, ScorerRefusedError),
        (404, ScorerRefusedError),
        (408, ScorerUnavailableError),
        (429, ScorerRateLimitedError),
        (500, ScorerUnavailableError),
        (503, ScorerUnavailableError),
        (529, ScorerUnavailableError),
    ],
)
def test_a_status_means_the_same_for_every_provider(status: int, kind: type[ScorerError]) -> None:
    assert type(classified("p", status, "said")) is kind


def test_an_account_without_money_is_refused_not_waited_for() -> None:
    assert type(classified("p", 429, "said", code="insufficient_quota")) is ScorerRefusedError


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s("1.5") == 1.5
    assert retry_after_s("-3") == 0.0
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 <= (retry_after_s(later) or 0) <= 30
    assert [retry_after_s(header) for header in (None, "", "soon", "nan", "inf")] == [None] * 5
