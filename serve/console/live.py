"""Pages that move by themselves: a stream that says when what a page shows has changed, and the page asks again.

What a page looks like is known in one place, its template; a stream carries no content but the run's own tokens.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import orjson
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from serve import streams
from serve.deps import Services

logger = logging.getLogger(__name__)

# How often a page's state is looked at, however many have the same page open.
_EVERY_S = 1.0
_KEPT = 256

Look = Callable[[], Awaitable[Any]]
"""Answers what a page shows, as JSON: equal answers, equal pages."""


class Looks:
    """What was seen last, by page, so that a hundred open pages cost one look a second. Of one event loop."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, asyncio.Task[bytes]]] = {}

    async def digest(self, key: str, look: Look) -> bytes:
        """Of what `look` answers, or has answered within the last second under this key."""
        until, task = self._seen.get(key, (0.0, None))
        if task is None or until < time.monotonic() or (task.done() and task.exception() is not None):
            if len(self._seen) >= _KEPT:
                self._seen.clear()
            task = asyncio.get_running_loop().create_task(_digest(look))
            self._seen[key] = (time.monotonic() + _EVERY_S, task)
        return await asyncio.shield(task)


async def _digest(look: Look) -> bytes:
    answer = orjson.dumps(await look(), default=str, option=orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(answer, digest_size=16).digest()


def changes(request: Request, given: Services, key: str, look: Look) -> Response:
    """A stream with an event `changed` whenever `look` answers something else than before. Pages share looks by key."""
    looks: Looks = request.app.state.looks

    async def told() -> AsyncGenerator[bytes, None]:
        before: bytes | None = None
        while True:
            try:
                seen = await looks.digest(key, look)
            except (SQLAlchemyError, OSError) as error:
                logger.warning("a page of the console goes on when the database is back: %s", error)
            else:
                if before is None:
                    yield streams.event("ready", {}, number=None)
                elif seen != before:
                    yield streams.event("changed", {}, number=None)
                before = seen
            await asyncio.sleep(_EVERY_S)

    return streams.EventStream(told(), heartbeat_s=given.serve.heartbeat_s, reconnect_s=given.serve.reconnect_s)
