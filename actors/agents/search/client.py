"""One HTTP exchange with a search service: bounded, tried again where that helps, its errors ours.

The service is the operator's choice, so its address is trusted (loopback included); what it answers is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from actors.errors import SearchError
from storage.download import ACCEPT_ENCODING, read_body
from storage.errors import BlobError
from storage.retrying import RETRYABLE_STATUSES, retry_after_s, wait_s

_MAX_BYTES = 4 * 1024 * 1024
_RETRIES = 1
_LONGEST_WAIT_S = 5.0
# As https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy asks: who this is.
_USER_AGENT = "Hyvve/0.1 (agents' web search)"


class SearchClient:
    """Belongs to the event loop of its first call. Follows no redirect: a key goes only where it was meant to."""

    def __init__(self, name: str, *, timeout_s: float, backoff_s: float = 0.3) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self._session: aiohttp.ClientSession | None = None

    async def text(self, method: str, url: str, **arguments: Any) -> str:
        """The body of a 200 as text. Raises `SearchError`; `details["status"]` is what the service answered."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await self._tried(method, url, arguments)).decode("utf-8", "replace")
        except TimeoutError:
            raise SearchError(
                f"{self._name} did not answer within {self._timeout_s:g} s",
                subject=self._name,
                timeout_s=self._timeout_s,
            ) from None

    async def json(self, method: str, url: str, **arguments: Any) -> dict[str, Any]:
        """The JSON object of a 200. Raises `SearchError`."""
        said = await self.text(method, url, **arguments)
        try:
            body = orjson.loads(said)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            raise SearchError(f"{self._name} answered with no JSON object: {said[:100]!r}", subject=self._name)
        return body

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _tried(self, method: str, url: str, arguments: Mapping[str, Any]) -> bytes:
        for attempt in range(_RETRIES):
            try:
                return await self._once(method, url, arguments)
            except _AgainError as again:
                wait = wait_s(attempt, base_s=self._backoff_s, retry_after_s=again.after_s)
                if wait > _LONGEST_WAIT_S:
                    raise again.error from again.__cause__
                await asyncio.sleep(wait)
        try:
            return await self._once(method, url, arguments)
        except _AgainError as again:
            raise again.error from again.__cause__

    async def _once(self, method: str, url: str, arguments: Mapping[str, Any]) -> bytes:
        try:
            async with self._open().request(method, url, allow_redirects=False, **arguments) as response:
                body = await read_body(response, max_bytes=_MAX_BYTES)
                if response.status == 200:
                    return body
                error = SearchError(
                    f"{self._name} answered {response.status}: {_sentence(body)}",
                    subject=self._name,
                    status=response.status,
                )
                if response.status in RETRYABLE_STATUSES:
                    raise _AgainError(error, after_s=retry_after_s(response.headers))
                raise error
        except BlobError as error:
            raise SearchError(
                f"{self._name} sent an answer that cannot be read: {error}", subject=self._name
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise _AgainError(
                SearchError(f"{self._name} could not be reached: {reason}"[:300], subject=self._name)
            ) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept-Encoding": ACCEPT_ENCODING, "User-Agent": _USER_AGENT},
            )
        return self._session


class _AgainError(Exception):
    """Worth another attempt; `error` is what the caller sees if there is none left."""

    def __init__(self, error: SearchError, *, after_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_s = after_s


def _sentence(body: bytes) -> str:
    """What an error body says: each service has a form of its own."""
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = body[:200].decode("utf-8", "replace").strip()
        return "a web page" if said.startswith("<") else said or "no reason given"
    while isinstance(found, dict):
        found = next((found[key] for key in ("detail", "error", "message", "info") if found.get(key)), str(found))
    return str(found)[:300]
