"""Web search services for tests, each by its own wire format on one server: DuckDuckGo's page, Wikipedia, Tavily,
Brave and Serper. The addresses of the formats stand in `actors/agents/search/`.
"""

from __future__ import annotations

import html
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote

import orjson

from tests.stubs.http import Reply, Request, StubServer

KEY = "search-key"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the stub's web."""

    title: str
    url: str
    snippet: str


class SearchStub(StubServer):
    """Finds `pages` whose title or snippet holds a word of the query. Replies put into `script` go first, one a request.

    `queries` keeps what was asked, by service; keyed services want `KEY`. With `robot` DuckDuckGo shows its puzzle.
    """

    def __init__(self, pages: Iterable[Page] = (), *, script: Iterable[Reply] = (), robot: bool = False) -> None:
        super().__init__(self._handle)
        self.pages = list(pages)
        self.script = deque(script)
        self.robot = robot
        self.queries: list[tuple[str, str, int | None]] = []
        self.requests: list[Request] = []

    def _handle(self, request: Request) -> Reply:
        self.requests.append(request)
        if self.script:
            return self.script.popleft()
        path, _, query = request.path.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if path == "/html/" and request.method == "POST":
            return self._duckduckgo(parse_qs(request.body.decode())["q"][0])
        if path == "/w/api.php":
            return self._wikipedia(asked)
        if path == "/res/v1/web/search":
            return self._brave(request, asked)
        if path == "/search" and "x-api-key" in request.headers:
            return self._serper(request)
        if path == "/search":
            return self._tavily(request)
        return Reply(b"not found", 404)

    def _found(self, service: str, query: str, limit: int | None) -> list[Page]:
        self.queries.append((service, query, limit))
        words = query.lower().split()
        return [page for page in self.pages if any(word in f"{page.title} {page.snippet}".lower() for word in words)]

    def _duckduckgo(self, query: str) -> Reply:
        as_page = {"content-type": "text/html; charset=UTF-8"}
        if self.robot:
            return Reply(b'<html><div class="anomaly-modal__title">Select all ducks</div></html>', 202, headers=as_page)
        advertisement = _result(
            "Buy ducks", "//duckduckgo.com/y.js?ad_provider=x&u3=y", "Cheap ducks", kind="result--ad"
        )
        found = "".join(
            _result(page.title, f"//duckduckgo.com/l/?uddg={quote(page.url, safe='')}&amp;rut=0f", page.snippet)
            for page in self._found("duckduckgo", query, None)
        )
        body = advertisement + found if found else '<div class="no-results">No results.</div>'
        return Reply(f"<!DOCTYPE html><html><body>{body}</body></html>".encode(), headers=as_page)

    def _wikipedia(self, asked: dict[str, str]) -> Reply:
        limit = int(asked["srlimit"])
        found = [
            {"ns": 0, "title": page.title, "pageid": number, "snippet": _marked(page.snippet), "wordcount": 9}
            for number, page in enumerate(self._found("wikipedia", asked["srsearch"], limit)[:limit], 1)
        ]
        return _json({"batchcomplete": True, "query": {"searchinfo": {"totalhits": len(found)}, "search": found}})

    def _brave(self, request: Request, asked: dict[str, str]) -> Reply:
        if request.headers.get("x-subscription-token") != KEY:
            fault = {"code": "SUBSCRIPTION_TOKEN_INVALID", "detail": "The provided subscription token is invalid."}
            return _json({"type": "ErrorResponse", "error": {**fault, "status": 422}}, 422)
        limit = int(asked["count"])
        results = [
            {"title": page.title, "url": page.url, "description": _marked(page.snippet), "type": "search_result"}
            for page in self._found("brave", asked["q"], limit)[:limit]
        ]
        web = {"web": {"type": "search", "results": results}} if results else {}
        return _json({"type": "search", "query": {"original": asked["q"]}, **web})

    def _serper(self, request: Request) -> Reply:
        if request.headers["x-api-key"] != KEY:
            return _json({"message": "Unauthorized.", "statusCode": 403}, 403)
        body = request.json()
        found = self._found("serper", body["q"], body["num"])
        organic = [
            {"title": page.title, "link": page.url, "snippet": page.snippet, "position": place}
            for place, page in enumerate(found, 1)
        ]
        return _json({"searchParameters": {"q": body["q"]}, "organic": organic})

    def _tavily(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _json({"detail": {"error": "Unauthorized: missing or invalid API key."}}, 401)
        body = request.json()
        limit = body["max_results"]
        results = [
            {"title": page.title, "url": page.url, "content": page.snippet, "score": 0.9, "raw_content": None}
            for page in self._found("tavily", body["query"], limit)[:limit]
        ]
        return _json({"query": body["query"], "results": results, "response_time": 0.4})


def _result(title: str, href: str, snippet: str, *, kind: str = "web-result") -> str:
    return (
        f'<div class="result results_links {kind}"><div class="links_main result__body">'
        f'<h2 class="result__title"><a rel="nofollow" class="result__a" href="{href}">{html.escape(title)}</a></h2>'
        f'<a class="result__snippet" href="{href}">{_bold(snippet)}</a></div></div>'
    )


def _bold(text: str) -> str:
    first, _, rest = html.escape(text).partition(" ")
    return f"<b>{first}</b> {rest}"


def _marked(text: str) -> str:
    first, _, rest = html.escape(text).partition(" ")
    return f'<span class="searchmatch">{first}</span> {rest}'


def _json(body: dict[str, Any], status: int = 200) -> Reply:
    return Reply(orjson.dumps(body), status)
