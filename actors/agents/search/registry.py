"""Which web search a setting means. A new one is a file and a line here."""

from __future__ import annotations

from actors.agents.search.base import Search
from actors.settings import SearchSettings


def open_search(settings: SearchSettings) -> Search:
    """The search of `settings.backend`; no network is touched yet. Close it when done. Raises `MissingKeyError`."""
    raise NotImplementedError(settings.backend)
