"""`hyvve schedules`: what is done again and again, told and steered over the database, whether or not Hyvve runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import OperationalError

from actors.schedules.registry import periodic
from actors.schedules.scheduler import rule_of
from actors.schedules.task import make_known
from cluster.embedded_postgres import EmbeddedPostgres
from cluster.errors import ClusterError
from cluster.settings import Settings
from storage import firings, schedules
from storage.engine import Database
from storage.errors import DatabaseUnavailableError, NotFoundError
from storage.firings import UNFINISHED, Firing
from storage.migrations import schema
from storage.schedules import Schedule

T = TypeVar("T")

_POLL_S = 0.2
_COLOURS = {"completed": "green", "failed": "red", "skipped": "yellow", "running": "cyan", "pending": "cyan"}


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Every schedule as a document: its rule, when it is due next, its last firing and what came of it."""

    async def act(database: Database) -> list[dict[str, Any]]:
        async with database.read() as session:
            return [_document(schedule, firing) for schedule, firing in await firings.last_of_each(session)]

    return _done(settings, act)


def set_paused(settings: Settings, name: str, *, paused: bool) -> dict[str, Any]:
    """The schedule, paused or going on. Raises `ClusterError` naming the schedules there are."""

    async def act(database: Database) -> dict[str, Any]:
        async with database.begin() as session:
            if paused:
                return _document(await schedules.pause(session, name), None)
            found = await schedules.get(session, name, lock=True)
            next_due = rule_of(found).after(await schedules.clock(session))
            return _document(await schedules.resume(session, name, next_due), None)

    return _done(settings, act, name)


def run_now(settings: Settings, name: str, *, wait_s: float) -> dict[str, Any]:
    """A firing that is due now, as it is once it has ended, or after `wait_s`. Raises `ClusterError` as above.

    A failed attempt is told at once, for the next may be minutes away.
    """

    async def act(database: Database) -> dict[str, Any]:
        async with database.begin() as session:
            firing = await firings.add_by_hand(session, name)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while firing.state in UNFINISHED and firing.error is None and loop.time() < until:
            await asyncio.sleep(_POLL_S)
            async with database.read() as session:
                firing = await firings.get(session, name, firing.due_at)
        return _firing(firing)

    return _done(settings, act, name)


def show(console: Console, documents: list[dict[str, Any]]) -> None:
    """The schedules as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("schedule", "when", "next", "last", "outcome"):
        table.add_column(title, header_style="dim", overflow="fold")
    for each in documents:
        last = each["last"]
        table.add_row(
            each["name"], each["when"], Text("paused", "yellow") if each["paused"] else _shown(each["next_due"]),
            _shown(last["due_at"]) if last else "never", outcome(last) if last else "",
        )  # fmt: skip
    console.print(table)


def outcome(firing: dict[str, Any]) -> Text:
    """What came of a firing, in a few words."""
    text = Text(firing["state"], _COLOURS.get(firing["state"], ""))
    if firing["error"] is not None:
        text.append(f" (attempt {firing['error'].get('attempt', firing['attempt'])}: {firing['error']['message']})")
    elif firing["outcome"]:
        text.append(f" ({', '.join(f'{name}: {value}' for name, value in firing['outcome'].items())})")
    return text


def _done(settings: Settings, act: Callable[[Database], Awaitable[T]], name: str | None = None) -> T:
    """What `act` answers over the database, in which this version's schedules are known."""

    async def work() -> T:
        database = Database(settings.storage.database_url, pool_size=1)
        try:
            async with database.begin() as session:
                await make_known(session, periodic())
            try:
                return await act(database)
            except NotFoundError as error:
                async with database.read() as session:
                    names = ", ".join(schedule.name for schedule, _ in await firings.last_of_each(session))
                raise ClusterError(f"no schedule is called {name!r}; there are {names}", subject=name) from error
        except OperationalError as error:
            raise DatabaseUnavailableError(
                "PostgreSQL went away; see `hyvve status`", subject="SQLALCHEMY_DATABASE_URL"
            ) from error
        finally:
            await database.close()

    with _reachable(settings):
        return asyncio.run(work())


@contextmanager
def _reachable(settings: Settings) -> Iterator[None]:
    """The database answers and has our tables. An embedded one that was not running is stopped again."""
    if not settings.cluster.embedded_postgres:
        schema.check(settings.storage.database_url)
        yield
        return
    server = EmbeddedPostgres(settings.directory)
    ran = server.process() is not None
    server.start()
    try:
        schema.upgrade(settings.storage.database_url)
        yield
    finally:
        if not ran:
            server.stop()


def _document(schedule: Schedule, last: Firing | None) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "task": schedule.task,
        "when": str(rule_of(schedule)),
        "missed": schedule.missed,
        "paused": schedule.paused,
        "next_due": schedule.next_due.isoformat(),
        "last": None if last is None else _firing(last),
    }


def _firing(firing: Firing) -> dict[str, Any]:
    return {
        "due_at": firing.due_at.isoformat(),
        "by_hand": firing.by_hand,
        "state": firing.state,
        "attempt": firing.attempt,
        "started_at": firing.started_at and firing.started_at.isoformat(),
        "ended_at": firing.ended_at and firing.ended_at.isoformat(),
        "outcome": firing.outcome,
        "error": firing.error,
    }


def _shown(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC"
