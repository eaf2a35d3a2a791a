"""Brave Search. Wire format: https://api-dashboard.search.brave.com/app/documentation/web-search/get-started."""

from __future__ import annotations

from actors.agents.search.base import Found
from actors.agents.search.client import SearchClient
from actors.agents.search.results import listed

DEFAULT_BASE_URL = "https://api.search.brave.com"


class Brave:
    name = "brave"

    def __init__(self, *, api_key: str, timeout_s: float, base_url: str = DEFAULT_BASE_URL) -> None:
        self._url = f"{base_url.rstrip('/')}/res/v1/web/search"
        self._key = api_key
        self._client = SearchClient("Brave", timeout_s=timeout_s)

    async def search(self, query: str, *, limit: int) -> Found:
        answer = await self._client.json(
            "GET",
            self._url,
            headers={"X-Subscription-Token": self._key, "Accept": "application/json"},
            params={"q": query, "count": str(limit)},
        )
        # A query that the web has nothing for is answered without `web`.
        web = answer.get("web", {"results": []})
        hits = listed(web, "results", names=("title", "url", "description"), who="Brave")
        return Found(hits[:limit], self.name)

    async def close(self) -> None:
        await self._client.close()
