"""Blobs on Walrus, over the HTTP of a publisher and an aggregator.

Wire format: https://docs.wal.app/usage/web-api.html and the OpenAPI of both at `/v1/api`. `PUT /v1/blobs?epochs=`
answers `newlyCreated` or `alreadyCertified`; errors come as `{"error": {status, code, message, details[]}}`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import orjson
from yarl import URL

from storage.blobs import walrus_token
from storage.download import read_body
from storage.errors import (
    BlobError,
    BlobNotFoundError,
    BlobRejectedError,
    BlobTooLargeError,
    BlobUnavailableError,
)
from storage.retrying import RETRYABLE_STATUSES, retry_after_s, wait_s
from storage.settings import WalrusSettings

# Unpadded base64url of 32 bytes.
BLOB_ID = re.compile(r"[A-Za-z0-9_-]{43}")
# How long after our own store a 404 means "not there yet", and how many stores are remembered.
_FRESH_S = 120.0
_FRESH_KEPT = 10_000
# Others store too, and have their blob verified in the same second; so any 404 gets this many more attempts.
_MISSING_RETRIES = 2
_ANSWER_BYTES = 256 * 1024

T = TypeVar("T")


class WalrusBlobStore:
    """A blob that was stored is read back, although an aggregator may not know it for the first seconds.

    Ids are Walrus's own. 429, 502, 503, 504 and broken connections are retried with backoff, `settings.retries` times.
    So is a 404 shortly after this object stored the blob; any other 404 only twice, for somebody else may just have
    stored it. `settings.timeout_s` bounds each attempt. Belongs to the event loop of its first call.
    """

    name = "walrus"

    def __init__(self, settings: WalrusSettings, *, backoff_s: float = 0.25) -> None:
        self._settings = settings
        if settings.jwt_secret is not None:
            try:
                walrus_token.key(settings.jwt_secret.get_secret_value())
            except ValueError:
                raise BlobRejectedError("WALRUS_JWT_SECRET begins with 0x but is not hex") from None
        self._backoff_s = backoff_s
        self._session: aiohttp.ClientSession | None = None
        self._fresh: OrderedDict[str, float] = OrderedDict()

    async def put(self, data: bytes) -> str:
        publisher = self._settings.publisher_url
        if publisher is None:
            raise BlobRejectedError("no Walrus publisher is configured: set WALRUS_PUBLISHER_URL")
        if len(data) > self._settings.max_bytes:
            raise BlobTooLargeError(
                f"a blob of {len(data):,} bytes is larger than Walrus's limit of {self._settings.max_bytes:,} bytes",
                limit=self._settings.max_bytes,
            )
        blob_id = await self._retried(lambda: self._put_once(publisher, data))
        self._fresh[blob_id] = time.monotonic()
        while len(self._fresh) > _FRESH_KEPT:
            self._fresh.popitem(last=False)
        return blob_id

    async def get(self, blob_id: str) -> bytes:
        aggregator = self._settings.aggregator_url
        if aggregator is None:
            raise BlobRejectedError("no Walrus aggregator is configured: set WALRUS_AGGREGATOR_URL")
        if not BLOB_ID.fullmatch(blob_id):
            raise BlobNotFoundError(f"{blob_id[:80]!r} is no Walrus blob id", subject=blob_id[:80])
        return await self._retried(lambda: self._get_once(aggregator, blob_id))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _retried(self, call: Callable[[], Awaitable[T]]) -> T:
        attempt = 0
        while True:
            try:
                return await call()
            except _AgainError as again:
                retries = self._settings.retries
                if attempt >= (retries if again.retries is None else min(again.retries, retries)):
                    raise again.error from again.__cause__
                await asyncio.sleep(wait_s(attempt, base_s=self._backoff_s, retry_after_s=again.after_s))
            attempt += 1

    async def _put_once(self, publisher: str, data: bytes) -> str:
        settings = self._settings
        headers = {"Content-Type": "application/octet-stream"}
        if settings.jwt_secret is not None:
            # Each attempt has a token of its own: a token is spent by its first use, also by one that failed.
            headers["Authorization"] = "Bearer " + walrus_token.sign(
                settings.jwt_secret.get_secret_value(),
                size=len(data),
                epochs=settings.epochs,
                lifetime_s=settings.jwt_lifetime_s,
            )
        url = _under(publisher, "v1", "blobs").with_query(epochs=str(settings.epochs))
        try:
            async with self._open().put(url, data=data, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    raise _failed(response, await _words(response), f"the Walrus publisher {url.host}", None)
                answer = await read_body(response, max_bytes=_ANSWER_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _AgainError(_unreachable(f"the Walrus publisher {url.host}", error)) from error
        return _stored_id(answer)

    async def _get_once(self, aggregator: str, blob_id: str) -> bytes:
        url = _under(aggregator, "v1", "blobs", blob_id)
        try:
            async with self._open().get(url, allow_redirects=False) as response:
                if response.status == 200:
                    return await read_body(response, max_bytes=self._settings.max_bytes)
                retries = self._settings.retries if self._is_fresh(blob_id) else _MISSING_RETRIES
                answer = await _words(response)
                raise _failed(response, answer, f"the Walrus aggregator {url.host}", blob_id, missing_retries=retries)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _AgainError(_unreachable(f"the Walrus aggregator {url.host}", error, blob_id)) from error

    def _is_fresh(self, blob_id: str) -> bool:
        stored = self._fresh.get(blob_id)
        return stored is not None and time.monotonic() - stored < _FRESH_S

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept-Encoding": "identity", "User-Agent": "Hyvve"},
            )
        return self._session


class _AgainError(Exception):
    """Worth another attempt; `error` is what the caller sees if there is none left."""

    def __init__(self, error: BlobError, *, after_s: float | None = None, retries: int | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_s = after_s
        self.retries = retries  # fewer than the settings allow


def _under(base: str, *parts: str) -> URL:
    return URL(base.rstrip("/")).joinpath(*parts)


def _stored_id(answer: bytes) -> str:
    """The blob id of either answer. The blob object's own Sui id is a different thing."""
    try:
        body = orjson.loads(answer)
        if "newlyCreated" in body:
            blob_id = body["newlyCreated"]["blobObject"]["blobId"]
        else:
            blob_id = body["alreadyCertified"]["blobId"]
        if isinstance(blob_id, str) and BLOB_ID.fullmatch(blob_id):
            return blob_id
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise BlobRejectedError(
        f"the Walrus publisher answered 200 without a blob id: {answer[:200].decode(errors='replace')!r}"
    )


