"""How fast a provider is asked, by all workers together.

A `Pacer` lets a call begin when it has a slot (concurrency) and its turn (requests a minute). Both come in blocks from
a ledger: a Redis shared by all workers (`ledger.RedisLedger`), or this process alone (`ledger.LocalLedger`). A call
between two block reservations costs a few microseconds and no round trip.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import ceil
from typing import Any

from actors.verification.scorers.ledger import Grant, Ledger, Limits

log = logging.getLogger(__name__)

# A turn not taken by this long after it was due is dropped, so that saved-up turns make no burst.
_STALE_S = 0.5
# Turns reserved ahead, in seconds of the rate: few enough that a worker that stops early wastes little.
_AHEAD_S = 0.1
_MOST_AHEAD_S = 1.0
# How often slots are renewed and shared anew: alone, with others, and by one that wants more or could give some back. A
# slot that changes hands idles for about two of the last, and each chunk's end hands over all of its slots.
_TICK_ALONE_S = 0.5
_TICK_SHARED_S = 0.1
_TICK_UNEVEN_S = 0.01
# Each other worker makes the ticks this much longer, so that hundreds of workers do not flood Redis.
_TICK_PER_WORKER_S = 0.002


class Pacer:
    """Admits calls within the ledger's limits; belongs to one event loop.

    A 429 (`slow_down`) pauses everybody for as long as the provider said, and halves this worker's window, which
    then grows by one call per window of successes: the rate settles under a limit that nobody configured.
    """

    def __init__(self, limits: Limits, ledger: Ledger) -> None:
        self.limits = limits
        self._ledger = ledger
        self._held = 0  # slots granted
        self._recorded = 0  # slots the ledger counts as ours: above `_held` while a cut waits for calls to end
        self._busy = 0  # slots in use
        self._window = float(limits.concurrency)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._turns: deque[float] = deque()
        self._turn_wanted: deque[asyncio.Future[Any]] = deque()
        self._last_turn = 0.0
        self._not_before = 0.0
        self._last_cut = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Holds one slot, entered when a call may begin."""
        await self._take_slot()
        try:
            if self.limits.interval_s:
                await self._take_turn()
            await self._sit_out()
            yield
        finally:
            self._busy -= 1
            self._admit()
            if self._recorded > self._held >= self._busy or self._spare:
                self._wake.set()  # others may wait for the slots that are free now

    async def slow_down(self, seconds: float) -> None:
        """The provider refused a call as too many: no call for `seconds`, on any worker, and fewer at once here."""
        now = time.monotonic()
        self._not_before = max(self._not_before, now + seconds)
        # One cut per second: the calls of one burst are refused together.
        if now - self._last_cut > 1.0:
            self._last_cut = now
            self._window = max(1.0, min(self._window, float(self._busy)) / 2)
        if seconds > 0:
            await self._ledger.pause(seconds)

    def succeeded(self) -> None:
        """A call was answered: let the window grow."""
        if self._window < self.limits.concurrency:
            self._window = min(float(self.limits.concurrency), self._window + 1.0 / self._window)

    async def close(self) -> None:
        """Gives all slots back. Calls that still wait are cancelled."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for waiting in (*self._waiting, *self._turn_wanted):
            waiting.cancel()
        await self._ledger.close()

    @property
    def _room(self) -> int:
        return min(self._held, int(self._window)) - self._busy

    @property
    def _want(self) -> int:
        return max(self._busy, min(self._busy + len(self._waiting), int(self._window)))

    @property
    def _spare(self) -> bool:
        return self._held > self._busy and not self._waiting

    async def _take_slot(self) -> None:
        if self._room > 0 and not self._waiting:
            self._busy += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._ask()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # admitted in the moment it was cancelled
                self._busy -= 1
                self._admit()
            raise

    async def _take_turn(self) -> None:
        now = time.monotonic()
        while self._turns and self._turns[0] < now - _STALE_S:
            self._turns.popleft()
        if self._turns:
            due = self._turns.popleft()
        else:
            future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            self._turn_wanted.append(future)
            self._ask()
            due = await future
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    async def _sit_out(self) -> None:
        """Wait for the end of a pause, which may be prolonged meanwhile."""
        while (pause := self._not_before - time.monotonic()) > 0:  # noqa: ASYNC110 - the end is a time, not an event
            # Spread, so that the end of a pause is no stampede.
            await asyncio.sleep(pause * random.uniform(1.0, 1.1))  # noqa: S311

    def _admit(self) -> None:
        """Let waiting calls in, as far as the slots go."""
        while self._waiting and self._room > 0:
            future = self._waiting.popleft()
            if not future.done():
                self._busy += 1
                future.set_result(None)

    def _ask(self) -> None:
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._settle_forever())

    async def _settle_forever(self) -> None:
        """Settle with the ledger when slots or turns are short, and every tick to renew, to share, to give back."""
        try:
            while True:
                self._wake.clear()
                want, turns = self._want, self._turns_to_ask()
                # What is given back is not used again while the ledger hears of it: it may be another's by then.
                self._held = min(self._held, want)
                grant = await self._ledger.settle(want=want, busy=self._busy, turns=turns)
                self._apply(grant)
                if want == 0 and self._want == 0:
                    return  # all given back; the next call starts this anew
                await self._until_reason(want, grant)
        except Exception as error:  # whoever waits must hear of it: nothing else would ever wake them
            log.exception("sharing the provider's limits failed")
            for waiting in (*self._waiting, *self._turn_wanted):
                if not waiting.done():
                    waiting.set_exception(error)
            self._waiting.clear()
            self._turn_wanted.clear()

    def _turns_to_ask(self) -> int:
        interval = self.limits.interval_s
        if not interval or not self._turn_wanted or self._turns_wait_s() > 0:
            return 0
        return min(max(len(self._turn_wanted), ceil(_AHEAD_S / interval)), max(1, int(_MOST_AHEAD_S / interval)))

    def _turns_wait_s(self) -> float:
        """How long reserved turns still last; below 0 it is time to reserve more."""
        return self._last_turn - time.monotonic() - _AHEAD_S

    def _apply(self, grant: Grant) -> None:
        now = time.monotonic()
        self._held = grant.slots
        self._recorded = max(grant.slots, self._busy)
        self._not_before = max(self._not_before, now + grant.pause_s)
        for n in range(grant.turns):
            self._last_turn = now + grant.first_s + n * self.limits.interval_s
            self._turns.append(self._last_turn)
        while self._turn_wanted and self._turns:
            future = self._turn_wanted.popleft()
            if not future.done():
                future.set_result(self._turns.popleft())
        self._admit()

    async def _until_reason(self, wanted: int, grant: Grant) -> None:
        """Returns when there is a reason to settle again."""
        now, longer = time.monotonic(), _TICK_PER_WORKER_S * grant.others
        uneven = now + _TICK_UNEVEN_S + longer
        if grant.slots < wanted:
            tick = _TICK_UNEVEN_S + longer
        else:
            tick = _TICK_SHARED_S + longer if grant.others else _TICK_ALONE_S
        deadline = now + tick * random.uniform(0.8, 1.2)  # noqa: S311 - workers should not tick as one
        while True:
            if grant.others and self._spare:
                deadline = min(deadline, uneven)
            until = min(deadline, time.monotonic() + self._turns_wait_s()) if self._turn_wanted else deadline
            if (left := until - time.monotonic()) <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left)
            self._wake.clear()
            # The last answer gave all that was asked, and more is wanted now: there may be more.
            if grant.slots >= wanted < self._want or self._recorded > self._held >= self._busy:
                return
