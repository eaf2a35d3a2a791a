"""What a scheduler does: it turns due times into firings and runs them. Any number may work on one database.

It remembers nothing that counts. Rows say what is due, what is being run, by whom and until when; a scheduler that dies
lets its leases run out, and another runs its firings again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import BadRuleError, CutOffError
from actors.schedules.firings import FREQUENT_S
from actors.schedules.registry import periodic
from actors.schedules.task import Periodic, Work, make_known
from actors.schedules.timing import Missed, Rule, plan
from storage import firings, schedules
from storage.engine import Database
from storage.errors import HyvveError
from storage.firings import Claim
from storage.schedules import Schedule
from storage.settings import StorageSettings
from storage.tasks import end

log = logging.getLogger(__name__)

_TICK_S = 1.0
# How long a firing stays its scheduler's without a sign of life, and how often it gives one.
_LEASE_S, _RENEW_S = 30.0, 10.0
# A failed attempt is repeated after this, longer each time, with a tenth of jitter.
_BACKOFF_S, _LONGEST_BACKOFF_S = 5.0, 600.0
# Firings run at once. Each needs a connection for its work, and at times one to renew its lease.
_AT_ONCE = 4
_POOL = 2 * _AT_ONCE + 1
_ERROR_LENGTH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSetup:
    """All that a scheduler must be told. `periodic` is pickled by name."""

    storage: StorageSettings
    periodic: Callable[[], Sequence[Periodic]] = periodic
    lease_s: float = _LEASE_S
    backoff_s: float = _BACKOFF_S


def rule_of(schedule: Schedule) -> Rule:
    """The rule of a stored schedule. Raises `BadRuleError`."""
    return Rule(every_s=schedule.every_s, cron=schedule.cron)


def backoff_s(attempt: int, *, first_s: float = _BACKOFF_S) -> float:
    """Seconds until the attempt after this one: twice as long each time, up to ten minutes."""
    return min(_LONGEST_BACKOFF_S, first_s * 2.0 ** (attempt - 1)) * random.uniform(0.9, 1.1)  # noqa: S311 - jitter


class Scheduler:
    """Fires what is due, in the loop it is made in. Its constructor's arguments are all it knows."""

    def __init__(self, setup: SchedulerSetup) -> None:
        self._setup = setup
        self._database = Database(setup.storage.database_url, pool_size=_POOL)
        self._tasks = {each.name: each for each in setup.periodic()}
        self._host = f"{socket.gethostname()}/{os.getpid()}"
        self._known = False
        self._running: dict[tuple[str, datetime], asyncio.Task[None]] = {}
        # A firing that has ended makes room for the next.
        self._look_now = asyncio.Event()
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def has(self, setup: SchedulerSetup) -> bool:
        """Whether this is what it was set up with."""
        return self._setup == setup

    async def close(self) -> None:
        """Stop at once; what was being run is run again, by whoever comes when its lease is over."""
        await end([self._looking, *self._running.values()])
        await self._database.close()

    async def _look(self) -> None:
        while True:
            try:
                await self._tick()
            except Exception as error:  # noqa: BLE001  # it looks again in a moment
                log.warning("schedules cannot be looked at: %s", error)
                await asyncio.sleep(_TICK_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._look_now.wait()
            self._look_now.clear()

    async def _tick(self) -> None:
        if not self._known:
            async with self._database.begin() as session:
                await make_known(session, list(self._tasks.values()))
            self._known = True
        await self._fire_due()
        if len(self._running) >= _AT_ONCE:
            return
        async with self._database.begin() as session:
            claims = await firings.claim(
                session, list(self._tasks), host=self._host, lease_s=self._setup.lease_s,
                limit=_AT_ONCE - len(self._running),
            )  # fmt: skip
        for claim in claims:
            self._begin(claim)

    async def _fire_due(self) -> None:
        async with self._database.begin() as session:
            moment, due = await schedules.due(session, list(self._tasks))
            for schedule in due:
                try:
                    rule = rule_of(schedule)
                except BadRuleError as error:
                    log.error("schedule %s does not fire: %s", schedule.name, error)  # noqa: TRY400 - says it all
                    continue
                todo = plan(rule, schedule.next_due, moment, cast(Missed, schedule.missed))
                if todo.fired and schedule.missed != "catch_up":  # what still waits for the one before it was missed
                    await firings.skip_waiting(session, schedule.name)
                await firings.add(
                    session, schedule.name, fired=todo.fired, skipped=todo.skipped, left_out_since=todo.left_out_since
                )
                schedule.next_due = rule.after(moment)

    def _begin(self, claim: Claim) -> None:
        key = (claim.schedule, claim.due_at)
        task = asyncio.get_running_loop().create_task(self._run(claim))
        self._running[key] = task
        task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[str, datetime]) -> None:
        del self._running[key]
        self._look_now.set()

    async def _run(self, claim: Claim) -> None:
        """Do the firing's work and record what came of it."""
        work = asyncio.create_task(self._do(claim))
        renewing = asyncio.create_task(self._renew(claim, work))
        try:
            await asyncio.wait({work})  # and not `await work`: its being cancelled and ours are two things
            await self._end(claim, work)
        finally:
            await end([renewing, work])

    async def _end(self, claim: Claim, work: asyncio.Task[dict[str, Any]]) -> None:
        try:
            outcome = work.result()
        except (asyncio.CancelledError, CutOffError):
            log.warning("the firing of %s due %s was taken over by another scheduler", claim.schedule, claim.due_at)
        except Exception as error:
            log.exception("the firing of %s due %s failed", claim.schedule, claim.due_at)
            again_in_s = None
            if claim.attempt < claim.max_attempts:
                again_in_s = backoff_s(claim.attempt, first_s=self._setup.backoff_s)
            document = error_document(error, claim)
            await self._record(lambda session: firings.fail(session, claim, document, again_in_s=again_in_s))
        else:
            await self._record(lambda session: firings.complete(session, claim, outcome, frequent_s=FREQUENT_S))

    async def _do(self, claim: Claim) -> dict[str, Any]:
        async with asyncio.timeout(claim.timeout_s):
            return await self._tasks[claim.task].task(Work(self._database, self._setup.storage, claim))

    async def _renew(self, claim: Claim, work: asyncio.Task[Any]) -> None:
        """Keep the firing; once it is another's, stop the work."""
        while True:
            await asyncio.sleep(min(_RENEW_S, self._setup.lease_s / 3))
            try:
                async with self._database.begin() as session:
                    ours = await firings.renew(session, claim, lease_s=self._setup.lease_s)
            except (SQLAlchemyError, OSError) as error:  # the work itself finds out whether the database is gone
                log.warning("the firing of %s could not be held: %s", claim.schedule, error)
                continue
            if not ours:
                work.cancel()
                return

    async def _record(self, write: Callable[[AsyncSession], Awaitable[bool]]) -> None:
        """Write the firing's end, also over a short absence of the database; after a longer one it is run again."""
        for last in (False, False, True):
            try:
                async with self._database.begin() as session:
                    await write(session)
            except (SQLAlchemyError, OSError) as error:
                if last:
                    log.warning("the end of a firing could not be recorded, it will be run again: %s", error)
                    return
                await asyncio.sleep(_TICK_S)
            else:
                return


def error_document(error: Exception, claim: Claim) -> dict[str, Any]:
    """The error as a firing keeps it: a stable code, a sentence, the class, and which attempt it was."""
    if isinstance(error, TimeoutError):
        code, message = "timeout", f"it was not done within {claim.timeout_s} s"
    elif isinstance(error, HyvveError):
        code, message = error.code, error.message
    else:
        code, message = "unexpected", f"{type(error).__name__}: {error}"
    return {
        "code": code, "message": message[:_ERROR_LENGTH], "class": type(error).__name__, "attempt": claim.attempt,
    }  # fmt: skip
