"""DuckDuckGo's page for browsers without scripts, read as such a browser would: it has no API for results.

The page is not a contract. It answers 202, or a page with a puzzle, to whom it takes for a robot; both are errors here,
and so is a page in which neither results nor the words "no results" can be found.
"""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

from actors.agents.search.base import Found, Hit
from actors.agents.search.client import SearchClient
from actors.agents.search.markup import hit
from actors.errors import SearchError

DEFAULT_BASE_URL = "https://html.duckduckgo.com"


class DuckDuckGo:
    name = "duckduckgo"

    def __init__(self, *, timeout_s: float, base_url: str = DEFAULT_BASE_URL) -> None:
        self._url = f"{base_url.rstrip('/')}/html/"
        self._client = SearchClient("DuckDuckGo", timeout_s=timeout_s)

    async def search(self, query: str, *, limit: int) -> Found:
        page = _Page()
        page.feed(await self._client.text("POST", self._url, data={"q": query}))
        page.close()
        if not page.hits and not page.said_none:
            raise SearchError("DuckDuckGo takes us for a robot, or has another page now", subject="DuckDuckGo")
        return Found(tuple(page.hits[:limit]), self.name)

    async def close(self) -> None:
        await self._client.close()


class _Page(HTMLParser):
    """Collects `a.result__a` (title and address) and the `.result__snippet` after it; leaves out advertisements."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.hits: list[Hit] = []
        self.said_none = False
        self._tag = ""  # whose text is being gathered
        self._text: list[str] = []
        self._open: tuple[str, str] | None = None  # title and address, until the snippet comes
        self._in_title = False
        self._address = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = (given.get("class") or "").split()
        if "no-results" in classes or "result--no-result" in classes:
            self.said_none = True
        if "result__a" in classes:
            self._keep("")
            self._address = _address(given.get("href") or "")
            self._begin(tag, in_title=True)
        elif "result__snippet" in classes:
            self._begin(tag, in_title=False)

    def handle_endtag(self, tag: str) -> None:
        if not self._tag or tag != self._tag:
            return
        text = "".join(self._text)
        self._tag = ""
        if self._in_title:
            self._open = (text, self._address)
        else:
            self._keep(text)

    def handle_data(self, data: str) -> None:
        if self._tag:
            self._text.append(data)

    def close(self) -> None:
        super().close()
        self._keep("")

    def _begin(self, tag: str, *, in_title: bool) -> None:
        self._tag, self._text, self._in_title = tag, [], in_title

    def _keep(self, snippet: str) -> None:
        if self._open is not None:
            title, address = self._open
            self._open = None
            found = hit(title, address, snippet)
            if found is not None:
                self.hits.append(found)


def _address(href: str) -> str:
    """Where a result leads: the page links by way of a redirect of its own. "" for an advertisement's."""
    parts = urlsplit(href if not href.startswith("//") else f"https:{href}")
    if (parts.hostname or "").endswith("duckduckgo.com"):
        return parse_qs(parts.query).get("uddg", [""])[0] if parts.path == "/l/" else ""
    return href
