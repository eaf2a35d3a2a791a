"""Requests that arrive while the last ones are under way go out together.

No timer: while one batch is on its way the next one gathers, so a batch is as large as the load makes it, and a lone
request waits for nobody.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Turns of the loop between the first request and its departure: a step's writes and the checkpoint that follows them
# are asked for three turns apart, and one transaction costs half of two.
_TURNS = 4


class Gathering(ABC, Generic[T]):
    """`close` serves what waits and refuses what comes."""

    def __init__(self) -> None:
        self._waiting: list[T] = []
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def add(self, request: T) -> None:
        if self._closing:
            raise RuntimeError(f"this {type(self).__name__} is closed")
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=type(self).__name__)
        self._waiting.append(request)
        self._arrived.set()

    def withdraw(self, chosen: Callable[[T], bool]) -> list[T]:
        """Those of the waiting that are chosen; they wait no more."""
        withdrawn = [request for request in self._waiting if chosen(request)]
        if withdrawn:
            self._waiting = [request for request in self._waiting if not chosen(request)]
        return withdrawn

    @abstractmethod
    async def serve(self, batch: list[T]) -> None:
        """Answer each of these requests; raises nothing."""

    @abstractmethod
    def take(self, waiting: list[T]) -> tuple[list[T], list[T]]:
        """Those that go out now, the first one at least, and those that wait on."""

    async def close(self) -> None:
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
            # Those that gathered meanwhile have waited long enough.
            batch, self._waiting = self.take(self._waiting)
            if batch:
                await self.serve(batch)
