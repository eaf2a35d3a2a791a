"""Reading an HTTP body without trusting it: not its length, not its coding, not its end."""

from __future__ import annotations

import zlib

import aiohttp

from storage.errors import BlobRejectedError, BlobTooLargeError

# What we say we take; the session's own decompression is off, for it has no bound.
ACCEPT_ENCODING = "gzip"
# Output of one inflate step: a bomb is noticed this far past the limit at most.
_STEP = 256 * 1024
_PLAIN = frozenset({"", "identity"})
_ZIPPED = frozenset({"gzip", "x-gzip", "deflate"})


async def read_body(response: aiohttp.ClientResponse, *, max_bytes: int) -> bytes:
    """The whole body, decompressed; at most `max_bytes` of it, both as sent and as decompressed.

    Raises `BlobTooLargeError` as soon as either passes the limit, whatever the headers say; `BlobRejectedError` for a
    coding we did not ask for or that is damaged; aiohttp's errors where the connection breaks off early.
    """
    host = response.url.host
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in _PLAIN | _ZIPPED:
        raise BlobRejectedError(f"{host} sent the content encoded as {coding[:40]!r}, which was not asked for")
    if (response.content_length or 0) > max_bytes:
        raise too_large(host, max_bytes)
    inflater = None if coding in _PLAIN else _Inflater()
    received = 0
    parts: list[bytes] = []
    kept = 0
    async for chunk in response.content.iter_any():
        received += len(chunk)
        if received > max_bytes:
            raise too_large(host, max_bytes)
        if inflater is None:
            parts.append(chunk)
            continue
        try:
            out = inflater.feed(chunk, max_bytes + 1 - kept)
        except zlib.error as error:
            raise BlobRejectedError(f"{host} sent damaged {coding} data: {error}") from error
        kept += len(out)
        if kept > max_bytes:
            raise too_large(host, max_bytes)
        parts.append(out)
    if inflater is not None and not inflater.finished:
        raise aiohttp.ClientPayloadError(f"{coding} data ends early")
    return b"".join(parts)


def too_large(host: str | None, max_bytes: int) -> BlobTooLargeError:
    return BlobTooLargeError(
        f"the content at {host} is larger than the limit of {max_bytes:,} bytes", subject=host, max_bytes=max_bytes
    )


class _Inflater:
    """Gzip (several members, too) and zlib data, a bounded amount of output at a time."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=47)  # either header
        self._started = False

    @property
    def finished(self) -> bool:
        return self._inflate.eof or not self._started

    def feed(self, data: bytes, room: int) -> bytes:
        """What `data` decompresses to; stops at `room` bytes, where the caller refuses the content."""
        out = bytearray()
        while data and len(out) < room:
            self._started = True
            out += self._inflate.decompress(data, min(_STEP, room - len(out)))
            data = self._inflate.unconsumed_tail
            if self._inflate.eof:
                data = self._inflate.unused_data
                if data:
                    self._inflate = zlib.decompressobj(wbits=47)
        return bytes(out)
