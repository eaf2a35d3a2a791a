"""Word that a provider's job is done, from whichever process heard of it to the one that waits for it.

It goes through Redis and may be lost: whoever waits looks by itself, too, and only later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from actors.providers.models import Job
from actors.runs.subscriptions import Subscriptions
from storage.cache import Cache
from storage.tasks import end

_CHANNEL = "hyvve:jobs"
_QUIET_S = 60.0
_RING = "return redis.call('PUBLISH', KEYS[1], ARGV[1])"


async def ring(cache: Cache, job: Job) -> None:
    """Tell whoever waits for this job to look. Raises `CacheUnavailableError`."""
    await cache.script(_RING, [_CHANNEL], [_word(job)])


class JobBell:
    """Listens from the first job on that is waited for, in that event loop."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._subscriptions: Subscriptions | None = None
        self._listening: asyncio.Task[None] | None = None
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @contextlib.contextmanager
    def wakes(self, job: Job) -> Iterator[asyncio.Event]:
        """An event that is set when there is word of the job (see `jobs.Wakes`)."""
        if self._listening is None:
            self._subscriptions = Subscriptions(self._redis_url)
            self._listening = asyncio.get_running_loop().create_task(self._listen(self._subscriptions), name="job bell")
        event = asyncio.Event()
        word = _word(job)
        self._waiting.setdefault(word, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[word].discard(event)
            if not self._waiting[word]:
                del self._waiting[word]

    async def close(self) -> None:
        if self._listening is not None:
            await end([self._listening])
        if self._subscriptions is not None:
            await self._subscriptions.close()

    async def _listen(self, subscriptions: Subscriptions) -> None:
        async with subscriptions.to(_CHANNEL) as feed:
            while True:
                message = await feed.next(_QUIET_S)
                # Without a message some may have been missed; each that waits looks by itself within seconds.
                for event in self._waiting.get((message or b"").decode("utf-8", "replace"), ()):
                    event.set()


def _word(job: Job) -> str:
    return f"{job.provider} {job.id}"
