"""A small HTTP/1.1 server for stubs: keep-alive, raw asyncio protocol, so that a benchmark measures the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, cast

import orjson


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """`chunks` are sent as chunks of one body (server-sent events), `pause_s` apart; `cut` closes the connection after
    that many body bytes.
    """

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: int | None = None
    chunks: tuple[bytes, ...] = ()
    pause_s: float = 0.0

    def encode(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> list[bytes]:
        """The head with the first chunk, each further chunk, the end of the body: what is written at a time."""
        if not self.chunks:
            return [self._encode_whole()]
        headers = {"content-type": "application/json", **self.headers, "transfer-encoding": "chunked"}
        first, *rest = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in self.chunks]
        return [self._head(headers) + first, *rest, b"0\r\n\r\n"]

    def _encode_whole(self) -> bytes:
        headers = {"content-type": "application/json", **self.headers, "content-length": str(len(self.body))}
        return self._head(headers) + self.body

    def _head(self, headers: dict[str, str]) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Stub\r\n{lines}\r\n".encode()


Handler = Callable[[Request], Reply]


class StubServer:
    """Answers every request by `handler`, on a free loopback port; `in_flight` and `peak` count open requests."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.in_flight = 0
        self.peak = 0
        self.port = 0  # known once started, and after the end, so that a test can ask a server that is gone
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for transport in tuple(self._connections):
            transport.abort()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Connection(asyncio.Protocol):
    """One client connection. Requests are answered in order; clients here do not pipeline."""

    def __init__(self, server: StubServer) -> None:
        self._server = server
        self._buffer = b""
        self._need = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server._connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        if self._transport is not None:
            self._server._connections.discard(self._transport)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if len(self._buffer) < self._need:
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        length = _content_length(head)
        self._need = end + 4 + length
        if len(self._buffer) < self._need:
            return
        body = self._buffer[end + 4 : self._need]
        self._buffer = self._buffer[self._need :]
        self._need = 0
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        server = self._server
        server.in_flight += 1
        server.peak = max(server.peak, server.in_flight)
        reply = server.handler(_request(head, body))
        if reply.delay_s > 0:
            asyncio.get_running_loop().call_later(reply.delay_s, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self._server.in_flight -= 1
        transport = self._transport
        if transport is None:
            return
        if reply.cut is None and reply.pause_s > 0:
            self._trickle(reply.pieces(), reply.pause_s)
        elif reply.cut is None:
            transport.write(_encoded(reply))
        else:
            encoded = reply.encode()
            transport.write(encoded[: encoded.index(b"\r\n\r\n") + 4 + reply.cut])
            transport.close()

    def _trickle(self, pieces: list[bytes], pause_s: float) -> None:
        if self._transport is None or not pieces:
            return
        self._transport.write(pieces[0])
        asyncio.get_running_loop().call_later(pause_s, self._trickle, pieces[1:], pause_s)


_last_encoded: tuple[Reply | None, bytes] = (None, b"")


def _encoded(reply: Reply) -> bytes:
    # A benchmark answers with one and the same object: encode it once.
    global _last_encoded  # noqa: PLW0603 - one entry; a class for it would cost more than it saves
    if _last_encoded[0] is not reply:
        _last_encoded = (reply, reply.encode())
    return _last_encoded[1]


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        assert b"transfer-encoding" not in lower, "the stub does not read chunked requests"
        return 0
    end = lower.find(b"\r", at)
    return int(lower[at + 15 : end if end >= 0 else len(lower)])


def _request(head: bytes, body: bytes) -> Request:
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Request(method, path, headers, body)
