"""`GET /campaigns/{onchain_campaign_id}` without FastAPI's per-request machinery, which costs more than the answer.

The route is FastAPI's own: documented and matched as any other, and its caller admitted by the same gate. Only the
way from a match to the bytes is short.
"""

from __future__ import annotations

from time import time
from typing import Annotated, Any

from fastapi import Path
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from serve.deps import Services
from serve.poll_path import PREFIX, is_poll
from serve.schemas.fields import CampaignKey

CampaignPath = Annotated[CampaignKey, Path(description="the campaign's id on its chain")]

_KEY: TypeAdapter[str] = TypeAdapter(CampaignKey)


class PollRoute(APIRoute):
    """The campaign poll. HEAD is answered too; `If-None-Match` is honoured by 304."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        path: str = scope["path"]
        if root := scope.get("root_path", ""):
            path = path.removeprefix(root)
        if not is_poll(path):
            return Match.NONE, {}
        key = path[len(PREFIX) :]
        child = {"endpoint": self.endpoint, "path_params": {"onchain_campaign_id": key}, "route": self}
        # A POST to a name below /campaigns is another route's, or a 405.
        return (Match.FULL if scope["method"] in {"GET", "HEAD"} else Match.PARTIAL), child

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        method = scope["method"]
        if method not in {"GET", "HEAD"}:
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        services: Services = scope["app"].state.services
        services.gate.admit(scope["headers"])
        key: str = scope["path_params"]["onchain_campaign_id"]
        if not services.poll.holds(key):
            _validate(key)
        entry = await services.poll.get(key)
        rendered = entry.at(time())
        for name, value in scope["headers"]:
            if name == b"if-none-match" and _matches(value, rendered.etag):
                await send({"type": "http.response.start", "status": 304, "headers": list(rendered.unchanged)})
                await send({"type": "http.response.body"})
                return
        await send({"type": "http.response.start", "status": 200, "headers": list(rendered.headers)})
        await send({"type": "http.response.body", "body": rendered.body if method == "GET" else b""})


def _matches(value: bytes, etag: bytes) -> bool:
    if value.strip() == b"*":
        return True
    return any(tag.strip().removeprefix(b"W/") == etag for tag in value.split(b","))


def _validate(key: str) -> None:
    try:
        _KEY.validate_python(key)
    except ValidationError as error:
        errors: list[Any] = [
            {**entry, "loc": ("path", "onchain_campaign_id", *entry["loc"])} for entry in error.errors()
        ]
        raise RequestValidationError(errors) from error
