"""Serper: Google's results. Wire format: https://serper.dev/playground."""

from __future__ import annotations

from actors.agents.search.base import Found
from actors.agents.search.client import SearchClient
from actors.agents.search.results import listed

DEFAULT_BASE_URL = "https://google.serper.dev"


class Serper:
    name = "serper"

    def __init__(self, *, api_key: str, timeout_s: float, base_url: str = DEFAULT_BASE_URL) -> None:
        self._url = f"{base_url.rstrip('/')}/search"
        self._key = api_key
        self._client = SearchClient("Serper", timeout_s=timeout_s)

    async def search(self, query: str, *, limit: int) -> Found:
        answer = await self._client.json(
            "POST", self._url, headers={"X-API-KEY": self._key}, json={"q": query, "num": limit}
        )
        return Found(listed(answer, "organic", names=("title", "link", "snippet"), who="Serper")[:limit], self.name)

    async def close(self) -> None:
        await self._client.close()
