"""The console over real services: in-process for its pages, under uvicorn for browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser

from tests.serve.console import browser as browsers
from tests.serve.console import site as sites
from tests.serve.console.site import Site

# What a browser sends with the forms of a page.
SAME_ORIGIN = {"Origin": "http://hyvve.test"}


@pytest.fixture
async def site(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with sites.opened(database_url, redis_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if browsers.chromium() is None:
        pytest.skip(browsers.MISSING)
    async with browsers.opened() as opened:
        yield opened


@pytest.fixture
async def ines(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The client, at whose browser Ines has signed in for no wallet."""
    return await signed_in(client)


async def signed_in(client: httpx.AsyncClient, name: str = "Ines", **fields: str) -> httpx.AsyncClient:
    answer = await client.post("/console/sign-in", data={"name": name, **fields}, headers=SAME_ORIGIN)
    assert answer.status_code == 303, answer.text
    return client
