"""Workflows: which there are, what one looks like, and running it from its page."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Form, Path, Query, Request
from starlette.responses import Response

from actors.agents import builtin
from actors.agents.definition import WorkflowDefinition
from actors.agents.documents import MAX_DEPTH, depth_of, unstorable
from actors.errors import RunInputError
from serve.console.graph import condition_words, drawn
from serve.console.pages import page, to
from serve.console.session import Visiting
from serve.deps import Given
from serve.schemas.fields import Name
from storage import workflows
from storage.errors import HyvveError
from storage.ids import new_id
from storage.workflows import Workflow

router = APIRouter(prefix="/workflows")

_PAGE = 50
_INPUT = "input."

WorkflowId = Annotated[Name, Path()]


@router.get("")
async def list_workflows(
    request: Request,
    given: Given,
    visitor: Visiting,
    *,
    wallet: Annotated[str | None, Query(max_length=300)] = None,
    after: UUID | None = None,
) -> Response:
    """Hyvve's own, and those of the visitor's wallet, or of any that is named, as the API lists them."""
    whose = wallet or visitor.wallet
    rows: list[Workflow] = []
    if whose is not None:
        rows = list(await given.workflows.of_wallet(whose, limit=_PAGE + 1, after=after))
    elif visitor.sees_all:
        async with given.database.read() as session:
            rows = list(await workflows.newest(session, limit=_PAGE + 1, after=after))
    shown = rows[:_PAGE]
    return page(
        request, "workflows.html", workflows=shown, own=list(builtin.BUILT_IN.values()), wallet=wallet or "",
        whose=whose, after=after, more=shown[-1].workflow_id if len(rows) > _PAGE else None,
    )  # fmt: skip


@router.get("/{workflow_id_api}")
async def workflow_page(request: Request, given: Given, _: Visiting, workflow_id_api: WorkflowId) -> Response:
    workflow = await given.workflows.get(workflow_id_api)
    return _page(request, workflow)


@router.post("/{workflow_id_api}/run")
async def run_workflow(
    request: Request,
    given: Given,
    visitor: Visiting,
    *,
    workflow_id_api: WorkflowId,
    run_id: Annotated[UUID, Form()],
    task_description: Annotated[str, Form(max_length=50_000)] = "",
    scratchpad: Annotated[str, Form(max_length=1_000_000)] = "",
) -> Response:
    """Start a run of it and show that. The form brings the run's id, so that one sent twice starts one run."""
    workflow = await given.workflows.get(workflow_id_api)
    form = await request.form()
    inputs = {
        name.removeprefix(_INPUT): str(value)
        for name, value in form.items()
        if name.startswith(_INPUT) and isinstance(value, str)
    }
    filled = {"task_description": task_description, "scratchpad": scratchpad, **inputs}
    try:
        pad = {**_pad(scratchpad), **{name: _value(value) for name, value in inputs.items() if value.strip()}}
        _bounded(task_description, pad)
        run = await given.workflow_runs.start(
            workflow, task_description, initial_scratchpad=pad, owner=visitor.wallet, run_id=run_id
        )
    except RunInputError as error:
        return _page(request, workflow, fault=error, filled=filled, status=422)
    return to(request, f"/runs/{run.run_id}")


def _page(
    request: Request,
    workflow: Workflow,
    *,
    fault: HyvveError | None = None,
    filled: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    definition = WorkflowDefinition.model_validate(workflow.payload)
    return page(
        request, "workflow.html", status=status, workflow=workflow, definition=definition, graph=drawn(definition),
        words=condition_words, fault=fault, filled=filled or {}, run_id=new_id(),
        own=workflow.wallet_address == builtin.SYSTEM_WALLET,
        input_prefix=_INPUT,
    )  # fmt: skip


def _pad(written: str) -> dict[str, Any]:
    if not written.strip():
        return {}
    try:
        value = orjson.loads(written)
    except orjson.JSONDecodeError as error:
        raise _refused("scratchpad", f"is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise _refused("scratchpad", 'must be a JSON object, as in {"key": "value"}')
    return value


def _value(written: str) -> Any:
    """JSON where it is some, else the text as it stands: people write words without quotes."""
    try:
        return orjson.loads(written)
    except orjson.JSONDecodeError:
        return written


def _bounded(task: str, pad: dict[str, Any]) -> None:
    if depth_of(pad) > MAX_DEPTH:
        raise _refused("scratchpad", f"is nested deeper than {MAX_DEPTH} levels")
    if reason := unstorable([task, pad]):
        raise _refused("scratchpad", reason)


def _refused(field: str, message: str) -> RunInputError:
    return RunInputError(f"{field}: {message}", errors=[{"path": f"$.{field}", "message": message, "code": "invalid"}])
