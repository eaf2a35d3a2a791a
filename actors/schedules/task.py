"""A periodic task: what it is, what it is given, and when it is due."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import CutOffError
from actors.schedules.timing import Missed, Rule
from storage import firings, schedules
from storage.engine import Database
from storage.errors import ConflictError
from storage.firings import Claim
from storage.settings import StorageSettings


@dataclass(frozen=True, slots=True)
class Work:
    """One firing, to the task that does it."""

    database: Database
    storage: StorageSettings
    claim: Claim

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A unit of work that only the scheduler which still has this firing can commit. Raises `CutOffError`."""
        async with self.database.begin() as session:
            try:
                await firings.hold(session, self.claim)
            except ConflictError as error:
                raise CutOffError(error.message, subject=error.subject) from error
            yield session


Task = Callable[[Work], Awaitable[dict[str, Any]]]
"""Does the work of one firing, and answers what came of it as JSON. It must do no harm when it is run twice: a host
may die in its midst, and the firing is then tried again.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Periodic:
    """A task and its schedule, which bears its name."""

    name: str
    task: Task
    rule: Rule
    missed: Missed = "latest"
    max_attempts: int = 5
    timeout_s: int = 600


async def make_known(session: AsyncSession, periodic: Sequence[Periodic]) -> None:
    """The schedules of this work are stored; what the operator said of them stays."""
    moment = await schedules.clock(session)
    for each in sorted(periodic, key=lambda each: each.name):  # in one order: several schedulers start at once
        await schedules.put(
            session, each.name, next_due=each.rule.after(moment), task=each.name, every_s=each.rule.every_s,
            cron=each.rule.cron, missed=each.missed, max_attempts=each.max_attempts, timeout_s=each.timeout_s,
        )  # fmt: skip
