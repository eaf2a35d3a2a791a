"""`RunHost`: holds a range of shards under an epoch and sees that every run of theirs is driven.

It coordinates and remembers nothing that counts. It is told of runs through PostgreSQL and looks by itself besides, so
a lost word delays a run and never loses it. One that was cut off stops at once, and takes its shards back only when
nobody has been heard of at them for a while.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import orjson
import psycopg
import sqlalchemy.exc
from psycopg import sql
from sqlalchemy import make_url

from actors.runs import retention
from actors.runs.checkpointer import GroupCommitSaver
from actors.runs.driven import RunsCompanion
from actors.runs.driver import Driver
from actors.runs.events import EventPublisher
from actors.runs.group_commit import Guard, Rows
from actors.runs.kinds import Kinds, RunSetup
from actors.runs.rows import EVENTS
from storage import run_shards
from storage.engine import Database, driver_url
from storage.errors import DatabaseUnavailableError
from storage.runs import CHANNEL
from storage.tasks import end

log = logging.getLogger(__name__)

_PAUSE_S = 1.0
# Loading runs, sweeping, beating; steps use the writer's connection. None of it takes long, but for locks of others.
_POOL, _PATIENCE_S = 4, 60.0
_READERS = 2

_AWAY = (DatabaseUnavailableError, psycopg.Error, sqlalchemy.exc.SQLAlchemyError, OSError)


class RunHost:
    """Belongs to the loop it is made in. `close` leaves every run where its rows say it is."""

    def __init__(self, setup: RunSetup, shards: Sequence[int], *, name: str | None = None) -> None:
        self._setup = setup
        self._shards = list(shards)
        self._name = name or f"{socket.gethostname()}"
        self._settings = setup.actors.runs
        self._database = Database(setup.storage.database_url, pool_size=_POOL, patience_s=_PATIENCE_S)
        self._publisher = EventPublisher(setup.storage.redis_url)
        self._kinds: Kinds | None = None
        # Threads that have grown since they were trimmed.
        self._grown: set[str] = set()
        self._has_grown = asyncio.Event()
        self._driver: Driver | None = None
        self.driving = asyncio.Event()
        self._serving = asyncio.get_running_loop().create_task(self._serve(), name=f"run host {self._name}")

    async def has(self, setup: RunSetup) -> bool:
        """Whether this is what it was set up with."""
        return self._setup == setup

    def wake(self, run_id: UUID) -> None:
        """Look at this run now, if it is one of this host's."""
        if self._driver is not None:
            self._driver.attend(run_id)

    async def close(self) -> None:
        await end([self._serving])
        await self._publisher.close()
        if self._kinds is not None:
            await self._kinds.close()
        await self._database.close()

    async def _serve(self) -> None:
        take = True
        while True:
            try:
                if not take:
                    async with self._database.read() as session:
                        take = await run_shards.silent(session, self._shards, for_s=self._settings.silent_s)
                if take:
                    await self._hold()
                    take = False  # whoever cut us off has them now
            except _AWAY as error:
                log.warning("run host %s waits for the database: %s", self._name, error)
            except Exception:
                log.exception("run host %s begins anew", self._name)
            await asyncio.sleep(_PAUSE_S)

    async def _hold(self) -> None:
        """Claim the shards and drive their runs until somebody else claims one of them."""
        if self._kinds is None:
            self._kinds = self._setup.open_kinds(self._setup)
        async with self._database.begin() as session:
            epoch = await run_shards.claim(session, self._shards, self._name)
        guard = Guard(b"SELECT run_fence(%s, %s)", (epoch, len(self._shards)))
        # A thread is trimmed when it has a quarter more than is kept.
        companion = RunsCompanion(self._note_grown, every=max(1, self._settings.kept_checkpoints // 4))
        async with GroupCommitSaver.open(
            self._setup.storage.database_url, guard=guard, readers=_READERS,
            companion=companion, committed=self._committed,
        ) as saver:  # fmt: skip
            driver = self._driver = Driver(
                shards=self._shards, database=self._database, saver=saver, publisher=self._publisher,
                kinds=self._kinds, settings=self._settings,
            )  # fmt: skip
            log.info("run host %s holds %d shards under epoch %d", self._name, len(self._shards), epoch)
            loops = [
                asyncio.create_task(loop)
                for loop in (
                    self._listen(driver),
                    self._repeat(lambda: self._sweep(driver), self._settings.sweep_s, "cannot look for due runs"),
                    self._repeat(lambda: self._beat(driver, epoch), self._settings.beat_s, "cannot say that it lives"),
                    self._repeat(lambda: self._tidy(saver), self._settings.tidy_s, "cannot remove what is old"),
                    self._trim(saver),
                )
            ]
            try:
                await driver.cut_off.wait()
                log.warning("run host %s was cut off from its shards", self._name)
            finally:
                self._driver = None
                self.driving.clear()
                await end(loops)
                await driver.close()

    def _note_grown(self, thread_id: str) -> None:
        self._grown.add(thread_id)
        self._has_grown.set()

    def _committed(self, rows: Rows) -> None:
        """Publish the events that are on disk now."""
        by_run: dict[UUID, list[dict[str, object]]] = {}
        for table, row in rows:
            if table is EVENTS:
                run_id, seq, at, type_, step, data = row
                event = {"seq": seq, "type": type_, "step": step, "at": at.isoformat(), "data": orjson.Fragment(data)}
                by_run.setdefault(run_id, []).append(event)
        for run_id, events in by_run.items():
            self._publisher.publish(run_id, events)

    async def _repeat(self, work: Callable[[], Awaitable[None]], pause_s: float, trouble: str) -> None:
        """Do the work again and again, whatever becomes of it: without these loops runs would stand still."""
        while True:
            try:
                await work()
            except _AWAY as error:
                log.warning("run host %s %s: %s", self._name, trouble, error)
            except Exception:
                log.exception("run host %s %s", self._name, trouble)
            await asyncio.sleep(pause_s)

    async def _listen(self, driver: Driver) -> None:
        url = make_url(driver_url(self._setup.storage.database_url)).set(drivername="postgresql")
        conninfo = url.render_as_string(hide_password=False)
        ours = set(self._shards)

        async def listen() -> None:
            async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                async for word in connection.notifies():
                    shard, _, run_id = word.payload.partition(" ")
                    if int(shard) in ours:
                        driver.attend(UUID(run_id))

        await self._repeat(listen, _PAUSE_S, "is told of nothing and looks by itself")

    async def _sweep(self, driver: Driver) -> None:
        await driver.sweep()
        self.driving.set()

    async def _beat(self, driver: Driver, epoch: int) -> None:
        async with self._database.begin() as session:
            held = await run_shards.seen(session, epoch)
        if held != len(self._shards):
            driver.cut_off.set()

    async def _tidy(self, saver: GroupCommitSaver) -> None:
        await retention.tidy(self._database, saver, self._shards, self._settings)

    async def _trim(self, saver: GroupCommitSaver) -> None:
        async def trim() -> None:
            await self._has_grown.wait()
            self._has_grown.clear()
            while self._grown:
                # What cannot be done now is done when the thread has grown again.
                await retention.trim(self._database, saver, self._grown.pop(), self._settings)

        await self._repeat(trim, 0.0, "cannot trim a thread")
