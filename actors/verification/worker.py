"""A worker process's loop and workplace, kept from task to task.

The loop runs in a thread of its own, so that what lives between tasks keeps living: the pacer gives back slots that an
idle worker holds, and connections are kept. A Ray task waits for its coroutine in the worker's main thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from contextlib import suppress
from typing import TypeVar

from actors.verification.workplace import Setup, Workplace

T = TypeVar("T")

# The main thread looks up this often, for an interrupt only reaches it between two waits.
_LOOK_UP_S = 0.2
_CLEAN_UP_S = 1.0


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The fastest loop there is: uvloop comes with Ray Serve wherever it is supported."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Worker:
    """One per process. Its workplace changes when it is given another setup."""

    def __init__(self) -> None:
        self._loop = new_event_loop()
        self._workplace: Workplace | None = None
        threading.Thread(target=self._loop.run_forever, name="verification", daemon=True).start()

    def run(self, setup: Setup, work: Callable[[Workplace], Awaitable[T]]) -> T:
        """What `work` gives. An interrupt of the calling thread (a cancelled task) cancels the work."""
        future = asyncio.run_coroutine_threadsafe(self._with(setup, work), self._loop)
        try:
            while not future.done():
                wait([future], timeout=_LOOK_UP_S)
        except BaseException:
            future.cancel()
            with suppress(BaseException):
                wait([future], timeout=_CLEAN_UP_S)
            raise
        return future.result()

    async def _with(self, setup: Setup, work: Callable[[Workplace], Awaitable[T]]) -> T:
        if self._workplace is not None and self._workplace.setup != setup:
            stale, self._workplace = self._workplace, None
            await stale.close()
        if self._workplace is None:
            self._workplace = Workplace(setup)
        return await work(self._workplace)


_worker: Worker | None = None


def worker() -> Worker:
    """The worker of this process."""
    global _worker  # noqa: PLW0603  # one a process is the point
    if _worker is None:
        _worker = Worker()
    return _worker
