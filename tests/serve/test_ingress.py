"""Which requests go past Ray Serve's handling, and what the others carry into it."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve import ingress


def named(name: str) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        unwatched = dict(scope["headers"]).get(b"x-request-disconnect-disabled", b"").decode()
        await PlainTextResponse(f"{name}{unwatched}")(scope, receive, send)

    return app


@pytest.mark.parametrize(
    ("method", "path", "reached"),
    [
        ("GET", "/campaigns/campaign_1", "app"),
        ("GET", "/campaigns/all", "serve?1"),
        ("GET", "/campaigns/active", "serve?1"),
        ("GET", "/campaigns/", "serve?1"),
        ("GET", "/campaigns/get-contributions/campaign_1", "serve?1"),
        ("GET", "/elsewhere/campaigns/campaign_1", "serve?1"),
        ("POST", "/campaigns/create-campaigns", "serve"),
    ],
)
async def test_the_poll_alone_goes_past_serve(method: str, path: str, reached: str) -> None:
    ingress.built(named("app"))
    (middleware,) = ingress.middlewares()
    app = middleware.cls(named("serve"), *middleware.args, **middleware.kwargs)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://replica.test") as client:
        assert (await client.request(method, path)).text == reached
