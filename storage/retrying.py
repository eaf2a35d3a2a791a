"""When to ask an HTTP server again, and how long to wait before."""

from __future__ import annotations

import random
from collections.abc import Mapping

# Too many requests, and a gateway or server that cannot answer now. A plain 500 is a fault that comes again.
RETRYABLE_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
_CAP_S = 10.0


def wait_s(attempt: int, *, base_s: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait after failed attempt `attempt` (from 0): exponential with jitter, 10 s at most.

    Never below what the server asked for, unless it asked for more than those 10 s. The jitter is half of the wait,
    so that clients that failed together do not come back together.
    """
    exponential = min(_CAP_S, base_s * 2.0**attempt)
    jittered = exponential * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    return min(_CAP_S, max(jittered, retry_after_s or 0.0))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds of a `Retry-After` header; its date form, and nonsense, are as if it were absent."""
    value = headers.get("Retry-After", "").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
