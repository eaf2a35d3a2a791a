"""A run's events as they happen: hosts publish them over Redis once they are on disk, followers read table and channel.

The table is the record. What Redis loses is read from the table, so a follower sees each numbered event once, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import redis.asyncio
from redis.exceptions import RedisError

from actors.runs.subscriptions import Subscriptions
from storage import run_events, runs
from storage.clock import now
from storage.engine import Database
from storage.runs import ENDED
from storage.tasks import end

log = logging.getLogger(__name__)

# A follower looks at the table by itself this often, and oftener while Redis is away.
_LOOK_S, _LOOK_ALONE_S = 10.0, 0.5
_PAGE = 500
# Kept for a Redis that does not answer; followers find the rest in the table.
_BACKLOG, _BACKLOG_BYTES = 10_000, 32 * 1024 * 1024
# Sent at once.
_BATCH_BYTES = 1024 * 1024
_PAUSE_S = 0.5
# Of the integers that orjson writes, whatever their sign.
_INTEGER_BITS = 63


def channel_of(run_id: UUID | str) -> str:
    """The Redis channel of a run. A message is a JSON list of events: {seq, type, step, at, data}, `seq` null where the
    event is not kept.
    """
    return f"run:{run_id}"


@dataclass(frozen=True, slots=True)
class FollowedEvent:
    """`seq` is none for what is shown and not kept."""

    seq: int | None
    type: str
    step: str | None
    at: datetime
    data: Mapping[str, Any]


class EventPublisher:
    """Sends a host's events, in its own time: nothing ever waits for Redis, and what waits for it has an end: the
    oldest goes first. Belongs to one event loop.
    """

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(redis_url, socket_timeout=5.0, socket_connect_timeout=2.0)
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="publish run events")

    def publish(self, run_id: UUID | str, events: Sequence[Mapping[str, Any]]) -> None:
        """Send these events, all of one run, to whoever follows it. Never raises: what JSON cannot say is sent as near
        to it as can be, or not at all.
        """
        if (message := _written(run_id, events)) is not None:
            self._waiting.append((channel_of(run_id), message))
            self._size += len(message)
            while len(self._waiting) > _BACKLOG or self._size > _BACKLOG_BYTES:
                self._taken()
            self._arrived.set()

    def _taken(self) -> tuple[str, bytes]:
        """The oldest; it waits no more."""
        channel, message = self._waiting.popleft()
        self._size -= len(message)
        return channel, message

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                try:
                    await self._send()
                except Exception as error:  # noqa: BLE001 - whatever it is, later events are to be seen
                    log.warning("Redis is away (%s); followers read the table", error)
                    await asyncio.sleep(_PAUSE_S)

    async def _send(self) -> None:
        size = 0
        async with self._redis.pipeline(transaction=False) as pipeline:
            while self._waiting and size < _BATCH_BYTES:
                channel, message = self._taken()
                size += len(message)
                pipeline.publish(channel, message)
            await pipeline.execute()

    async def close(self) -> None:
        await end([self._task])
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()


class RunFollower:
    """Follows runs; one per process and event loop."""

    def __init__(self, database: Database, redis_url: str) -> None:
        self._database = database
        self._subscriptions = Subscriptions(redis_url)

    async def follow(self, run_id: UUID, after_seq: int = 0) -> AsyncGenerator[FollowedEvent]:
        """The run's events from number `after_seq` + 1 on, then live ones, until the run has ended.

        No number is left out or told twice, also while Redis is away. Raises `NotFoundError`.
        """
        seq = after_seq
        # Listening first, so that what happens while the table is read is not missed.
        async with self._subscriptions.to(channel_of(run_id)) as feed:
            while True:
                async with self._database.read() as session:
                    status, last = await runs.standing(session, run_id)
                if last > seq:
                    async for event in self._kept(run_id, seq):
                        assert event.seq is not None
                        seq = event.seq
                        yield event
                if status in ENDED:  # its last event was written with that; older ones may be gone by their age
                    return
                looked = False
                while not looked:
                    message = await feed.next(_LOOK_S if self._subscriptions.connected else _LOOK_ALONE_S)
                    looked = message is None
                    for event in _read(message):
                        if event.seq is None:
                            yield event
                        elif event.seq == seq + 1:
                            seq = event.seq
                            yield event
                            looked = looked or event.type in _LAST
                        elif event.seq > seq:  # a gap
                            looked = True
                            break

    async def _kept(self, run_id: UUID, seq: int) -> AsyncIterator[FollowedEvent]:
        while True:
            async with self._database.read() as session:
                page = await run_events.after(session, run_id, seq, limit=_PAGE)
            for row in page:
                seq = row.seq
                yield FollowedEvent(row.seq, row.type, row.step, row.at, row.data)
            if len(page) < _PAGE:
                return

    async def close(self) -> None:
        await self._subscriptions.close()


_LAST = frozenset({"run.completed", "run.failed", "run.cancelled"})


def _read(message: bytes | None) -> list[FollowedEvent]:
    return [
        FollowedEvent(each["seq"], each["type"], each["step"], datetime.fromisoformat(each["at"]), each["data"])
        for each in (() if message is None else orjson.loads(message))
    ]


def _written(run_id: UUID | str, events: Sequence[Mapping[str, Any]]) -> bytes | None:
    try:
        return orjson.dumps(events, default=repr, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # half a surrogate pair, a key or a number that JSON has not, or deeper than orjson goes
        pass
    try:
        return orjson.dumps(_sayable(events), default=repr)
    except Exception as error:  # noqa: BLE001  # a step has paid for what it shows, and must not fail of it
        log.warning("run %s: %d events are not shown, for they are not JSON: %s", run_id, len(events), error)
        return None


def _sayable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case Mapping():
            return {_sayable(str(key)): _sayable(each) for key, each in value.items()}
        case list() | tuple():
            return [_sayable(each) for each in value]
        case int() if value.bit_length() > _INTEGER_BITS:
            return str(value)
    return value


def live_event(type_: str, step: str | None, data: Mapping[str, Any]) -> dict[str, Any]:
    """An event that is shown and not kept."""
    return {"seq": None, "type": type_, "step": step, "at": now().isoformat(), "data": data}
