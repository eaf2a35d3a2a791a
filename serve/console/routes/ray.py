"""On to the place in Ray's dashboard where what a page tells of is done: the actor at work, found when it is asked for,
for one that was started anew has another id.
"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from serve.console.scope import owned_run
from serve.console.session import Visiting
from serve.deps import Given, Services
from storage import run_shards
from storage.errors import NotFoundError

router = APIRouter(prefix="/ray")


@router.get("/runs/{run_id}")
async def of_run(given: Given, visitor: Visiting, run_id: UUID) -> Response:
    """The host that drives the run, or drove it."""
    run = await owned_run(given, visitor, run_id)
    async with given.database.read() as session:
        host = await run_shards.host_of(session, run.shard)
    return await _to_actor(given, host.split(" ")[0] if host else None)


@router.get("/batches")
async def of_batches(given: Given, _: Visiting) -> Response:
    """The runner of verification batches."""
    return await _to_actor(given, "batches")


@router.get("/schedules")
async def of_schedules(given: Given, _: Visiting) -> Response:
    """The scheduler."""
    return await _to_actor(given, "schedules")


async def _to_actor(given: Services, noun: str | None) -> Response:
    """Where the actor is not to be found, to the list of all."""
    if given.serve.dashboard_url is None:
        raise NotFoundError(
            "where the Ray dashboard is found is not known here: set HYVVE_DASHBOARD_URL", subject="", noun="dashboard"
        )
    actor_id = await given.find_actor(noun) if noun else None
    place = f"actors/{actor_id}" if actor_id else "actors"
    return RedirectResponse(f"{given.serve.dashboard_url.rstrip('/')}/#/{place}", 303)
