"""What a process hears from Redis, over one connection however many listen.

Redis forgets: who listens looks at the table whenever it is told to, and by itself besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import redis.asyncio
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from storage.tasks import end

log = logging.getLogger(__name__)

# Keeps the connection subscribed while nobody listens to anything.
_ALWAYS = "run:-"
_CHECK_S, _PAUSE_S = 5.0, 0.5
# Messages kept for who does not take them; what is in the table is read there instead.
_KEPT, _KEPT_BYTES = 1000, 8 * 1024 * 1024


class Feed:
    """One listener's messages."""

    def __init__(self) -> None:
        self._messages: deque[bytes | None] = deque()
        self._size = 0
        self._arrived = asyncio.Event()

    def put(self, message: bytes | None) -> None:
        if message is None or len(self._messages) >= _KEPT or self._size + len(message) > _KEPT_BYTES:
            self._messages.clear()
            self._size, message = 0, None
        self._messages.append(message)
        self._size += len(message or b"")
        self._arrived.set()

    async def next(self, timeout_s: float) -> bytes | None:
        """The next message; `None` where the listener should look at the table: some may have been lost, or none came
        for so long.
        """
        if not self._messages:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
        message = self._messages.popleft() if self._messages else None
        self._size -= len(message or b"")
        return message


class Subscriptions:
    """Of one event loop. A channel is subscribed to as long as somebody listens to it."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            redis_url, socket_connect_timeout=2.0, retry=Retry(NoBackoff(), 0), health_check_interval=15
        )
        self._feeds: dict[str, set[Feed]] = {}
        self._pubsub: PubSub | None = None
        self._subscribed: set[str] = set()
        # One command at a time, so that what is subscribed follows from who listens and not from who was faster.
        self._lock = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._pubsub is not None

    @contextlib.asynccontextmanager
    async def to(self, channel: str) -> AsyncIterator[Feed]:
        """Messages of the channel, from soon on; a `None` says when, and whenever some may have been missed."""
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen(), name="listen to Redis")
        feed = Feed()
        self._feeds.setdefault(channel, set()).add(feed)
        try:
            await self._settle(channel)
            yield feed
        finally:
            self._feeds[channel].discard(feed)
            if not self._feeds[channel]:
                del self._feeds[channel]
                await self._settle(channel)

    async def close(self) -> None:
        if self._listening is not None:
            await end([self._listening])
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _settle(self, channel: str) -> None:
        """Subscribe to the channel or leave it, as somebody listens or not."""
        async with self._lock:
            pubsub = self._pubsub
            if pubsub is None or (channel in self._feeds) == (channel in self._subscribed):
                return
            # What fails here, the listening task finds out too; it then subscribes to all anew.
            with contextlib.suppress(RedisError, OSError):
                if channel in self._feeds:
                    self._subscribed.add(channel)
                    await pubsub.subscribe(channel)
                else:
                    self._subscribed.discard(channel)
                    await pubsub.unsubscribe(channel)

    async def _listen(self) -> None:
        while True:
            pubsub = self._redis.pubsub()
            try:
                await pubsub.subscribe(_ALWAYS)
                async with self._lock:
                    self._pubsub, self._subscribed = pubsub, set(self._feeds)
                    if self._subscribed:
                        await pubsub.subscribe(*self._subscribed)
                while True:
                    message = await pubsub.get_message(timeout=_CHECK_S)
                    if message is not None:
                        self._deliver(message)
            except (RedisError, OSError) as error:
                log.warning("Redis is away (%s); who follows runs reads the table", error)
            finally:
                self._pubsub = None
                with contextlib.suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            for feeds in self._feeds.values():
                for feed in feeds:
                    feed.put(None)
            await asyncio.sleep(_PAUSE_S)

    def _deliver(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode() if message["channel"] is not None else _ALWAYS
        for feed in self._feeds.get(channel, ()):
            if message["type"] == "message":
                feed.put(message["data"])
            elif message["type"] == "subscribe":  # what was said before that is in the table alone
                feed.put(None)
