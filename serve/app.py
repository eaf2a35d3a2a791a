"""The API: routes, errors and middleware put together over services that the caller made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware

from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.tools.registry import TOOLS
from actors.agents.validation import known_among
from actors.agents.workflow_runs import WorkflowRuns
from actors.agents.workflows import Workflows
from actors.forks import FORKS
from actors.providers.files import Files
from actors.providers.registry import ProviderRegistry
from actors.providers.rights import Rights
from actors.reviews.groups import Groups
from actors.reviews.service import Reviews
from actors.reviews.teams.service import TeamRuns
from actors.runs.service import Runs
from actors.settings import AgentsSettings, ProviderSettings, ReviewSettings, RunSettings, VerificationSettings
from actors.verification.service import VerificationService
from serve import errors
from serve.auth import Gate
from serve.console import app as console_app
from serve.console.app import build_console
from serve.deps import FindActor, Services, nowhere
from serve.limits import BodyLimit
from serve.poll import CampaignPoll
from serve.routes import (
    batches,
    calibration,
    campaigns,
    contributions,
    docs,
    health,
    reviews,
    runs,
    teams,
    webhooks,
    workflows,
)
from serve.routes import verification as verification_routes
from serve.schemas.problems import FieldProblem, Problem
from serve.schemas.runs import EventAnswer
from serve.settings import ServeSettings
from storage.blobs.open import open_store
from storage.cache import Cache
from storage.engine import Database
from storage.fetch import ContentFetcher
from storage.settings import StorageSettings

UPLOAD_PREFIX = "/ai-verification/"


def build_app(
    *,
    database: Database,
    storage_settings: StorageSettings,
    serve_settings: ServeSettings,
    verification_settings: VerificationSettings,
    verification: VerificationService,
    run_settings: RunSettings | None = None,
    agents_settings: AgentsSettings | None = None,
    provider_settings: ProviderSettings | None = None,
    review_settings: ReviewSettings | None = None,
    find_actor: FindActor = nowhere,
) -> FastAPI:
    """The whole API over these services. `database` and `verification` stay the caller's, to close after the app."""
    poll = CampaignPoll(
        storage_settings.database_url,
        cache_size=serve_settings.poll_cache_size,
        timeout_s=serve_settings.dependency_timeout_s,
    )

    run_service = Runs(database, redis_url=storage_settings.redis_url, settings=run_settings, forks=FORKS)
    reviewing = review_settings or ReviewSettings()
    llms = LLMCatalogue((agents_settings or AgentsSettings()).llms)
    definitions = Workflows(database, redis_url=storage_settings.redis_url, known=known_among(llms, TOOLS))
    workflow_runs = WorkflowRuns(run_service, storage_settings.database_url)

    store = open_store(storage_settings)
    fetcher = ContentFetcher(storage_settings, store)
    files = Files.of(fetcher, store, Rights(database).require)
    providers = ProviderRegistry(provider_settings or ProviderSettings(), files)
    team_runs = TeamRuns(database, run_service, providers, llms, storage_settings, checkpoints=reviewing.checkpoints)
    cache = Cache(storage_settings.redis_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await poll.close()
        await workflow_runs.close()
        await definitions.close()
        await run_service.close()
        await console.state.contents.close()
        await team_runs.close()
        for each in (fetcher, store, cache):
            await each.close()

    app = FastAPI(
        title="Hyvve",
        version="0.1.0",
        description="Campaigns, contributions, verification and runs. Every error is a problem document (RFC 9457).",
        lifespan=lifespan,
        # FastAPI's pages load their scripts from a CDN, and its document is made on the event loop: `docs` has its own.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    given = Services(
        database=database,
        poll=poll,
        verification=verification,
        runs=run_service,
        reviews=Reviews(database, Groups(reviewing.groups), keys_speak_for_many=reviewing.keys_speak_for_many),
        teams=team_runs,
        cache=cache,
        llms=llms,
        workflows=definitions,
        workflow_runs=workflow_runs,
        gate=Gate(serve_settings),
        storage=storage_settings,
        serve=serve_settings,
        reading=verification_settings,
        find_actor=find_actor,
    )
    app.state.services = given
    console = build_console(given)
    campaigns.add_poll(app)
    for module in (
        campaigns,
        contributions,
        verification_routes,
        batches,
        workflows,
        runs,
        reviews,
        calibration,
        teams,
        webhooks,
        health,
        docs,
    ):
        # Not `include_router`, which makes every route a second time, at the first request: a second more to wait for.
        app.router.routes.extend(module.router.routes)
    app.mount(console_app.PATH, console)
    errors.install(app, retry_after_s=serve_settings.retry_after_s)
    # The last added is the outermost: CORS answers preflights and marks even a 500 as readable.
    app.add_middleware(
        BodyLimit,
        body_bytes=serve_settings.max_body_bytes,
        upload_bytes=serve_settings.max_upload_bytes,
        upload_prefix=UPLOAD_PREFIX,
        uploads=serve_settings.max_uploads,
        upload_timeout_s=serve_settings.upload_timeout_s,
        retry_after_s=serve_settings.retry_after_s,
    )
    app.add_middleware(errors.LastResort)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(serve_settings.cors_origins),
        allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=[
            "ETag",
            "Link",
            "Location",
            "Preference-Applied",
            "Retry-After",
            "Idempotency-Replayed",
            "X-Request-ID",
        ],
    )
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the problem schema that every route's errors point to."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        problem.pop("$defs", None)
        # Named by a stream, whose answer FastAPI does not read.
        schemas["EventAnswer"] = EventAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {"Problem": problem, "FieldProblem": FieldProblem.model_json_schema()}
        app.openapi_schema = document
    return app.openapi_schema
