"""The console as an app of its own, mounted at `/console`: its errors are pages, its guests sign in by a cookie."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from serve import errors
from serve.console import assets
from serve.console.contents import Contents
from serve.console.guard import Guarded, require_same_origin
from serve.console.live import Looks
from serve.console.pages import write_error
from serve.console.routes import (
    calibration,
    campaigns,
    contributions,
    overview,
    parts,
    ray,
    reviews,
    runs,
    schedules,
    sign_in,
    workflows,
)
from serve.console.session import Sessions
from serve.deps import Services

PATH = "/console"


def build_console(services: Services) -> FastAPI:
    """The console over these services. `app.state.contents` is to be closed with the API."""
    app = FastAPI(
        title="Hyvve console", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        dependencies=[Depends(require_same_origin)],
    )  # fmt: skip
    app.state.services = services
    app.state.sessions = Sessions(services.serve, services.storage)
    app.state.looks = Looks()
    app.state.contents = Contents(services.storage, services.reading.read)
    for module in (
        overview,
        calibration,
        campaigns,
        contributions,
        runs,
        reviews,
        parts,
        workflows,
        schedules,
        ray,
        sign_in,
        assets,
    ):
        app.include_router(module.router)
    errors.install(app, retry_after_s=services.serve.retry_after_s, write=write_error)
    app.add_middleware(errors.LastResort, write=write_error)
    app.add_middleware(Guarded)
    return app
