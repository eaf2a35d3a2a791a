"""The API under a real uvicorn in the test's own loop, and a client of its event streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import uvicorn
from fastapi import FastAPI


@dataclass(frozen=True)
class Sent:
    """One event as a browser's EventSource would hand it over."""

    id: str | None
    type: str
    data: dict[str, Any]


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """The address of the app; what is still open at the end is cut."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=0))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await running


class Stream:
    """An open event stream: its events one by one, and the lines between them."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self.retry: str | None = None
        self._lines = response.aiter_lines()

    async def next(self, timeout_s: float = 30.0) -> Sent | None:
        """The next event; `None` where the stream has ended."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(timeout_s):
            async for line in self._lines:
                if line == "":
                    if "data" in fields:
                        return Sent(fields.get("id"), fields["event"], orjson.loads(fields["data"]))
                    fields = {}
                elif line.startswith(":"):
                    self.comments += 1
                else:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    if name == "retry":
                        self.retry = value
        return None

    async def until(self, *types: str, timeout_s: float = 45.0) -> list[Sent]:
        """Events up to the first of these types, or to the stream's end."""
        found: list[Sent] = []
        while (sent := await self.next(timeout_s)) is not None:
            found.append(sent)
            if sent.type in types:
                break
        return found


@asynccontextmanager
async def stream(url: str, path: str, **headers: str) -> AsyncIterator[Stream]:
    async with (
        httpx.AsyncClient(base_url=url, timeout=60, headers={"Accept": "text/event-stream"}) as client,
        client.stream(
            "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        ) as response,
    ):
        yield Stream(response)
