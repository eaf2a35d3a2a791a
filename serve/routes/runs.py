"""Runs: list them, look into one, follow it live, answer what it waits for, cancel, retry and fork it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from pydantic import AwareDatetime
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response, StreamingResponse

from actors.errors import RunConflictError
from actors.reviews import record
from serve import idempotency, streams, wire
from serve.auth import Principal, Speaker, authorize, principal, require_owner
from serve.deps import Given, IdempotencyKey, Services
from serve.errors import ForbiddenError
from serve.schemas import runs as schemas
from serve.schemas.fields import I64_MAX, Name
from serve.schemas.problems import problems
from storage.runs import ENDED, Run

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/runs", tags=["runs"], dependencies=[Depends(principal)])

RunId = Annotated[UUID, Path(description="the run's id")]
Seq = Annotated[int | None, Query(ge=0, le=I64_MAX, description="only events numbered above it")]
LastEventId = Annotated[
    str | None, Header(description="as `after`: what a client that connects again had received last")
]

# How long the table's absence is waited out before a stream looks again.
_PAUSE_S = 1.0
# As OpenAPI 3.2 (and, before it, FastAPI) describes an event of a stream.
_EVENT = {
    "type": "object",
    "required": ["data", "event"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/EventAnswer"},
        },
    },
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the events, as a stream or, for `Accept: application/json`, as a page",
        "content": {
            "text/event-stream": {"itemSchema": _EVENT},
            "application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/EventAnswer"}}},
        },
    },
    204: {"description": "the run has ended and everything was told: do not connect again"},
}

_RECORD: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "one entry a line, each with `at` and `what` (event, artifact, question, decision, action)",
        "content": {"application/jsonl": {"schema": {"type": "string"}}},
    },
}


@router.get("", response_model=list[schemas.RunSummary], responses=problems(403))
async def list_runs(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    owner: Annotated[Name | None, Query(description="only this wallet's runs")] = None,
    kind: Annotated[Name | None, Query(description="only runs of this kind")] = None,
    status: Annotated[list[schemas.Status] | None, Query(description="only runs of these states")] = None,
    thread_id: Annotated[Name | None, Query(description="only runs of this thread")] = None,
    since: Annotated[AwareDatetime | None, Query(description="only runs accepted then or later")] = None,
    limit: wire.Limit = None,
    after: Annotated[UUID | None, Query(description="the `run_id` that ended the page before")] = None,
) -> Response:
    """Runs that the caller may see, newest first: its wallet's, or the system's where it names no wallet."""
    size = given.page(limit)
    wallet = listed_wallet(caller, owner)
    rows = await given.runs.list(
        owner=wallet, unowned=wallet is None and caller.kind == "anonymous", kind=kind, statuses=status or (),
        thread_id=thread_id, since=since, after=after, limit=size, light=True,
    )  # fmt: skip
    cursor = str(rows[-1].run_id) if rows else None
    return wire.answer([schemas.of_summary(row) for row in rows], headers=wire.next_page(request, rows, size, cursor))


def listed_wallet(caller: Principal, owner: str | None) -> str | None:
    """Whose runs are listed; `None` is the system's, or everybody's for an API key."""
    if owner is not None and caller.wallet is not None and owner != caller.wallet:
        raise ForbiddenError(f"the runs of {owner} belong to another wallet", subject=owner)
    return authorize(caller, owner).wallet


@router.get("/{run_id}", response_model=schemas.RunAnswer, responses=problems(403, 404))
async def get_run(given: Given, *, caller: Speaker, run_id: RunId) -> Response:
    """How a run stands: its step, progress, usage, error, and the questions that it waits for."""
    return wire.answer(schemas.of_run(await _owned(given, caller, run_id)))


@router.get("/{run_id}/checkpoints", response_model=list[schemas.CheckpointAnswer], responses=problems(403, 404))
async def list_checkpoints(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    run_id: RunId,
    limit: wire.Limit = None,
    after: Annotated[Name | None, Query(description="the `checkpoint_id` that ended the page before")] = None,
) -> Response:
    """The run's checkpoints that are still kept, newest first; it can be forked from each."""
    await _owned(given, caller, run_id)
    size = given.page(limit)
    rows = await given.runs.checkpoints(run_id, limit=size, before=after)
    cursor = rows[-1].checkpoint_id if rows else None
    return wire.answer(
        [schemas.of_checkpoint(row) for row in rows], headers=wire.next_page(request, rows, size, cursor)
    )


