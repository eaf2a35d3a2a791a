"""The API as a Ray Serve application: each replica builds the app of `serve/app.py` from settings.

The process that starts Ray applies `serve.ray_environment.SERVE_ENVIRONMENT` first, and imports this module after. It
does not load the API for that, which takes seconds: only a replica needs it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

import ray.serve
from ray.serve.config import BackpressureConfig
from ray.serve.deployment import Application
from ray.serve.schema import LoggingConfig

from actors.settings import AgentsSettings, ProviderSettings, ReviewSettings, RunSettings, VerificationSettings
from serve import ingress
from serve.settings import ServeSettings
from storage.settings import StorageSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from actors.verification.service import VerificationService
    from storage.engine import Database

NAME = "hyvve"

VerificationFactory = Callable[["Database", StorageSettings, VerificationSettings], "VerificationService"]


class Api:
    """A replica. Its constructor's arguments are all it knows."""

    def __init__(
        self,
        storage_settings: StorageSettings,
        serve_settings: ServeSettings,
        verification_settings: VerificationSettings,
        open_verification: VerificationFactory,
        run_settings: RunSettings,
        *,
        agents_settings: AgentsSettings,
        provider_settings: ProviderSettings,
        review_settings: ReviewSettings,
    ) -> None:
        self._storage = storage_settings
        self._serve = serve_settings
        self._verification = verification_settings
        self._open_verification = open_verification
        self._runs = run_settings
        self._agents = agents_settings
        self._providers = provider_settings
        self._reviews = review_settings
        self._database: Database | None = None

    async def __serve_build_asgi_app__(self) -> FastAPI:
        # Nearly all of the objects that are made now stay, and each collection would look at all of them again.
        gc.disable()
        try:
            app = self._build()
        finally:
            gc.enable()
        ingress.built(app)
        # What is loaded by now stays: a full collection of garbage through all of it holds every request up.
        gc.freeze()
        return app

    def _build(self) -> FastAPI:
        from actors.detached import Whereabouts  # noqa: PLC0415 - of a replica alone, as the next two
        from serve.app import build_app  # noqa: PLC0415
        from storage.engine import Database  # noqa: PLC0415

        self._database = Database(self._storage.database_url, pool_size=self._storage.pool_size)
        return build_app(
            database=self._database,
            storage_settings=self._storage,
            serve_settings=self._serve,
            verification_settings=self._verification,
            verification=self._open_verification(self._database, self._storage, self._verification),
            run_settings=self._runs,
            agents_settings=self._agents,
            provider_settings=self._providers,
            review_settings=self._reviews,
            find_actor=Whereabouts(self._storage).actor_id,
        )

    async def __del__(self) -> None:
        if self._database is not None:
            await self._database.close()


def deployment(
    *,
    storage_settings: StorageSettings,
    serve_settings: ServeSettings,
    verification_settings: VerificationSettings,
    open_verification: VerificationFactory,
    run_settings: RunSettings | None = None,
    agents_settings: AgentsSettings | None = None,
    provider_settings: ProviderSettings | None = None,
    review_settings: ReviewSettings | None = None,
) -> Application:
    """The application to hand to `ray.serve.run`."""
    configured = ray.serve.deployment(
        name=NAME,
        num_replicas=serve_settings.replicas,
        max_ongoing_requests=serve_settings.max_ongoing_requests,
        max_queued_requests=serve_settings.max_ongoing_requests,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=serve_settings.retry_after_s),
        ray_actor_options={"num_cpus": serve_settings.replica_cpus},
        # WARNING and not only no access log: at INFO a record is made for every request, and then dropped.
        logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
    )(ray.serve.ingress()(Api))
    application: Application = configured.bind(
        storage_settings,
        serve_settings,
        verification_settings,
        open_verification,
        run_settings or RunSettings(),
        agents_settings=agents_settings or AgentsSettings(),
        provider_settings=provider_settings or ProviderSettings(),
        review_settings=review_settings or ReviewSettings(),
    )
    return application
