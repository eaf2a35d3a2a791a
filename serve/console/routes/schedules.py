"""Schedules: what is done again and again, when it is due, what came of it; run now, pause, go on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from actors.schedules.scheduler import rule_of
from serve.console.live import changes
from serve.console.pages import page, quoted, to
from serve.console.session import Visiting, Visitor
from serve.deps import Given, Services
from serve.errors import ForbiddenError
from serve.schemas.fields import Name
from storage import firings, schedules
from storage.firings import UNFINISHED

router = APIRouter(prefix="/schedules")

_FIRINGS = 30

ScheduleName = Annotated[Name, Path()]


@router.get("")
async def list_schedules(request: Request, given: Given, _: Visiting) -> Response:
    async with given.database.read() as session:
        rows = await firings.last_of_each(session)
    found = [(schedule, str(rule_of(schedule)), firing) for schedule, firing in rows]
    return page(request, "schedules.html", schedules=found, unfinished=UNFINISHED)


@router.get("/live")
async def live(request: Request, given: Given, _: Visiting) -> Response:
    return changes(request, given, "schedules", lambda: _standing(given))


async def _standing(given: Services) -> Any:
    async with given.database.read() as session:
        return [
            [each.name, each.paused, each.next_due, firing and [firing.due_at, firing.state, firing.attempt]]
            for each, firing in await firings.last_of_each(session)
        ]


@router.get("/{name}")
async def schedule_page(request: Request, given: Given, _: Visiting, name: ScheduleName) -> Response:
    async with given.database.read() as session:
        schedule = await schedules.get(session, name)
        rows = await firings.of_schedule(session, name, limit=_FIRINGS)
    return page(request, "schedule.html", schedule=schedule, rule=str(rule_of(schedule)), firings=rows)


@router.post("/{name}/run")
async def run_now(request: Request, given: Given, visitor: Visiting, name: ScheduleName) -> Response:
    _require_may_steer(visitor, name)
    async with given.database.begin() as session:
        await firings.add_by_hand(session, name)
    return to(request, f"/schedules/{quoted(name)}")


@router.post("/{name}/pause")
async def pause(request: Request, given: Given, visitor: Visiting, name: ScheduleName) -> Response:
    _require_may_steer(visitor, name)
    async with given.database.begin() as session:
        await schedules.pause(session, name)
    return to(request, f"/schedules/{quoted(name)}")


@router.post("/{name}/resume")
async def resume(request: Request, given: Given, visitor: Visiting, name: ScheduleName) -> Response:
    _require_may_steer(visitor, name)
    async with given.database.begin() as session:
        schedule = await schedules.get(session, name, lock=True)
        next_due = rule_of(schedule).after(await schedules.clock(session))
        await schedules.resume(session, name, next_due)
    return to(request, f"/schedules/{quoted(name)}")


def _require_may_steer(visitor: Visitor, name: str) -> None:
    """Raises `ForbiddenError`: a schedule works for all wallets, so none of them alone stops it."""
    if not visitor.runs_the_system:
        raise ForbiddenError(
            f"schedule {name} works for all wallets: sign in with an API key and without a wallet to steer it",
            subject=name,
        )
