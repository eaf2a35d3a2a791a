"""Periodic work for tests: it records each time it is done in a table of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from actors.schedules.scheduler import Scheduler, SchedulerSetup
from actors.schedules.task import Periodic, Work
from actors.schedules.timing import Missed, Rule
from storage import firings, schedules
from storage.engine import Database
from storage.firings import Firing
from storage.settings import StorageSettings


async def make_table(database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("CREATE TABLE done (schedule text, due_at timestamptz, attempt int)"))


async def note(work: Work) -> dict[str, Any]:
    """Done once for this firing: written by who still has it."""
    async with work.begin() as session:
        values = {"schedule": work.claim.schedule, "due_at": work.claim.due_at, "attempt": work.claim.attempt}
        await session.execute(text("INSERT INTO done VALUES (:schedule, :due_at, :attempt)"), values)
    return {"noted": work.claim.attempt}


async def fail_twice(work: Work) -> dict[str, Any]:
    if work.claim.attempt < 3:
        raise RuntimeError("the far end is away")
    return await note(work)


async def fail_always(work: Work) -> dict[str, Any]:
    raise RuntimeError("no way")


async def doze(work: Work) -> dict[str, Any]:
    await asyncio.sleep(4)
    return await note(work)


async def hang(work: Work) -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


HOURLY = Rule(every_s=3600)


def noting(rule: Rule = HOURLY, missed: Missed = "latest") -> tuple[Periodic, ...]:
    return (Periodic(name="note", task=note, rule=rule, missed=missed),)


def setup(storage: StorageSettings, *periodic: Periodic, **options: Any) -> SchedulerSetup:
    return SchedulerSetup(storage=storage, periodic=lambda: periodic, **options)


@asynccontextmanager
async def running(*setups: SchedulerSetup) -> AsyncIterator[list[Scheduler]]:
    schedulers = [Scheduler(each) for each in setups]
    yield schedulers
    await asyncio.gather(*(each.close() for each in schedulers))


async def known(database: Database, *periodic: Periodic, due_ago: timedelta | None = None) -> None:
    """The schedules are stored, as a scheduler stores them, and are due since so long ago."""
    async with database.begin() as session:
        moment = await schedules.clock(session)
        for each in periodic:
            since = each.rule.after(moment) if due_ago is None else each.rule.after(moment - due_ago)
            await schedules.put(
                session, each.name, next_due=since, task=each.name, every_s=each.rule.every_s, cron=each.rule.cron,
                missed=each.missed, max_attempts=each.max_attempts, timeout_s=each.timeout_s,
            )  # fmt: skip


async def by_hand(database: Database, name: str) -> Firing:
    async with database.begin() as session:
        return await firings.add_by_hand(session, name)


async def fired(database: Database, name: str) -> Sequence[Firing]:
    async with database.read() as session:
        return await firings.of_schedule(session, name, limit=10_000)


async def eventually(
    database: Database, name: str, condition: Callable[[Sequence[Firing]], object], *, timeout_s: float = 60
) -> Sequence[Firing]:
    """The schedule's firings, as soon as they are as they should be."""
    found: Sequence[Firing] = ()
    try:
        async with asyncio.timeout(timeout_s):
            while not condition(found := await fired(database, name)):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError([(each.due_at, each.state, each.error) for each in found]) from None
    return found


async def done(database: Database) -> list[Any]:
    async with database.read() as session:
        return list(await session.execute(text("SELECT due_at, attempt FROM done ORDER BY due_at")))
