"""Team runs: start one, look at it, decide what it waits for, follow it, and read its record."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AwareDatetime
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response, StreamingResponse

from actors.errors import ReviewConflictError, TeamRequestError
from actors.kind_names import TEAM_COMPARISON, TEAM_RUN
from actors.reviews import record
from actors.reviews.teams.state import State, state_of
from serve import idempotency, wire
from serve.auth import Principal, Speaker, authorize, owns, principal, require_owner
from serve.deps import Given, IdempotencyKey, Services
from serve.routes.reviews import Reviewer, decider, or_state, seen
from serve.routes.runs import STREAM, LastEventId, Seq, listed_wallet, told
from serve.schemas import teams as schemas
from serve.schemas.fields import Name
from serve.schemas.problems import problems
from storage import callbacks, reviews, runs
from storage.errors import HyvveError
from storage.runs import ENDED, Run

router = APIRouter(prefix="/teams", tags=["team runs"], dependencies=[Depends(principal)])

RunId = Annotated[UUID, Path(description="the run's id")]
BatchId = Annotated[UUID, Path(description="the batch's id")]
JSON_LINES = "application/jsonl"


@router.post(
    "/run",
    response_model=schemas.TeamRunAnswer,
    responses={
        202: {"model": schemas.TeamRunAnswer, "description": "accepted; it goes on, and its address tells how"},
        **problems(403, 409),
    },
)
async def run_team(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    body: schemas.TeamRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run a provider's model under review, and answer once the run is ended or a person is awaited (`reviews` says for
    what), or after a while (202). It is accepted for good before that: a client that goes away ends nothing.
    """
    run = await _start(request, given, caller, body, idempotency_key)
    run = await given.runs.wait(run.run_id, given.serve.run_wait_s)
    goes_on = run.status not in ENDED and not schemas.of_summary(run)["waits_for"]
    return wire.answer(await _whole(given, run), 202 if goes_on else 200, headers=_location(run))


