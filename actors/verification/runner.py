"""What the batch runner does: it brings every unfinished batch to its end, whatever restarts meanwhile.

It coordinates and remembers nothing that counts: rows say which batches are unfinished and what of them is left. It is
woken when a batch is made, and looks by itself besides, so that a lost call delays a batch and never loses it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakValueDictionary

from actors.verification.batches import drive, fail
from actors.verification.chunks import Fanout
from actors.verification.workplace import Setup
from storage import verifications
from storage.engine import Database
from storage.errors import DatabaseUnavailableError
from storage.tasks import end

log = logging.getLogger(__name__)

_SWEEP_S = 2.0
# A batch that failed is driven again after a while, longer each time; after this often without a new row it is failed.
_BACKOFF_S, _LONGEST_BACKOFF_S = 2.0, 60.0
_FRUITLESS = 8
# Batches driven at once; others wait. Each holds a connection for its lock and needs two more at times.
_BATCHES = 4
_POOL = 3 * _BATCHES


@dataclass(slots=True)
class _Trouble:
    """How often in a row a batch failed, how far it was, and when it may be driven again."""

    times: int
    judged: int
    not_before: float


class BatchRunner:
    """Drives batches, several at once, in the loop it is made in. Its constructor's arguments are all it knows.

    Batches of one campaign are driven one after another: one that was begun twice finds the scores of the first, where
    both at once would pay the provider twice; and no campaign takes all places with batches of its own.
    """

    def __init__(self, setup: Setup, fanout: Fanout) -> None:
        self._setup = setup
        self._fanout = fanout
        self._database = Database(setup.storage.database_url, pool_size=_POOL)
        self._driving: dict[UUID, asyncio.Task[None]] = {}
        self._troubles: dict[UUID, _Trouble] = {}
        self._room = asyncio.Semaphore(_BATCHES)
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    async def wake(self, batch_id: UUID) -> None:
        """Drive this batch, unless it is being driven."""
        self._troubles.pop(batch_id, None)
        self._begin(batch_id)

    async def has(self, setup: Setup) -> bool:
        """Whether this is what it was set up with."""
        return self._setup == setup

    async def close(self) -> None:
        """Stops what is being driven; it goes on where it was when a runner drives it again."""
        await end([self._sweeping, *self._driving.values()])
        await self._database.close()

    async def _sweep(self) -> None:
        while True:
            try:
                async with self._database.read() as session:
                    found = await verifications.unfinished(session)
            except Exception as error:  # noqa: BLE001  # it looks again in a moment
                log.warning("unfinished batches cannot be listed: %s", error)
            else:
                for batch_id in found:
                    trouble = self._troubles.get(batch_id)
                    if trouble is None or time.monotonic() >= trouble.not_before:
                        self._begin(batch_id)
            await asyncio.sleep(_SWEEP_S)

    def _begin(self, batch_id: UUID) -> None:
        if batch_id not in self._driving:
            task = asyncio.get_running_loop().create_task(self._drive(batch_id))
            self._driving[batch_id] = task
            task.add_done_callback(lambda _: self._driving.pop(batch_id, None))

    async def _drive(self, batch_id: UUID) -> None:
        try:
            async with self._database.read() as session:
                campaign_id = (await verifications.batch(session, batch_id)).campaign_id
            turn = self._turns.setdefault(campaign_id, asyncio.Lock())
            async with turn, self._room:
                state = await drive(self._database, batch_id, self._fanout, self._setup.verification.fanout)
        except DatabaseUnavailableError as error:
            log.warning("batch %s waits for the database: %s", batch_id, error)
            self._troubles[batch_id] = _Trouble(0, 0, time.monotonic() + _BACKOFF_S)
        except Exception as error:
            log.exception("batch %s failed and is driven again", batch_id)
            await self._note(batch_id, error)
        else:
            self._troubles.pop(batch_id, None)
            if state is not None:
                log.info("batch %s is %s", batch_id, state)

    async def _note(self, batch_id: UUID, error: Exception) -> None:
        """Put the batch off, or end it where it gets nowhere."""
        try:
            async with self._database.read() as session:
                judged = (await verifications.progress(session, batch_id)).judged
            before = self._troubles.get(batch_id)
            times = before.times + 1 if before is not None and before.judged == judged else 1
            pause = min(_LONGEST_BACKOFF_S, _BACKOFF_S * 2 ** (times - 1))
            self._troubles[batch_id] = _Trouble(times, judged, time.monotonic() + pause)
            if times >= _FRUITLESS:
                await fail(self._database, batch_id, f"{type(error).__name__}: {error}"[:1000])
        except Exception:
            log.exception("batch %s could not be put off", batch_id)
