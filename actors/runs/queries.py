"""Units of statements from many callers, over a few connections that all of them share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from actors.runs.gathering import Gathering
from actors.runs.pipeline import Answer, Pipeline, Unit

# To one round trip: more would keep the first of them waiting for the answers to the last.
_BATCH = 64


@dataclass(slots=True)
class _Request:
    unit: Unit
    done: asyncio.Future[Answer]


class _Line(Gathering[_Request]):
    def __init__(self, conninfo: str) -> None:
        super().__init__()
        self._pipeline = Pipeline(conninfo)
        self.under_way = 0

    async def close(self) -> None:
        await super().close()
        await self._pipeline.close()

    def take(self, waiting: list[_Request]) -> tuple[list[_Request], list[_Request]]:
        return waiting[:_BATCH], waiting[_BATCH:]

    async def serve(self, batch: list[_Request]) -> None:
        outcomes: list[Answer | Exception]
        try:
            outcomes = [*await self._pipeline.run([request.unit for request in batch])]
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            outcomes = [error] * len(batch)
        for request, outcome in zip(batch, outcomes, strict=True):
            if request.done.done():
                continue
            if isinstance(outcome, Exception):
                request.done.set_exception(outcome)
            else:
                request.done.set_result(outcome)


class Queries:
    """Each unit is a transaction of its own, and is repeated after a lost connection. Connections open when needed."""

    def __init__(self, conninfo: str, *, connections: int) -> None:
        self._lines = [_Line(conninfo) for _ in range(connections)]

    async def run(self, *unit: tuple[bytes, list[bytes | None]]) -> Answer:
        """The rows of each statement.

        Raises what PostgreSQL says of this unit, or `DatabaseUnavailableError` when it stays away.
        """
        # The first one that is least busy, so that a quiet process has one connection.
        line = min(self._lines, key=lambda line: line.under_way)
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        line.under_way += 1
        try:
            line.add(_Request(unit, done))
            return await done
        finally:
            line.under_way -= 1

    async def close(self) -> None:
        """Finish what is under way, then let go of the connections."""
        for line in self._lines:
            await line.close()
