"""Web search by five services: each speaks its own format, and each one's trouble is told in one way."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from actors.agents.search.base import Found
from actors.agents.search.duckduckgo import DuckDuckGo
from actors.agents.search.keyless import FirstThatAnswers
from actors.agents.search.registry import open_search
from actors.agents.search.wikipedia import Wikipedia
from actors.errors import MissingKeyError, SearchError
from actors.settings import SearchSettings
from tests.stubs.http import Reply, StubServer
from tests.stubs.search import KEY, Page, SearchStub

PAGES = [
    Page("Rice & beans", "https://food.example/rice?a=1&b=2", "Boil the <rice> for twelve minutes"),
    Page("Rice terraces", "https://travel.example/terraces", "Rice grows on steps in Luzon"),
    Page("Walrus", "https://zoo.example/walrus", "A large marine mammal"),
]
SERVICES = ["duckduckgo", "wikipedia", "tavily", "brave", "serper"]


@pytest.fixture
async def stub() -> AsyncIterator[SearchStub]:
    async with SearchStub(PAGES) as stub:
        yield stub


async def searched(stub: SearchStub, backend: Any, query: str = "rice", *, limit: int = 5, **settings: Any) -> Found:
    key = {"api_key": SecretStr(KEY)} if backend in {"tavily", "brave", "serper"} else {}
    search = open_search(SearchSettings(**{"backend": backend, "base_url": stub.url, **key, **settings}))
    try:
        return await search.search(query, limit=limit)
    finally:
        await search.close()


@pytest.mark.parametrize("backend", SERVICES)
async def test_every_service_gives_the_same_plain_hits(stub: SearchStub, backend: str) -> None:
    found = await searched(stub, backend)
    assert found.source == backend
    assert [hit.title for hit in found.hits] == ["Rice & beans", "Rice terraces"]
    assert [hit.snippet for hit in found.hits][1] == "Rice grows on steps in Luzon"
    if backend == "wikipedia":
        assert found.hits[1].url == f"{stub.url}/wiki/Rice_terraces"
    else:
        assert found.hits[0].url == "https://food.example/rice?a=1&b=2"
    assert "searchmatch" not in str(found.hits)


@pytest.mark.parametrize("backend", SERVICES)
async def test_no_more_than_asked_for_come_back(stub: SearchStub, backend: str) -> None:
    found = await searched(stub, backend, limit=1)
    assert len(found.hits) == 1


@pytest.mark.parametrize("backend", SERVICES)
async def test_nothing_found_is_no_error(stub: SearchStub, backend: str) -> None:
    assert (await searched(stub, backend, "zeppelin")).hits == ()


@pytest.mark.parametrize("backend", ["tavily", "brave", "serper"])
async def test_a_key_is_needed_and_a_wrong_one_is_told(stub: SearchStub, backend: Any) -> None:
    with pytest.raises(MissingKeyError, match=f"{backend.upper()}_API_KEY"):
        open_search(SearchSettings(backend=backend))
    with pytest.raises(SearchError, match=r"(?i)unauthorized|invalid") as caught:
        await searched(stub, backend, api_key=SecretStr("wrong"))
    assert caught.value.details["status"] in {401, 403, 422}


@pytest.mark.parametrize("backend", SERVICES)
@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>down for maintenance</html>"),
        Reply(b"[1, 2]"),
        Reply(b'{"organic": 1, "results": {}, "query": [], "web": 7}'),
        Reply(b"\xff\xfe" * 50, headers={"content-encoding": "gzip"}),
        Reply(b"oops", 500),
    ],
)
async def test_nonsense_is_an_error_that_names_the_service(stub: SearchStub, backend: str, reply: Reply) -> None:
    stub.script.append(reply)
    with pytest.raises(SearchError) as caught:
        await searched(stub, backend)
    assert str(caught.value.subject).lower() == backend


@pytest.mark.parametrize("backend", SERVICES)
async def test_a_passing_trouble_is_tried_again(stub: SearchStub, backend: str) -> None:
    stub.script.append(Reply(b"busy", 503))
    assert len((await searched(stub, backend)).hits) == 2
    assert len(stub.requests) == 2


async def test_a_service_that_is_slow_or_gone_is_given_up(stub: SearchStub) -> None:
    stub.script.append(Reply(b"{}", delay_s=30))
    started = time.monotonic()
    with pytest.raises(SearchError, match=r"within 0\.2 s"):
        await searched(stub, "tavily", timeout_s=0.2)
    await stub.close()
    with pytest.raises(SearchError, match="could not be reached"):
        await searched(stub, "tavily")
    assert time.monotonic() - started < 25


async def test_advertisements_and_what_is_no_web_address_are_left_out(stub: SearchStub) -> None:
    stub.pages += [Page("rice bomb", "javascript:alert(1)", "rice"), Page("rice file", "file:///etc/passwd", "rice")]
    for backend in ("duckduckgo", "tavily", "brave", "serper"):
        found = await searched(stub, backend, limit=10)
        assert {hit.url.partition(":")[0] for hit in found.hits} == {"https"}
        assert "Buy ducks" not in str(found.hits)


async def test_a_huge_hit_is_bounded(stub: SearchStub) -> None:
    stub.pages = [Page("rice " * 300, "https://x.example/", "rice " * 100_000)]
    for backend in SERVICES:
        [hit] = (await searched(stub, backend)).hits
        assert len(hit.title) <= 300
        assert len(hit.snippet) <= 800


async def test_without_a_key_wikipedia_stands_in_for_a_search_that_refuses(stub: SearchStub) -> None:
    stub.robot = True
    found = await searched(stub, "keyless")
    assert found.source == "wikipedia"
    assert len(found.hits) == 2
    assert "DuckDuckGo answered 202" in str(found.note)
    stub.robot = False
    found = await searched(stub, "keyless")
    assert (found.source, found.note) == ("duckduckgo", None)


async def test_a_page_without_results_and_without_saying_so_is_a_refusal(stub: SearchStub) -> None:
    stub.script.append(Reply(b"<html><form>Are you a robot?</form></html>"))
    with pytest.raises(SearchError, match="robot"):
        await searched(stub, "duckduckgo")


async def test_where_no_service_answers_each_reason_and_the_way_out_are_told() -> None:
    async with StubServer(lambda _: Reply(b"no", 403)) as refusing:
        search = FirstThatAnswers(
            (DuckDuckGo(timeout_s=5, base_url=refusing.url), Wikipedia(timeout_s=5, base_url=refusing.url))
        )
        with pytest.raises(SearchError) as caught:
            await search.search("rice", limit=3)
        await search.close()
    for words in ("DuckDuckGo answered 403", "Wikipedia answered 403", "TAVILY_API_KEY"):
        assert words in caught.value.message


async def test_a_redirect_does_not_carry_the_key_elsewhere(stub: SearchStub) -> None:
    async with StubServer(lambda _: Reply(b"{}")) as elsewhere:
        asked: list[Any] = []
        elsewhere.handler = lambda request: asked.append(request) or Reply(b"{}")  # type: ignore[func-returns-value]
        stub.script.append(Reply(b"", 302, headers={"location": f"{elsewhere.url}/search"}))
        with pytest.raises(SearchError, match="302"):
            await searched(stub, "tavily")
    assert asked == []
