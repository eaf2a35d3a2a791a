"""The one source of time: UTC, aware."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, UTC, aware."""
    return datetime.now(UTC)
