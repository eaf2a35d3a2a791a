"""Tavily. Wire format: https://docs.tavily.com/documentation/api-reference/endpoint/search."""

from __future__ import annotations

from actors.agents.search.base import Found
from actors.agents.search.client import SearchClient
from actors.agents.search.results import listed

DEFAULT_BASE_URL = "https://api.tavily.com"


class Tavily:
    name = "tavily"

    def __init__(self, *, api_key: str, timeout_s: float, base_url: str = DEFAULT_BASE_URL) -> None:
        self._url = f"{base_url.rstrip('/')}/search"
        self._key = api_key
        self._client = SearchClient("Tavily", timeout_s=timeout_s)

    async def search(self, query: str, *, limit: int) -> Found:
        answer = await self._client.json(
            "POST",
            self._url,
            headers={"Authorization": f"Bearer {self._key}"},
            json={"query": query, "max_results": limit, "search_depth": "basic"},
        )
        return Found(listed(answer, "results", names=("title", "url", "content"), who="Tavily")[:limit], self.name)

    async def close(self) -> None:
        await self._client.close()
