"""Fetching what a contribution's `data_url` names, for strangers wrote it.

What the operator configured (the blob store, the Walrus aggregator, the IPFS gateway) is trusted to be where it is,
loopback included. Everything else goes through `storage.addresses.Guard`, at every redirect anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from storage import cids, references
from storage.addresses import Guard, SystemResolver, guarded_connector
from storage.blobs.base import BlobStore
from storage.blobs.local import LocalBlobStore
from storage.blobs.open import open_local
from storage.blobs.walrus import WalrusBlobStore
from storage.download import ACCEPT_ENCODING, read_body, too_large
from storage.errors import (
    AddressRefusedError,
    BadReferenceError,
    BlobError,
    BlobNotFoundError,
    BlobRejectedError,
    BlobUnavailableError,
)
from storage.references import IpfsFile, LocalBlob, Reference, WalrusBlob, WebAddress
from storage.retrying import RETRYABLE_STATUSES, retry_after_s, wait_s
from storage.settings import StorageSettings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What an aggregator serves of blobs; ids and names hold no slash, and yarl has resolved what climbs.
_WALRUS_PATH = re.compile(
    r"/v1/blobs/(?:(?P<blob>[A-Za-z0-9_-]{43})|by-object-id/0x[0-9a-fA-F]{1,64}|by-quilt-patch-id/[A-Za-z0-9_-]+"
    r"|by-quilt-id/[A-Za-z0-9_-]{43}/(?:(?!%2[fF]|%5[cC])[^/])+)"
)
_WALRUS_URL = re.compile(_WALRUS_PATH.pattern + "$")
_FILE_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]{1,200}\.[A-Za-z0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes, and what their source says of them: its Content-Type, and a name with an extension."""

    data: bytes
    media_type: str | None
    file_name: str | None


def named(data_url: str, blob_id: str | None = None) -> Reference:
    """What a contribution's content is fetched by. Raises `BadReferenceError` or `AddressRefusedError`."""
    try:
        return references.parse(data_url)
    except BadReferenceError:
        if not blob_id:
            raise
        reference = references.parse(blob_id)
        if isinstance(reference, WebAddress):
            raise
        return reference


class _Trust(Enum):
    OPERATOR = "the operator configured it"
    PUBLIC = "public addresses and allowed networks"
    ALLOWED = "allowed networks only: for plain http"


