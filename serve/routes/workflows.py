"""Agent workflows: define, change and remove them, see which language models there are, and run one."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from actors.agents import builtin
from actors.errors import DefinitionFaultsError
from serve import idempotency, wire
from serve.auth import Caller, Speaker, authorize, principal, require_owner
from serve.deps import Given, IdempotencyKey, Services
from serve.errors import ForbiddenError
from serve.schemas import workflows as schemas
from serve.schemas.fields import Name
from serve.schemas.problems import problems
from serve.schemas.runs import budget_of
from storage import workflows

router = APIRouter(prefix="/agent-workflows", tags=["agent workflows"], dependencies=[Depends(principal)])

WorkflowId = Annotated[Name, Path(description="the `workflow_id_api` that defining it answered")]
Wallet = Annotated[Name, Path(description="a wallet address")]
After = Annotated[UUID | None, Query(description="the cursor of the page before, from its `Link` header")]
Prefer = Annotated[
    str | None,
    Header(description="`respond-async` answers at once, `wait=N` after N seconds at most (RFC 7240)"),
]

_PAYLOAD = "$.definition_payload"
_WAIT = re.compile(r"\s*wait\s*=\s*\"?(\d{1,6})\"?\s*")


@router.post("/define", status_code=201, response_model=schemas.WorkflowAnswer, responses=problems(403, 409))
async def define_workflow(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    body: schemas.WorkflowDefinitionIn,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Save a workflow. A fault is a 422 that names each by its JSON path."""
    _check(given, body)
    caller = authorize(caller, body.wallet_address)

    async def work(session: AsyncSession) -> idempotency.Answer:
        made = await workflows.create(session, wallet=body.wallet_address, name=body.name, payload=_payload(body))
        return 201, schemas.of_workflow(made)

    return await idempotency.write(request, given, caller, idempotency_key, sent=_sent(body), work=work)


@router.get("/llms", response_model=list[schemas.LLMAnswer], responses=problems())
async def list_llms(given: Given) -> Response:
    """The language models that agents may choose: which can be used now, and what the others lack."""
    return wire.answer([schemas.of_llm(info) for info in given.llms.available()])


@router.get("/by-wallet/{wallet}", response_model=list[schemas.WorkflowAnswer], responses=problems())
async def list_workflows(
    request: Request, given: Given, *, wallet: Wallet, limit: wire.Limit = None, after: After = None
) -> Response:
    """A wallet's workflows, newest first; of an unknown one, none. Those that Hyvve brings along are `system`'s."""
    size = given.page(limit)
    rows = await given.workflows.of_wallet(wallet, limit=size, after=after)
    last = rows[-1].workflow_id if rows else None
    headers = wire.next_page(request, rows, size, None if last is None else str(last))
    return wire.answer([schemas.of_workflow(row) for row in rows], headers=headers)


@router.get("/{workflow_id_api}", response_model=schemas.WorkflowAnswer, responses=problems(404))
async def get_workflow(given: Given, workflow_id_api: WorkflowId) -> Response:
    """A workflow as it is now. Those that Hyvve brings along are found by their names too."""
    return wire.answer(schemas.of_workflow(await given.workflows.get(workflow_id_api)))


