"""Which paths are the poll of one campaign. Every process that listens asks, so this module imports nothing."""

from __future__ import annotations

PREFIX = "/campaigns/"
# Lists of campaigns live at these names.
_TAKEN = frozenset({"all", "active"})


def is_poll(path: str) -> bool:
    """Whether this path names one campaign."""
    key = path[len(PREFIX) :]
    return path.startswith(PREFIX) and key != "" and "/" not in key and key not in _TAKEN