class ContentFetcher:
    """Answers the content of a reference within the limits of `settings.fetch`, or an error that names the limit.

    `timeout_s` bounds one fetch with all its redirects and retries. A contribution is judged by what its `data_url`
    names, for that is what its buyer gets; `blob_id` counts only where `data_url` names nothing. Belongs to the event
    loop of its first fetch. `resolver` and `tls` replace the system's.
    """

    def __init__(
        self,
        settings: StorageSettings,
        store: BlobStore,
        *,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
        backoff_s: float = 0.2,
    ) -> None:
        self._settings = settings
        self._limits = settings.fetch
        self._resolver = resolver or SystemResolver()
        self._tls = tls
        self._backoff_s = backoff_s
        self._store = store
        self._local = store if isinstance(store, LocalBlobStore) else open_local(settings)
        self._owned_walrus: WalrusBlobStore | None = None
        if isinstance(store, WalrusBlobStore):
            self._walrus = store
        else:
            self._walrus = self._owned_walrus = WalrusBlobStore(settings.walrus)
        self._aggregator = _base(settings.walrus.aggregator_url)
        self._gateway = _base(settings.fetch.ipfs_gateway)
        self._sessions: dict[_Trust, aiohttp.ClientSession] = {}

    async def fetch(self, data_url: str, *, blob_id: str | None = None) -> Fetched:
        """Raises `BadReferenceError`, `AddressRefusedError`, `BlobNotFoundError`, `BlobTooLargeError`,
        `BlobRejectedError` or, after retries, `BlobUnavailableError`.
        """
        reference = named(data_url, blob_id)
        limit = self._limits.timeout_s
        try:
            async with asyncio.timeout(limit):
                return await self._fetch(reference)
        except TimeoutError:
            raise BlobUnavailableError(
                f"fetching took longer than the limit of {limit:g} s", subject=_subject(reference), timeout_s=limit
            ) from None

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        await self._resolver.close()
        if self._owned_walrus is not None:
            await self._owned_walrus.close()

    async def _fetch(self, reference: Reference) -> Fetched:
        match reference:
            case LocalBlob(blob_id):
                return self._stored(await self._blob(blob_id, self._local), "the local store")
            case WalrusBlob(blob_id):
                return self._stored(await self._blob(blob_id, self._walrus), "Walrus")
            case IpfsFile():
                return await self._ipfs(reference)
            case WebAddress(url):
                return await self._web(url)

    async def _blob(self, blob_id: str, keeper: BlobStore) -> bytes:
        """From the store whose ids look like this one; before that from the configured store, where it is a third."""
        if not isinstance(self._store, LocalBlobStore | WalrusBlobStore):
            with suppress(BlobNotFoundError):
                return await self._store.get(blob_id)
        return await keeper.get(blob_id)

    def _stored(self, data: bytes, where: str) -> Fetched:
        # A store's own limit may be larger.
        if len(data) > self._limits.max_bytes:
            raise too_large(where, self._limits.max_bytes)
        return Fetched(data, None, None)

    async def _ipfs(self, file: IpfsFile) -> Fetched:
        if self._gateway is None:
            raise BlobRejectedError("IPFS contents need a gateway: set IPFS_GATEWAY", subject=file.cid.text)
        base = self._gateway if self._gateway.path.rstrip("/").endswith("/ipfs") else self._gateway / "ipfs"
        url = base.joinpath(file.cid.text, *(part for part in file.path.split("/") if part))
        fetched = await self._retried(url, trusted=True)
        cid = file.cid
        # A raw block's hash is that of its bytes: the one case in which a gateway can be checked at once.
        checkable = cid.codec == cids.RAW and cid.sha256 is not None and not file.path
        if checkable and hashlib.sha256(fetched.data).digest() != cid.sha256:
            raise BlobRejectedError(f"the IPFS gateway sent other bytes than {cid.text} names", subject=cid.text)
        return fetched

    async def _web(self, url: URL) -> Fetched:
        inside = _inside(url, self._aggregator)
        if inside is not None and (found := _WALRUS_PATH.fullmatch(inside)):
            if found["blob"]:
                return self._stored(await self._walrus.get(found["blob"]), "Walrus")
            return await self._retried(url.with_query(None), trusted=True)
        inside = _inside(url, self._gateway)
        if inside is not None:
            cid, _, path = inside.removeprefix("/ipfs").lstrip("/").partition("/")
            return await self._ipfs(references.ipfs_file(cid, path))
        return await self._retried(url, trusted=False)

    async def _retried(self, url: URL, *, trusted: bool) -> Fetched:
        for attempt in range(self._limits.retries):
            try:
                return await self._follow(url, trusted=trusted)
            except _AgainError as again:
                await asyncio.sleep(wait_s(attempt, base_s=self._backoff_s, retry_after_s=again.after_s))
        try:
            return await self._follow(url, trusted=trusted)
        except _AgainError as again:
            raise again.error from again.__cause__

    async def _follow(self, url: URL, *, trusted: bool) -> Fetched:
        start = url
        for _ in range(self._limits.max_redirects + 1):
            at_operator = trusted and _same_or_below(url, start)
            found = await self._get(url, _Trust.OPERATOR if at_operator else self._trust(url))
            if isinstance(found, Fetched):
                return found
            url = found
        limit = self._limits.max_redirects
        raise BlobRejectedError(
            f"{start.host} redirects more than the limit of {limit} times", subject=start.host, max_redirects=limit
        )

    def _trust(self, url: URL) -> _Trust:
        if url.scheme in self._limits.schemes:
            return _Trust.PUBLIC
        if not self._limits.allowed_networks:
            allowed = " or ".join(self._limits.schemes)
            raise AddressRefusedError(
                f"{url.scheme} is refused for {url.host}: use {allowed}", subject=url.host, kind="scheme"
            )
        return _Trust.ALLOWED

    async def _get(self, url: URL, trust: _Trust) -> Fetched | URL:
        """The content, or where it has gone."""
        try:
            async with self._session(trust).get(url, allow_redirects=False) as response:
                if response.status in _REDIRECTS and (location := response.headers.get("Location")):
                    return _next(url, location)
                if response.status != 200:
                    raise _refused_by(response)
                data = await read_body(response, max_bytes=self._limits.max_bytes)
                return Fetched(data, _media_type(response), _file_name(response))
        except aiohttp.InvalidURL as error:
            raise BadReferenceError(f"{url.host} is no usable host", subject=url.host) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(url, error) from error

    def _session(self, trust: _Trust) -> aiohttp.ClientSession:
        session = self._sessions.get(trust)
        if session is None:
            session = self._sessions[trust] = aiohttp.ClientSession(
                connector=self._connector(trust),
                # The whole fetch has its own limit; a dead server must leave time for another attempt.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._limits.timeout_s / 2),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept-Encoding": ACCEPT_ENCODING, "User-Agent": "Hyvve"},
            )
        return session

    def _connector(self, trust: _Trust) -> aiohttp.TCPConnector:
        if trust is _Trust.OPERATOR:
            return aiohttp.TCPConnector(resolver=self._resolver, ssl=self._tls or True)
        guard = Guard(self._limits.allowed_networks, public=trust is _Trust.PUBLIC)
        return guarded_connector(guard, self._resolver, tls=self._tls)