async def _words(response: aiohttp.ClientResponse) -> bytes:
    """The body of an error, for its message; one that is no message is left out."""
    try:
        return await read_body(response, max_bytes=_ANSWER_BYTES)
    except BlobError:
        return b""


def _failed(
    response: aiohttp.ClientResponse, answer: bytes, who: str, blob_id: str | None, *, missing_retries: int = 0
) -> Exception:
    status = response.status
    said = f"{who} answered {status}: {_sentence(answer)}"
    if status == 404 and blob_id is not None:
        missing = BlobNotFoundError(f"no blob with id {blob_id!r} on Walrus", subject=blob_id, status=status)
        return _AgainError(missing, retries=missing_retries)
    if status in RETRYABLE_STATUSES:
        return _AgainError(
            BlobUnavailableError(said, subject=blob_id, status=status), after_s=retry_after_s(response.headers)
        )
    if status == 413:
        return BlobTooLargeError(said, subject=blob_id, status=status)
    if status >= 500:
        return BlobUnavailableError(said, subject=blob_id, status=status)
    return BlobRejectedError(said, subject=blob_id, status=status)


def _sentence(answer: bytes) -> str:
    """The message of the error envelope, with its reasons; else the beginning of whatever came."""
    try:
        error = orjson.loads(answer)["error"]
        reasons = [detail["reason"] for detail in error.get("details", ()) if isinstance(detail.get("reason"), str)]
        return " ".join([str(error["message"])[:300], *(f"({reason[:80]})" for reason in reasons[:3])])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return answer[:200].decode(errors="replace").strip() or "no reason given"


def _unreachable(who: str, error: Exception, blob_id: str | None = None) -> BlobUnavailableError:
    reason = "it took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return BlobUnavailableError(f"{who} could not be reached: {reason}", subject=blob_id)
