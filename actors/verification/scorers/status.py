"""What an HTTP status from a model provider means for us, in one table."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from actors.errors import ScorerError, ScorerRateLimitedError, ScorerRefusedError, ScorerUnavailableError

# Said with a 429, but no waiting cures it: the account has no money left.
_SPENT = ("insufficient_quota", "billing_hard_limit_reached", "insufficient_balance", "insufficient_funds")
_PASSING = frozenset({408, 409, 425})


def classified(provider: str, status: int, said: str, *, code: str = "", wait_s: float | None = None) -> ScorerError:
    """The error for an answer of `status`: refused, rate limited (`details["retry_after_s"]`) or unavailable."""
    message = f"{provider} answered {status}: {said[:500]}"
    if status == 429 and not any(word in f"{code} {said}" for word in _SPENT):
        details = {} if wait_s is None else {"retry_after_s": wait_s}
        return ScorerRateLimitedError(message, subject=provider, status=status, **details)
    if status >= 500 or status in _PASSING:
        return ScorerUnavailableError(message, subject=provider, status=status)
    return ScorerRefusedError(message, subject=provider, status=status)


def retry_after_s(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date (RFC 9110, 10.2.3); `None` where it says neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
