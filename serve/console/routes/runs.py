"""Runs: found by how they stand, and one of them from its first step to its last, as it happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Header, Query, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from actors.errors import RunConflictError
from actors.reviews.teams import blindness
from serve import streams
from serve.console.live import changes
from serve.console.pages import page, to
from serve.console.routes.overview import stands
from serve.console.scope import Scope, owned_run
from serve.console.session import Visiting
from serve.console.timeline import timeline, told
from serve.deps import Given, Services
from serve.schemas.fields import I64_MAX, Name
from storage import reviews
from storage.clock import now
from storage.runs import ENDED, STATUSES, Run

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/runs")

_PAGE = 50
# Of one run, the newest; the API gives all of them.
_EVENTS = 1_000
_CHECKPOINTS = 50
_PAUSE_S = 1.0

Status = Annotated[str | None, Query(max_length=20)]
Kind = Annotated[str | None, Query(max_length=200)]
Thread = Annotated[str | None, Query(max_length=300)]
# Of a form, whose field may have been left empty.
Batch = Annotated[UUID | Literal[""] | None, Query()]


@router.get("")
async def list_runs(
    request: Request,
    given: Given,
    visitor: Visiting,
    *,
    status: Status = None,
    kind: Kind = None,
    thread: Thread = None,
    batch: Batch = None,
    after: UUID | None = None,
) -> Response:
    chosen = _chosen(status, kind, thread, batch)
    rows = await given.runs.list(**Scope.of(visitor).filters, **chosen, after=after, limit=_PAGE + 1, light=True)
    shown = rows[:_PAGE]
    return page(
        request, "runs.html", runs=shown, more=shown[-1].run_id if len(rows) > _PAGE else None, after=after,
        state=status or "", kind=kind or "", thread=thread or "", batch=batch or "", statuses=STATUSES,
    )  # fmt: skip


@router.get("/live")
async def live(
    request: Request,
    given: Given,
    visitor: Visiting,
    *,
    status: Status = None,
    kind: Kind = None,
    thread: Thread = None,
    batch: Batch = None,
) -> Response:
    scope, chosen = Scope.of(visitor), _chosen(status, kind, thread, batch)

    async def standing() -> Any:
        return [stands(run) for run in await given.runs.list(**scope.filters, **chosen, limit=_PAGE, light=True)]

    return changes(request, given, f"runs {scope.key} {chosen}", standing)


def _chosen(status: str | None, kind: str | None, thread: str | None, batch: UUID | str | None) -> dict[str, Any]:
    # A field of a form that was left empty is sent as such.
    return {
        "statuses": (status,) if status in STATUSES else (), "kind": kind or None, "thread_id": thread or None,
        "parent_run_id": batch or None,
    }  # fmt: skip


@router.get("/{run_id}")
async def run_page(request: Request, given: Given, visitor: Visiting, run_id: UUID) -> Response:
    run = await owned_run(given, visitor, run_id)
    events = await given.runs.events(run_id, max(0, run.event_seq - _EVENTS), limit=_EVENTS)
    checkpoints = await given.runs.checkpoints(run_id, limit=_CHECKPOINTS)
    asked = [each for each in run.interrupts if each["id"] not in run.resume]
    async with given.database.read() as session:
        questions = await reviews.of_interrupts(session, run_id, [each["id"] for each in asked])
    events = [each for each in events if blindness.is_told(run, each)]
    line = timeline(events, until=run.ended_at or now())
    return page(
        request, "run.html", run=run, line=line, events=list(reversed(events)), told=told, checkpoints=checkpoints,
        asked=asked, questions=questions, given=blindness.input_of(run), usage=blindness.usage_of(run),
        withheld=blindness.withheld(run), forked=_is_forked(given, run),
        ended=run.status in ENDED, left_out=max(0, run.event_seq - _EVENTS),
    )  # fmt: skip


def _is_forked(given: Services, run: Run) -> bool:
    """Whether it may be forked as it was: some kinds never are, a comparison not before its end."""
    try:
        given.runs.check_fork(run, {})
    except RunConflictError:
        return False
    return True


@router.get("/{run_id}/events")
async def follow_run(
    given: Given,
    visitor: Visiting,
    *,
    run_id: UUID,
    after: Annotated[int, Query(ge=0, le=I64_MAX)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """That the run told something, and its tokens as they come; what it told is asked for as the page that shows it."""
    run = await owned_run(given, visitor, run_id)
    seen = int(last_event_id[:18]) if last_event_id and last_event_id.isascii() and last_event_id.isdigit() else 0
    seq = max(after, seen)
    if run.status in ENDED and run.event_seq <= seq:
        return Response(status_code=204)
    return streams.EventStream(
        _told(given, run, seq), heartbeat_s=given.serve.heartbeat_s, reconnect_s=given.serve.reconnect_s
    )


async def _told(given: Services, run: Run, seq: int) -> AsyncGenerator[bytes, None]:
    yield streams.event("ready", {}, number=None)
    while True:
        try:
            async with aclosing(given.runs.follower.follow(run.run_id, seq)) as events:
                async for event in events:
                    if event.seq is not None:
                        seq = event.seq
                        yield streams.event("changed", {"type": event.type}, number=seq)
                    elif not blindness.is_told(run, event):
                        continue
                    elif isinstance(text := event.data.get("text", event.data.get("token")), str):
                        yield streams.event("token", {"step": event.step or "", "text": text}, number=None)
        except (SQLAlchemyError, OSError) as error:
            logger.warning("the page of run %s goes on when the database is back: %s", run.run_id, error)
            await asyncio.sleep(_PAUSE_S)
        else:
            yield streams.event("over", {}, number=None)
            return


@router.post("/{run_id}/cancel")
async def cancel_run(request: Request, given: Given, visitor: Visiting, run_id: UUID) -> Response:
    await owned_run(given, visitor, run_id)
    await given.runs.cancel(run_id)
    return to(request, f"/runs/{run_id}")


@router.post("/{run_id}/retry")
async def retry_run(request: Request, given: Given, visitor: Visiting, run_id: UUID) -> Response:
    await owned_run(given, visitor, run_id)
    await given.runs.retry(run_id)
    return to(request, f"/runs/{run_id}")


@router.post("/{run_id}/fork")
async def fork_run(
    request: Request,
    given: Given,
    visitor: Visiting,
    run_id: UUID,
    checkpoint_id: Annotated[Name | None, Form()] = None,
) -> Response:
    await owned_run(given, visitor, run_id)
    made: Run = await given.runs.fork(run_id, checkpoint_id)
    return to(request, f"/runs/{made.run_id}")
