"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

# Long enough for what a task does on its way out, such as closing its connections.
_AGAIN_S = 10.0


async def end(tasks: Iterable[asyncio.Task[Any]], *, again_s: float = _AGAIN_S) -> None:
    """Cancel the tasks and return when all of them have ended, whatever they ended with.

    A task that goes on is cancelled again every `again_s` seconds. A cancel can be lost: Python 3.11's
    `asyncio.wait_for`, on which database and Redis clients build, drops one that comes at the moment at which what it
    waits for is done (https://github.com/python/cpython/issues/86296), and a loop that lost it would run for ever.
    """
    every = list(tasks)
    left = {task for task in every if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)
    for task in every:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody is told of it later
