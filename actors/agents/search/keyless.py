"""Searching the web without a key: the first service that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from actors.agents.search.base import Found, Search
from actors.errors import SearchError


class FirstThatAnswers:
    """Asks the services in turn until one answers, and says so where that was not the first."""

    name = "keyless"

    def __init__(self, services: Sequence[Search]) -> None:
        self._services = tuple(services)

    async def search(self, query: str, *, limit: int) -> Found:
        """Raises `SearchError`, with each service's reason, where none answers."""
        reasons: list[str] = []
        for service in self._services:
            try:
                found = await service.search(query, limit=limit)
            except SearchError as error:
                reasons.append(error.message)
            else:
                if reasons:
                    said = f"only {found.source} was searched: {'; '.join(reasons)}"
                    found = replace(found, note=said[:500])
                return found
        raise SearchError(
            f"no search service answers: {'; '.join(reasons)}. For a reliable one set TAVILY_API_KEY, BRAVE_API_KEY or "
            "SERPER_API_KEY"
        )

    async def close(self) -> None:
        for service in self._services:
            await service.close()
