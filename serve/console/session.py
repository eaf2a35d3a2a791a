"""Who is at the console: a name, and the principal of the API that this person acts as.

A sign-in is a cookie that says so under a signature (HMAC-SHA-256). The signing key follows from the settings, so every
replica knows it, nothing is kept, and a change of the API keys signs everybody out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Annotated

import orjson
from fastapi import Depends, Request
from starlette.responses import Response

from serve.auth import Principal
from serve.errors import SignInNeededError
from serve.settings import ServeSettings
from storage.settings import StorageSettings

COOKIE = "hyvve_console"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person at the console; `name` is what their decisions are recorded under."""

    name: str
    principal: Principal

    @property
    def wallet(self) -> str | None:
        return self.principal.wallet

    @property
    def sees_all(self) -> bool:
        """Whether every wallet's things are shown, and not only the system's or one wallet's."""
        return self.principal.kind == "api_key" and self.wallet is None

    @property
    def runs_the_system(self) -> bool:
        """Whether this person may steer what is nobody's alone, such as schedules: where there are keys, with one that
        speaks for no wallet. An installation without keys is everybody's who reaches it.
        """
        return self.sees_all or self.principal.kind == "anonymous"


class Sessions:
    """Signs visitors in and knows them again."""

    def __init__(self, serve: ServeSettings, storage: StorageSettings) -> None:
        self.lasts_s = serve.console_session_s
        self._keyed = bool(serve.api_keys)
        told = ["hyvve console 2", *(key.get_secret_value() for key in serve.api_keys), storage.database_url]
        self._secret = hashlib.sha256(orjson.dumps(told)).digest()

    def begin(self, request: Request, response: Response, visitor: Visitor) -> None:
        """Have the browser remember this visitor until the session ends."""
        body = orjson.dumps({
            "name": visitor.name, "wallet": visitor.wallet, "key_id": visitor.principal.key_id,
            "until": int(time.time()) + self.lasts_s,
        })  # fmt: skip
        value = f"{_encoded(body)}.{_encoded(self._signature(body))}"
        response.set_cookie(
            COOKIE, value, max_age=self.lasts_s, path=_path(request), httponly=True, samesite="strict",
            secure=_is_secure(request),
        )  # fmt: skip

    def end(self, request: Request, response: Response) -> None:
        response.delete_cookie(
            COOKIE, path=_path(request), httponly=True, samesite="strict", secure=_is_secure(request)
        )

    def visitor(self, request: Request) -> Visitor | None:
        """Who is there, if anybody has signed in and the session has not ended."""
        head, _, tail = request.cookies.get(COOKIE, "").partition(".")
        try:
            body, signature = _decoded(head), _decoded(tail)
        except (binascii.Error, ValueError):
            return None
        if not hmac.compare_digest(signature, self._signature(body)):
            return None
        told = orjson.loads(body)  # ours, by its signature
        if told["until"] < time.time() or self._keyed != (told["key_id"] is not None):
            return None
        return Visitor(
            told["name"], Principal("api_key" if self._keyed else "anonymous", told["key_id"], told["wallet"])
        )

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, "sha256")


async def visitor(request: Request) -> Visitor:  # async, for a thread would cost more than it
    """FastAPI dependency: who is there. Raises `SignInNeededError`."""
    sessions: Sessions = request.app.state.sessions
    found = sessions.visitor(request)
    if found is None:
        raise SignInNeededError("sign in first")
    return found


Visiting = Annotated[Visitor, Depends(visitor)]


def _path(request: Request) -> str:
    return str(request.scope.get("root_path", "")) or "/"


def _is_secure(request: Request) -> bool:
    # TLS ends before us; who claims it falsely only keeps their own cookie from being sent.
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