@router.get("/{run_id}/events", response_model=None, responses={**STREAM, **problems(403, 404)})
async def follow_run(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    run_id: RunId,
    after: Seq = None,
    last_event_id: LastEventId = None,
    limit: wire.Limit = None,
) -> Response:
    """What the run told, and then what it tells, until it ends (Server-Sent Events).

    Each event has its number as `id` and its type as `event`; one that is shown once and not kept has no `id`. A client
    that connects again with `Last-Event-ID` misses nothing that has a number.
    """
    run = await _owned(given, caller, run_id)
    return await told(request, given, run, after=after, last_event_id=last_event_id, limit=limit)


async def told(
    request: Request, given: Services, run: Run, *, after: int | None, last_event_id: str | None, limit: int | None
) -> Response:
    """The run's events as the caller takes them: a stream, or a page of JSON."""
    # Both, where a browser connects again to an address that has `after`: what it received since counts.
    seq = max(_received(last_event_id), after or 0)
    if _wants_json(request):
        size = given.page(limit)
        rows = await given.runs.events(run.run_id, seq, limit=size)
        cursor = str(rows[-1].seq) if rows else None
        return wire.answer(
            [schemas.of_event(run, row) for row in rows], headers=wire.next_page(request, rows, size, cursor)
        )
    if run.status in ENDED and (0 < run.event_seq <= seq or run.retained in ("nothing", "row")):
        # Nothing is to come, which a browser is told so: an empty stream it would open again for ever.
        return Response(status_code=204)
    return streams.EventStream(
        _told(given, run, seq), heartbeat_s=given.serve.heartbeat_s, reconnect_s=given.serve.reconnect_s
    )


def _received(last_event_id: str | None) -> int:
    """The number in a `Last-Event-ID`; one that is none of ours asks for everything."""
    if last_event_id is None or not (last_event_id.isascii() and last_event_id.isdigit()):
        return 0
    return min(int(last_event_id[:20]), I64_MAX)


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and streams.MEDIA_TYPE not in accepted


async def _told(given: Services, run: Run, seq: int) -> AsyncGenerator[bytes, None]:
    """The run's events from after `seq` on, also over an absence of the database. What `run` withholds now, the whole
    stream does.
    """
    while True:
        try:
            async with aclosing(given.runs.follower.follow(run.run_id, seq)) as events:
                async for event in events:
                    seq = seq if event.seq is None else event.seq
                    yield streams.event(event.type, schemas.of_event(run, event), number=event.seq)
        except (SQLAlchemyError, OSError) as error:
            logger.warning("the stream of run %s goes on when the database is back: %s", run.run_id, error)
            await asyncio.sleep(_PAUSE_S)
        else:
            return


@router.get("/{run_id}/record", response_model=None, responses={**_RECORD, **problems(403, 404)})
async def export_record(given: Given, *, caller: Speaker, run_id: RunId) -> Response:
    """The run's record as JSON lines, in the order of time: its events, what its steps made, what people were asked,
    what they decided, and who did what else when. Nothing in it is ever changed.
    """
    await _owned(given, caller, run_id)
    return StreamingResponse(record.lines(given.database, run_id), media_type="application/jsonl")


