"""Wikipedia's own search, without a key. Wire format: https://www.mediawiki.org/wiki/API:Search."""

from __future__ import annotations

from yarl import URL

from actors.agents.search.base import Found, Hit
from actors.agents.search.client import SearchClient
from actors.agents.search.markup import hit
from actors.errors import SearchError

DEFAULT_BASE_URL = "https://en.wikipedia.org"


class Wikipedia:
    name = "wikipedia"

    def __init__(self, *, timeout_s: float, base_url: str = DEFAULT_BASE_URL) -> None:
        self._base = URL(base_url.rstrip("/"))
        self._client = SearchClient("Wikipedia", timeout_s=timeout_s)

    async def search(self, query: str, *, limit: int) -> Found:
        answer = await self._client.json(
            "GET",
            str(self._base / "w/api.php"),
            params={
                "action": "query", "list": "search", "srsearch": query, "srlimit": str(limit), "format": "json",
                "formatversion": "2",
            },
        )  # fmt: skip
        if "error" in answer:  # with status 200
            raise SearchError(f"Wikipedia refused: {str(answer['error'])[:300]}", subject="Wikipedia")
        try:
            found = answer["query"]["search"]
            hits = [hit(each["title"], self._page(str(each["title"])), each.get("snippet")) for each in found]
        except (KeyError, TypeError) as error:
            raise SearchError(f"Wikipedia answered another shape: {str(answer)[:100]}", subject="Wikipedia") from error
        kept: list[Hit] = [each for each in hits if each is not None]
        return Found(tuple(kept[:limit]), self.name)

    async def close(self) -> None:
        await self._client.close()

    def _page(self, title: str) -> str:
        return str(self._base / "wiki" / title.replace(" ", "_"))