@router.put("/{workflow_id_api}", response_model=schemas.WorkflowAnswer, responses=problems(403, 404, 409))
async def replace_workflow(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    workflow_id_api: WorkflowId,
    body: schemas.WorkflowDefinitionIn,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Save a further version. Runs under way keep the one they began with; the id stays, also under another name."""
    _require_changeable(workflow_id_api)
    _check(given, body)
    caller = authorize(caller, body.wallet_address)

    async def work(session: AsyncSession) -> idempotency.Answer:
        row = await workflows.head(session, workflow_id_api, lock=True)
        require_owner(caller, row.wallet_address, noun="workflow", subject=workflow_id_api)
        return 200, schemas.of_workflow(await workflows.replace(session, row, name=body.name, payload=_payload(body)))

    return await idempotency.write(request, given, caller, idempotency_key, sent=_sent(body), work=work)


@router.delete("/{workflow_id_api}", status_code=204, response_class=Response, responses=problems(403, 404))
async def remove_workflow(given: Given, *, caller: Speaker, workflow_id_api: WorkflowId) -> Response:
    """Remove a workflow. Runs under way go on, and earlier ones can still be looked at."""
    _require_changeable(workflow_id_api)
    async with given.database.begin() as session:
        row = await workflows.head(session, workflow_id_api, lock=True)
        # Existing clients name no wallet here, and wallets are unproved: only who names another one is refused.
        if caller.wallet is not None:
            require_owner(caller, row.wallet_address, noun="workflow", subject=workflow_id_api)
        await workflows.remove(session, row)
    return Response(status_code=204)


@router.post(
    "/run/{workflow_id_api}",
    response_model=schemas.RunOutcome,
    responses={
        202: {"model": schemas.RunOutcome, "description": "accepted; it goes on, and its run tells how"},
        **problems(403, 404, 409),
    },
)
async def run_workflow(
    request: Request,
    given: Given,
    *,
    caller: Speaker,
    workflow_id_api: WorkflowId,
    body: schemas.RunRequest,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run a workflow on a task. It is accepted for good before anything is answered: a client that goes away, or a
    service that restarts, ends nothing.

    Answers once the run is ended or a person is awaited, or after a while with PENDING (202): then follow
    `GET /runs/{run_id}`. A run that fails is a 200 of status ERROR with what it has; it can be retried from there.
    """
    caller = authorize(caller, body.wallet_address)
    workflow = await given.workflows.get(workflow_id_api)
    sent = body.model_dump_json().encode()
    run_id = await idempotency.reserved(request, given, caller, idempotency_key, sent=sent)
    owner = caller.wallet
    if body.thread_id is not None and (last := await given.workflow_runs.last_on(body.thread_id)) is not None:
        require_owner(caller, last.owner, noun="thread", subject=body.thread_id)
        # A key that acts for all goes on for whose thread it is.
        owner = owner or last.owner
    await given.workflow_runs.start(
        workflow,
        body.task_description,
        initial_scratchpad=body.initial_scratchpad,
        thread_id=body.thread_id,
        owner=owner,
        run_id=run_id,
        queue=body.queue,
        deadline_s=body.deadline_s,
        budget=budget_of(body.budget),
    )
    wait_s, preferred = _wait_s(prefer, given.serve.run_wait_s)
    outcome = await given.workflow_runs.outcome(run_id, wait_s=wait_s)
    status = 202 if outcome.status == "PENDING" else 200
    headers = {} if preferred is None else {"Preference-Applied": preferred}
    return wire.answer(schemas.of_outcome(outcome), status, headers={**headers, "Location": f"/runs/{run_id}"})


def _wait_s(prefer: str | None, most: float) -> tuple[float, str | None]:
    """How long to wait, and the preference that was heeded."""
    for each in (prefer or "").split(","):
        if each.strip().lower() == "respond-async":
            return 0.0, "respond-async"
    for each in re.split("[,;]", prefer or ""):
        if found := _WAIT.fullmatch(each):
            return min(float(found[1]), most), each.strip()
    return most, None


def _check(given: Services, body: schemas.WorkflowDefinitionIn) -> None:
    """Raises `DefinitionFaultsError` whose paths begin at the body's root, and `ForbiddenError`."""
    if body.wallet_address == builtin.SYSTEM_WALLET:
        raise ForbiddenError(f"the wallet {builtin.SYSTEM_WALLET!r} is Hyvve's own; name yours", subject=body.name)
    try:
        given.workflows.check(body.definition_payload)
    except DefinitionFaultsError as error:
        placed = [
            {**each, "in": "body", "path": f"{_PAYLOAD}{each['path'].removeprefix('$')}"}
            for each in error.details["errors"]
        ]
        sentence = "; ".join(f"{each['path']}: {each['message']}" for each in placed[:5])
        raise DefinitionFaultsError(sentence, subject=body.name, errors=placed) from None


def _require_changeable(workflow_id_api: str) -> None:
    if builtin.find(workflow_id_api) is not None:
        raise ForbiddenError(
            f"workflow {workflow_id_api!r} is Hyvve's own: define a fork of it under your wallet",
            subject=workflow_id_api,
        )


def _payload(body: schemas.WorkflowDefinitionIn) -> dict[str, Any]:
    return body.definition_payload.model_dump(mode="json")


def _sent(body: schemas.WorkflowDefinitionIn) -> bytes:
    return body.model_dump_json().encode()