class _AgainError(Exception):
    """Worth another attempt; `error` is what the caller sees if there is none left."""

    def __init__(self, error: BlobError, *, after_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_s = after_s


def _subject(reference: Reference) -> str | None:
    """Names it without its query, which may hold a signature."""
    match reference:
        case LocalBlob(blob_id) | WalrusBlob(blob_id):
            return blob_id
        case IpfsFile(cid):
            return cid.text
        case WebAddress(url):
            return url.host


def _base(url: str | None) -> URL | None:
    return None if url is None else URL(url.rstrip("/"))


def _inside(url: URL, base: URL | None) -> str | None:
    """The raw path of `url` below `base`, beginning with a slash; `None` where it lies elsewhere."""
    if base is None or url.origin() != base.origin():
        return None
    prefix = base.raw_path.rstrip("/")
    path = url.raw_path
    return path[len(prefix) :] if path.startswith(prefix + "/") else None


def _same_or_below(url: URL, start: URL) -> bool:
    """Whether `url` is on the host of `start`, or on a subdomain of it, where gateways send browsers."""
    if (url.scheme, url.port) != (start.scheme, start.port) or url.raw_host is None or start.raw_host is None:
        return False
    return url.raw_host == start.raw_host or url.raw_host.endswith("." + start.raw_host)


def _next(url: URL, location: str) -> URL:
    try:
        target = str(url.join(URL(location)))
    except ValueError:
        raise BlobRejectedError(f"{url.host} redirects to what is no URL", subject=url.host) from None
    return references.web_url(target)


def _refused_by(response: aiohttp.ClientResponse) -> Exception:
    status, host = response.status, response.url.host
    if status in {404, 410}:
        missing = BlobNotFoundError(f"{host} has no such content (it answered {status})", subject=host, status=status)
        # An aggregator may not know a blob yet that its owner has just stored.
        return _AgainError(missing) if status == 404 and _WALRUS_URL.search(response.url.raw_path) else missing
    said = f"{host} answered {status}"
    if status in RETRYABLE_STATUSES:
        return _AgainError(
            BlobUnavailableError(said, subject=host, status=status), after_s=retry_after_s(response.headers)
        )
    if status >= 500:
        return BlobUnavailableError(said, subject=host, status=status)
    return BlobRejectedError(said, subject=host, status=status)


def _broken(url: URL, error: Exception) -> Exception:
    host = url.host
    if isinstance(error, aiohttp.ClientConnectorDNSError) and _is_unknown_name(error.os_error):
        return BlobRejectedError(f"there is no host {host}", subject=host)
    if isinstance(error, aiohttp.ClientSSLError):
        return BlobRejectedError(f"the TLS certificate of {host} cannot be trusted", subject=host)
    if isinstance(error, TimeoutError):
        reason = "no connection in time"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        reason = "its name cannot be resolved at the moment"
    elif isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or "no connection"
    else:
        reason = "the connection broke off"
    return _AgainError(BlobUnavailableError(f"{host} could not be reached: {reason}", subject=host))


def _is_unknown_name(error: OSError) -> bool:
    return isinstance(error, socket.gaierror) and error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5)}


def _media_type(response: aiohttp.ClientResponse) -> str | None:
    """As declared, parameters too; `None` for the type that says nothing."""
    declared = response.headers.get("Content-Type", "").strip()
    plain = declared.partition(";")[0].strip().lower()
    return None if plain in {"", "application/octet-stream", "binary/octet-stream"} else declared[:200]


def _file_name(response: aiohttp.ClientResponse) -> str | None:
    disposition = response.content_disposition
    for name in (disposition.filename if disposition else None, unquote(response.url.raw_name)):
        if name and _FILE_NAME.fullmatch(name):
            return name
    return None
