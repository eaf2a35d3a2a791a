"""Sending a document to an address that a stranger named: under the guard that holds for `data_url`, and bounded."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from storage import references
from storage.addresses import Guard, SystemResolver, guarded_connector
from storage.errors import AddressRefusedError, BadReferenceError
from storage.retrying import retry_after_s
from storage.settings import FetchSettings

# These keep the method and the body; after the others a document would be sent nowhere.
_REDIRECTS = frozenset({307, 308})
# What of a receiver's answer is read: only its status counts.
_READ = 4096


@dataclass(frozen=True, slots=True)
class Posted:
    """What a receiver answered. `status` is none where there was no answer, and `reason` says why."""

    status: int | None
    reason: str
    retry_after_s: float | None = None

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class GuardedPoster:
    """Of one event loop, and the settings of fetching: networks, schemes, redirects. Each redirect is held anew.

    `resolver` and `tls` replace the system's.
    """

    def __init__(
        self,
        limits: FetchSettings,
        *,
        timeout_s: float,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._timeout_s = timeout_s
        self._resolver = resolver or SystemResolver()
        self._tls = tls
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def address(self, url: str) -> URL:
        """The URL, where something may be sent there as far as can be told without asking for it.

        Raises `BadReferenceError` and `AddressRefusedError`.
        """
        found = references.parse(url)
        if not isinstance(found, references.WebAddress):
            raise BadReferenceError("a callback needs a web address", subject=url[:100])
        self._is_public(found.url)
        return found.url

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Send it once. Raises `BadReferenceError` and `AddressRefusedError`; all else is an answer."""
        target = self.address(url)
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(self._limits.max_redirects + 1):
                    found = await self._send(target, body, headers)
                    if isinstance(found, Posted):
                        return found
                    target = found
        except TimeoutError:
            return Posted(None, f"{target.host} did not answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Posted(None, f"{target.host} could not be reached: {type(error).__name__}")
        return Posted(None, f"{target.host} redirects more than {self._limits.max_redirects} times")

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        await self._resolver.close()

    async def _send(self, url: URL, body: bytes, headers: Mapping[str, str]) -> Posted | URL:
        session = self._session(public=self._is_public(url))
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            await answer.content.read(_READ)
            location = answer.headers.get("Location")
            if answer.status in _REDIRECTS and location:
                try:
                    return references.web_url(str(url.join(URL(location))))
                except ValueError:
                    return Posted(answer.status, f"{url.host} redirects to what is no URL")
            return Posted(answer.status, f"{url.host} answered {answer.status}", retry_after_s(answer.headers))

    def _is_public(self, url: URL) -> bool:
        """Whether public addresses may be sent to; else allowed networks alone may, for plain http."""
        if url.scheme in self._limits.schemes:
            return True
        if not self._limits.allowed_networks:
            allowed = " or ".join(self._limits.schemes)
            raise AddressRefusedError(
                f"{url.scheme} is refused for {url.host}: use {allowed}", subject=url.host, kind="scheme"
            )
        return False

    def _session(self, *, public: bool) -> aiohttp.ClientSession:
        if public not in self._sessions:
            guard = Guard(self._limits.allowed_networks, public=public)
            self._sessions[public] = aiohttp.ClientSession(
                connector=guarded_connector(guard, self._resolver, tls=self._tls),
                timeout=aiohttp.ClientTimeout(total=None),  # `post` bounds it all
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "Hyvve", "Content-Type": "application/json"},
            )
        return self._sessions[public]
