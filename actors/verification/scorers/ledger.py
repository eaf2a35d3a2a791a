"""Who may ask a provider how much: slots and turns, shared among workers through Redis or kept by one process.

Redis holds, per provider: a hash of leases (worker → wanted, held, expiry), the time of the next free turn, and a
pause. One Lua script settles all three in one round trip, by Redis's own clock. A lease that is not renewed expires,
so a dead worker's slots return.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage.cache import Cache
from storage.errors import CacheUnavailableError

log = logging.getLogger(__name__)

LEASE_S = 15.0
_RETRY_REDIS_S = 5.0
_SCRIPT = (Path(__file__).parent / "ledger.lua").read_text()


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency` calls at once and `per_minute` calls a minute (`None`: no limit), all workers together."""

    concurrency: int
    per_minute: int | None = None

    @property
    def interval_s(self) -> float:
        """Seconds between two turns; 0 without a rate limit."""
        return 60.0 / self.per_minute if self.per_minute else 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a ledger gives: `slots` held from now on; `turns` calls, the first in `first_s`, then one each interval.

    `others` counts the other workers that hold or want slots; for `pause_s` nobody may begin a call.
    """

    slots: int
    turns: int = 0
    first_s: float = 0.0
    others: int = 0
    pause_s: float = 0.0


class Ledger(Protocol):
    """Shares `Limits` among workers."""

    async def settle(self, *, want: int, busy: int, turns: int) -> Grant:
        """Ask for `want` slots in all, of which `busy` are in calls now, and for `turns` turns. 0 gives all back."""
        ...

    async def pause(self, seconds: float) -> None:
        """Let nobody begin a call for this long."""
        ...

    async def close(self) -> None: ...


class LocalLedger:
    """The limits for this process alone. Turns by the generic cell rate algorithm (ITU-T I.371), burst 1."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._next = 0.0
        self._paused_until = 0.0

    async def settle(self, *, want: int, busy: int, turns: int) -> Grant:  # noqa: ARG002 - nobody else to tell
        now = time.monotonic()
        first = max(self._next, now)
        if turns:
            self._next = first + turns * self._limits.interval_s
        pause = max(0.0, self._paused_until - now)
        # Nobody to share with: all slots at once, so that growing takes no second asking.
        return Grant(self._limits.concurrency if want else 0, turns, first - now, pause_s=pause)

    async def pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    async def close(self) -> None: ...


class RedisLedger:
    """The limits for all workers that name the same `provider` in the same Redis.

    Slots are shared max-min fairly among those who want them. While Redis does not answer, this process keeps the
    limits alone and says so once: judging goes on, and the provider's own 429s are the bound.
    """

    def __init__(self, limits: Limits, cache: Cache, provider: str, *, lease_s: float = LEASE_S) -> None:
        self._limits = limits
        self._cache = cache
        self._owner = secrets.token_hex(8)
        # One hash tag: a Redis cluster keeps the three together.
        tag = hashlib.sha256(provider.encode()).hexdigest()[:16]
        self._keys = [f"hyvve:pace:{{{tag}}}:{noun}" for noun in ("slots", "turn", "pause")]
        self._lease_ms = int(lease_s * 1000)
        self._alone = LocalLedger(limits)
        self._alone_until = 0.0
        self._warned = False

    async def settle(self, *, want: int, busy: int, turns: int) -> Grant:
        if time.monotonic() < self._alone_until:
            return await self._alone.settle(want=want, busy=busy, turns=turns)
        interval_us = round(self._limits.interval_s * 1e6)
        arguments: list[str | int] = [
            self._owner,
            want,
            busy,
            turns,
            self._limits.concurrency,
            interval_us,
            self._lease_ms,
        ]
        try:
            slots, first_us, others, pause_ms = await self._cache.script(_SCRIPT, self._keys, arguments)
        except CacheUnavailableError as error:
            self._go_alone(error)
            return await self._alone.settle(want=want, busy=busy, turns=turns)
        self._warned = False
        return Grant(slots, turns, first_us / 1e6, others, pause_ms / 1e3)

    async def pause(self, seconds: float) -> None:
        await self._alone.pause(seconds)
        try:
            await self._cache.put_longest(self._keys[2], seconds)
        except CacheUnavailableError as error:
            self._go_alone(error)

    async def close(self) -> None:
        if time.monotonic() >= self._alone_until:
            await self.settle(want=0, busy=0, turns=0)
        await self._cache.close()

    def _go_alone(self, error: CacheUnavailableError) -> None:
        self._alone_until = time.monotonic() + _RETRY_REDIS_S
        if not self._warned:
            self._warned = True
            log.warning("provider limits are kept by this worker alone until Redis answers: %s", error)
