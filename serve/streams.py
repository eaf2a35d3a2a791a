"""Server-Sent Events (WHATWG HTML, 9.2): a response that ends with its client and never falls silent.

A stream costs its replica a task and what the events' source holds; both are freed as soon as the client is gone,
whether it says so or its connection breaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serve.wire import encode

MEDIA_TYPE = "text/event-stream"
_HEARTBEAT = b": still here\n\n"


def event(type_: str, data: Any, *, number: int | None) -> bytes:
    """One event. Without a `number`, the client's last event id stays what it was."""
    head = "" if number is None else f"id: {number}\n"
    # A line break would end the field; JSON has none.
    name = type_.replace("\r", " ").replace("\n", " ")
    return f"{head}event: {name}\ndata: ".encode() + encode(data) + b"\n\n"


class EventStream(Response):
    """Sends what `chunks` gives, and a comment whenever that gives nothing for `heartbeat_s` seconds."""

    media_type = MEDIA_TYPE

    def __init__(self, chunks: AsyncGenerator[bytes, None], *, heartbeat_s: float, reconnect_s: float) -> None:
        super().__init__(
            # Proxies may hold back neither, nor keep a copy.
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        del self.headers["content-length"]
        self._chunks = chunks
        self._heartbeat_s = heartbeat_s
        self._reconnect = f"retry: {reconnect_s * 1000:.0f}\n\n".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                with suppress(OSError):  # how some servers say that the client is gone
                    sending.result()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._chunks.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # At once, so that the client knows that it is connected.
        await send({"type": "http.response.body", "body": self._reconnect, "more_body": True})
        async with aclosing(never_silent(self._chunks, self._heartbeat_s)) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def never_silent(chunks: AsyncIterator[bytes], heartbeat_s: float) -> AsyncGenerator[bytes, None]:
    """`chunks`, with a comment after each `heartbeat_s` seconds without one."""
    coming: asyncio.Task[bytes] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(_next(chunks))
            while not (await asyncio.wait({coming}, timeout=heartbeat_s))[0]:
                yield _HEARTBEAT
            try:
                chunk = coming.result()
            except _OverError:
                return
            yield chunk
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


class _OverError(Exception):
    """A task cannot end with StopAsyncIteration's cousin."""


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    try:
        return await anext(chunks)
    except StopAsyncIteration:
        raise _OverError from None


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