@router.post("/{run_id}/cancel", status_code=202, response_model=schemas.RunAnswer, responses=problems(403, 404, 409))
async def cancel_run(
    request: Request, given: Given, *, caller: Speaker, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ask for the run's end. What it is doing is stopped within seconds; a run that has ended stays as it is."""
    await _owned(given, caller, run_id)

    async def work(session: AsyncSession) -> idempotency.Answer:
        return 202, schemas.of_run(await given.runs.cancel(run_id, session=session))

    return await idempotency.write(request, given, caller, idempotency_key, sent=b"", work=work)


@router.post("/{run_id}/retry", status_code=202, response_model=schemas.RunAnswer, responses=problems(403, 404, 409))
async def retry_run(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    run_id: RunId,
    body: schemas.Retry | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Go on with a failed or cancelled run from the step that it stopped at. What was done is not done again.

    A run that was given a time to end in is given it anew, counted from now, or `deadline_s` in its place. What it has
    used stays used: one that its budget stopped goes on with a larger `budget`.
    """
    await _owned(given, caller, run_id)
    asked = body or schemas.Retry()

    async def work(session: AsyncSession) -> idempotency.Answer:
        budget = schemas.budget_of(asked.budget)
        run = await given.runs.retry(run_id, deadline_s=asked.deadline_s, budget=budget, session=session)
        return 202, schemas.of_run(run)

    sent = asked.model_dump_json().encode()
    retrying = idempotency.write(request, given, caller, idempotency_key, sent=sent, work=work)
    return await _or_state(given, run_id, retrying)


@router.post("/{run_id}/fork", status_code=201, response_model=schemas.RunAnswer, responses=problems(403, 404, 409))
async def fork_run(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    run_id: RunId,
    body: schemas.Fork | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a new run, on a thread of its own, from a checkpoint of this one; what came after it is done anew.

    `input` is for workflows alone: another kind's fork goes on with what its checkpoint has. Without a `budget` of its
    own it has what was left of the other's there. Runs that ask about a verdict are not forked (409).
    """
    source = await _owned(given, caller, run_id)
    asked = body or schemas.Fork()

    async def forking() -> Response:
        given.runs.check_fork(source, asked.input or {})
        sent = asked.model_dump_json().encode()
        new_run_id = await idempotency.reserved(request, given, caller, idempotency_key, sent=sent)
        budget = schemas.budget_of(asked.budget)
        forked = await given.runs.fork(run_id, asked.checkpoint_id, asked.input, new_run_id=new_run_id, budget=budget)
        return wire.answer(schemas.of_run(forked), 201)

    return await _or_state(given, run_id, forking())


@router.post("/{run_id}/resume", status_code=202, response_model=schemas.RunAnswer, responses=problems(403, 404, 409))
async def resume_run(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    run_id: RunId,
    body: schemas.Answers,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Answer questions that the run waits for, each by its id. All answers are taken or none.

    An answer that comes late, a second time, or to a question of another run is a 409 that says how the run stands.
    """
    await _owned(given, caller, run_id)

    async def work(session: AsyncSession) -> idempotency.Answer:
        return 202, schemas.of_run(await given.runs.resume(run_id, body.answers, by=caller.name, session=session))

    sent = body.model_dump_json().encode()
    resuming = idempotency.write(request, given, caller, idempotency_key, sent=sent, work=work)
    return await _or_state(given, run_id, resuming)


async def _owned(given: Services, caller: Principal, run_id: UUID) -> Run:
    """The run, which is the caller's. Raises `NotFoundError`, or `ForbiddenError`."""
    run = await given.runs.get(run_id)
    require_owner(caller, run.owner, noun="run", subject=str(run_id))
    return run


async def _or_state(given: Services, run_id: UUID, asking: Awaitable[Response]) -> Response:
    """What was asked for; a refusal says how the run stands."""
    try:
        return await asking
    except RunConflictError as error:
        current = await given.runs.get(run_id)
        error.details["state"] = {
            "status": current.status, "step": current.step, "updated_at": current.updated_at,
            "waits_for": waits_for(current),
        }  # fmt: skip
        raise


def waits_for(run: Run) -> Sequence[str]:
    """The ids of the questions that nobody has answered yet."""
    return [each["id"] for each in run.interrupts if each["id"] not in run.resume]
