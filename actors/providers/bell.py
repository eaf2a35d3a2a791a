"""Word that a provider's job is done, from whichever process heard of it to the one that waits for it.

It goes through Redis and may be lost: whoever waits looks by itself, too, and only later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from actors.providers.models import Job
from actors.providers.webhooks import Webhook
from actors.runs.subscriptions import Subscriptions
from storage.cache import Cache
from storage.tasks import end

_CHANNEL = "hyvve:jobs"
_QUIET_S = 60.0
# The word first: a delivery counts as taken only once it has been told.
_RING_ONCE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if ARGV[2] ~= '' then redis.call('PUBLISH', KEYS[2], ARGV[2]) end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
"""


async def ring_once(cache: Cache, webhook: Webhook, job: Job | None, *, tolerance_s: int) -> bool:
    """Whether this delivery was not seen before: then whoever waits for its job is told to look. One that is replayed,
    or sent again after we took it, tells nobody.

    It is remembered for as long as its signature would be accepted. Raises `CacheUnavailableError`; then it was not
    taken, and counts when it is sent again.
    """
    keys = [f"hyvve:webhook:{webhook.id}", _CHANNEL]
    word = "" if job is None else _word(job)
    return bool(await cache.script(_RING_ONCE, keys, [max(1, 2 * tolerance_s * 1000), word]))


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
