"""/docs works without a network: every file it names is answered here, and its policy allows no other place."""

from __future__ import annotations

import asyncio
import re

import httpx


async def test_the_page_and_all_it_names_come_from_here(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 4
    assert "//" not in page.text
    types = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
    for name in named:
        file = await client.get(f"/{name}")
        assert file.status_code == 200, name
        assert file.headers["content-type"].partition(";")[0] == types[name.rpartition(".")[2]]
        assert file.headers["x-content-type-options"] == "nosniff"
        assert file.content
    assert "SwaggerUIBundle" in (await client.get("/docs/swagger-ui.js")).text
    assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")


async def test_its_policy_lets_scripts_come_from_nowhere_else(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/docs")).headers["content-security-policy"]
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == allowed["connect-src"] == "'self'"
    assert "http" not in policy
    assert "validatorUrl: null" in (await client.get("/docs/start.js")).text


async def test_nothing_else_lies_there(client: httpx.AsyncClient) -> None:
    for path in ("/docs/../app.py", "/docs/%2e%2e/main.py", "/docs/swagger-ui-bundle.js.map", "/redoc"):
        assert (await client.get(path)).status_code == 404


async def test_others_are_answered_while_the_document_is_made(client: httpx.AsyncClient) -> None:
    asked = asyncio.create_task(client.get("/openapi.json"))
    for _ in range(3):
        assert (await client.get("/healthz")).status_code == 200
    assert not asked.done()
    first = await asked
    assert first.headers["content-type"] == "application/json"
    assert first.json() == (await client.get("/openapi.json")).json()