@router.post("/runs", status_code=202, response_model=schemas.TeamRunAnswer, responses=problems(403, 409))
async def start_team_run(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    body: schemas.TeamRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """The same, answered at once."""
    run = await _start(request, given, caller, body, idempotency_key)
    return wire.answer(await _whole(given, run), 202, headers=_location(run))


@router.get("/runs", response_model=list[schemas.TeamRunSummary], responses=problems(403))
async def list_team_runs(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    user_id: Annotated[Name | None, Query(description="only this wallet's runs")] = None,
    state: Annotated[list[State] | None, Query(description="only runs in these states")] = None,
    batch_id: Annotated[UUID | None, Query(description="only runs of this batch")] = None,
    session_id: Annotated[Name | None, Query(description="only runs of this session, as `run_input` named it")] = None,
    comparisons: Annotated[bool, Query(description="comparisons, where it would be runs of one model")] = False,
    since: Annotated[AwareDatetime | None, Query(description="only runs accepted then or later")] = None,
    limit: wire.Limit = None,
    after: Annotated[UUID | None, Query(description="the `run_id` that ended the page before")] = None,
) -> Response:
    """Team runs that the caller may see, newest first: its wallet's, or the system's where it names no wallet."""
    size = given.page(limit)
    wallet = listed_wallet(caller, user_id)
    rows = await given.teams.page(
        owner=wallet, unowned=wallet is None and caller.kind == "anonymous", states=state or (),
        parent_run_id=batch_id, session_id=session_id, since=since, after=after, limit=size,
        of_kind=TEAM_COMPARISON if comparisons else TEAM_RUN,
    )  # fmt: skip
    cursor = str(rows[-1].run_id) if rows else None
    return wire.answer([schemas.of_summary(row) for row in rows], headers=wire.next_page(request, rows, size, cursor))


@router.get("/runs/{run_id}", response_model=schemas.TeamRunAnswer, responses=problems(403, 404))
async def get_team_run(given: Given, *, caller: Speaker, run_id: RunId) -> Response:
    """How the run stands, what it waits for, and what came of it."""
    return wire.answer(await _whole(given, await _owned(given, caller, run_id)))


class _Decided:
    """Decides what a run waits for, in the name of the request that it is made from. A reviewer whom the run does not
    belong to is told of it what a reviewer may know.
    """

    def __init__(
        self,
        request: Request,
        given: Given,
        *,
        caller: Speaker,
        reviewer: Reviewer = None,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        self._request = request
        self._given = given
        self._caller = caller
        self._reviewer = reviewer
        self._key = idempotency_key

    async def __call__(
        self, run_id: UUID, body: schemas.ApproveIn | schemas.EditIn | schemas.RejectIn | schemas.RespondIn
    ) -> Response:
        given = self._given
        by = decider(self._caller, body.reviewer or self._reviewer)
        review = await seen(given, self._caller, by, body.review_id)
        run = await given.teams.get(run_id)
        if review.run_id != run_id:
            # How a run stands is its owner's to know, not every reviewer's.
            require_owner(self._caller, run.owner, noun="run", subject=str(run_id))
            raise _conflict(run, f"review {body.review_id} is of another run than {run_id}", conflict="foreign")

        async def work(session: AsyncSession) -> idempotency.Answer | HyvveError:
            voice = self._caller.voice
            taken = await given.reviews.take(session, body.review_id, body.decision(), by=by, voice=voice)
            if isinstance(taken, HyvveError):
                return taken
            run = await runs.get(session, run_id)
            if owns(self._caller, run.owner):
                return 200, await _told(session, run)
            whole = await given.reviews.whole(body.review_id, session=session)
            return 200, schemas.of_decided(run, whole, by)

        sent = orjson.dumps([by, body.model_dump(mode="json")])
        deciding = idempotency.write(self._request, given, self._caller, self._key, sent=sent, work=work)
        return await or_state(given, body.review_id, deciding)


Deciding = Annotated[_Decided, Depends()]
Decided = schemas.TeamRunAnswer | schemas.DecidedAnswer


@router.post("/runs/{run_id}/approve", response_model=Decided, responses=problems(403, 404, 409))
async def approve_team_run(decide: Deciding, run_id: RunId, body: schemas.ApproveIn) -> Response:
    """Let what the run waits with go on as it is. A late, foreign or repeated decision is a 409 with the present state;
    so for all four decisions, which are those of `POST /teams/reviews/{review_id}/decide`. Whom the run belongs to is
    answered with the run, another reviewer with how it stands and the review.
    """
    return await decide(run_id, body)


@router.post("/runs/{run_id}/edit", response_model=Decided, responses=problems(403, 404, 409))
async def edit_team_run(decide: Deciding, run_id: RunId, body: schemas.EditIn) -> Response:
    """Let it go on as `payload` says. It is held against the model's schema before it is taken (422 with the path)."""
    return await decide(run_id, body)


@router.post("/runs/{run_id}/reject", response_model=Decided, responses=problems(403, 404, 409))
async def reject_team_run(decide: Deciding, run_id: RunId, body: schemas.RejectIn) -> Response:
    """End the run for good, with the reason: what was not sent yet never is."""
    return await decide(run_id, body)


@router.post("/runs/{run_id}/respond", response_model=Decided, responses=problems(403, 404, 409))
async def respond_to_team_run(decide: Deciding, run_id: RunId, body: schemas.RespondIn) -> Response:
    """Send it back with a message, which goes into the form or, after the call, into another try of it."""
    return await decide(run_id, body)


@router.post(
    "/runs/{run_id}/cancel", status_code=202, response_model=schemas.TeamRunAnswer, responses=problems(403, 404, 409)
)
async def cancel_team_run(
    request: Request, given: Given, *, caller: Speaker, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ask for the run's end; a job at the provider is stopped there. A run that has ended is a 409 with its state."""
    await _owned(given, caller, run_id)

    async def work(session: AsyncSession) -> idempotency.Answer:
        run = await given.runs.cancel(run_id, session=session)
        if run.status in ENDED:
            raise _conflict(run, f"run {run_id} is {run.status} already")
        return 202, await _told(session, run)

    return await idempotency.write(request, given, caller, idempotency_key, sent=b"", work=work)


@router.get("/runs/{run_id}/callbacks", response_model=list[schemas.CallbackAnswer], responses=problems(403, 404))
async def list_callbacks(given: Given, *, caller: Speaker, run_id: RunId) -> Response:
    """What the run's `callback_url` was and is told, in order: the first thousand."""
    await _owned(given, caller, run_id)
    async with given.database.read() as session:
        found = await callbacks.of_run(session, run_id)
    return wire.answer([schemas.of_callback(each) for each in found])


@router.post(
    "/runs/{run_id}/callbacks/{callback_id}/resend",
    status_code=202,
    response_model=schemas.CallbackAnswer,
    responses=problems(403, 404, 409),
)
async def resend_callback(
    given: Given, *, caller: Speaker, run_id: RunId, callback_id: Annotated[UUID, Path(description="the callback's id")]
) -> Response:
    """Send what was given up or delivered again: the same under the same `webhook-id`. One that is still being tried is
    a 409.
    """
    await _owned(given, caller, run_id)
    async with given.database.begin() as session:
        found = await callbacks.resend(session, run_id, callback_id)
    return wire.answer(schemas.of_callback(found), 202)


@router.get("/runs/{run_id}/events", response_model=None, responses={**STREAM, **problems(403, 404)})
async def follow_team_run(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    run_id: RunId,
    after: Seq = None,
    last_event_id: LastEventId = None,
    limit: wire.Limit = None,
) -> Response:
    """What the run told and tells, as `GET /runs/{run_id}/events`."""
    run = await _owned(given, caller, run_id)
    return await told(request, given, run, after=after, last_event_id=last_event_id, limit=limit)


@router.get(
    "/runs/{run_id}/record",
    response_class=Response,
    responses={200: {"content": {JSON_LINES: {"schema": {"type": "string"}}}}, **problems(403, 404)},
)
async def read_record(given: Given, *, caller: Speaker, run_id: RunId) -> Response:
    """The run's whole record, one JSON document a line, in the order of time: steps, artifacts, decisions, actions."""
    await _owned(given, caller, run_id)

    headers = {"Content-Disposition": f'attachment; filename="{run_id}.jsonl"'}
    return StreamingResponse(record.lines(given.database, run_id), media_type=JSON_LINES, headers=headers)


@router.get("/providers", response_model=list[dict[str, Any]], responses=problems())
async def list_providers(given: Given) -> Response:
    """The AI providers: what each can do here and now, its models, and what one that cannot be used lacks."""
    return wire.answer([schemas.of_provider(each) for each in await given.teams.providers.capabilities()])


@router.post("/batches", status_code=202, response_model=schemas.BatchAnswer, responses=problems(403, 409))
async def start_batch(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    body: schemas.BatchRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a run for each input under one policy, all of them or none."""
    wallets = sorted({each.user_id for each in body.inputs if each.user_id is not None})
    if len(wallets) > 1:
        said = "one batch belongs to one wallet; these inputs name several"
        raise TeamRequestError(f"$.inputs: {said}", errors=[{"path": "$.inputs", "message": said, "code": "wallets"}])
    caller = authorize(caller, wallets[0] if wallets else None)
    batch_id = await idempotency.reserved(request, given, caller, idempotency_key, sent=body.model_dump_json().encode())
    await given.teams.start_batch(body.inputs, body.hitl_config, owner=caller.wallet, batch_id=batch_id)
    found = await given.teams.batch(batch_id)
    return wire.answer(schemas.of_batch(batch_id, found), 202, headers={"Location": f"/teams/batches/{batch_id}"})


@router.get("/batches/{batch_id}", response_model=schemas.BatchAnswer, responses=problems(403, 404))
async def get_batch(given: Given, *, caller: Speaker, batch_id: BatchId) -> Response:
    """How a batch stands."""
    found = await given.teams.batch(batch_id)
    require_owner(caller, found[0].owner, noun="batch", subject=str(batch_id))
    return wire.answer(schemas.of_batch(batch_id, found))


@router.post("/comparisons", status_code=202, response_model=schemas.TeamRunAnswer, responses=problems(403, 409))
async def start_comparison(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    body: schemas.ComparisonRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask several models the same, and a person which answer is better: shown as A, B, … and never by whom. It is a run
    like others (`GET /teams/runs/{run_id}`), and its pick an edit of its review: `{"choice": "A"}`.
    """
    caller = authorize(caller, body.run_input.user_id)
    run_id = await idempotency.reserved(request, given, caller, idempotency_key, sent=body.model_dump_json().encode())
    run = await given.teams.start_comparison(
        body.run_input, body.candidates, body.hitl_config, owner=caller.wallet, run_id=run_id
    )
    return wire.answer(await _whole(given, run), 202, headers=_location(run))


async def _start(
    request: Request, given: Services, caller: Principal, body: schemas.TeamRequest, key: str | None
) -> Run:
    caller = authorize(caller, body.run_input.user_id)
    run_id = await idempotency.reserved(request, given, caller, key, sent=body.model_dump_json().encode())
    return await given.teams.start(body.run_input, body.hitl_config, owner=caller.wallet, run_id=run_id)


async def _owned(given: Services, caller: Principal, run_id: UUID) -> Run:
    """The run, which is the caller's. Raises `NotFoundError`, or `ForbiddenError`."""
    run = await given.teams.get(run_id)
    require_owner(caller, run.owner, noun="run", subject=str(run_id))
    return run


async def _whole(given: Services, run: Run) -> dict[str, Any]:
    async with given.database.read() as session:
        return await _told(session, run)


async def _told(session: AsyncSession, run: Run) -> dict[str, Any]:
    sent = await callbacks.of_run(session, run.run_id)
    asked = await reviews.of_interrupts(session, run.run_id, [each["id"] for each in run.interrupts])
    return schemas.of_run(run, sent, {each.review_id: each for each in asked.values()})


def _conflict(run: Run, message: str, conflict: str = "late") -> ReviewConflictError:
    state = {"status": run.status, "state": state_of(run), "updated_at": run.updated_at}
    return ReviewConflictError(message, subject=str(run.run_id), state=state, conflict=conflict)


def _location(run: Run) -> dict[str, str]:
    return {"Location": f"/teams/runs/{run.run_id}"}
