"""The apps that bench_serve compares, and a plain uvicorn that runs one: `python -m tests.benchmarks.serve_apps …`."""

from __future__ import annotations

import sys
from pathlib import Path
from time import time

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response

from actors.settings import VerificationSettings
from actors.verification.service import VerificationService
from serve import wire
from serve.app import build_app
from serve.auth import Caller
from serve.deps import Given
from serve.poll_route import CampaignPath, PollRoute
from serve.schemas import campaigns as schemas
from serve.settings import ServeSettings
from storage import campaigns
from storage.engine import Database
from storage.settings import StorageSettings
from tests.serve.length_verification import LengthVerification


def open_verification(
    database: Database, storage: StorageSettings, settings: VerificationSettings
) -> VerificationService:
    return LengthVerification(database)


def api(storage: StorageSettings) -> FastAPI:
    """The app as it is."""
    database = Database(storage.database_url, pool_size=storage.pool_size)
    return build_app(
        database=database,
        storage_settings=storage,
        serve_settings=ServeSettings(),
        verification_settings=VerificationSettings(),
        verification=LengthVerification(database),
    )


def api_reading_by_orm(storage: StorageSettings) -> FastAPI:
    """The same app with the poll as one would first write it: a row read through the ORM on each request."""
    app = api(storage)
    app.router.routes[:] = [route for route in app.router.routes if not isinstance(route, PollRoute)]

    @app.get("/campaigns/{onchain_campaign_id}", response_model=schemas.CampaignAnswer)
    async def get_campaign(given: Given, caller: Caller, onchain_campaign_id: CampaignPath) -> Response:
        async with given.database.read() as session:
            row = await campaigns.by_onchain_id(session, onchain_campaign_id)
        return wire.answer(schemas.of_row(row, time()))

    return app


if __name__ == "__main__":
    which, port, database_url, redis_url, data_dir = sys.argv[1:]
    settings = StorageSettings(database_url=database_url, redis_url=redis_url, data_dir=Path(data_dir), pool_size=16)
    app = api(settings) if which == "api" else api_reading_by_orm(settings)
    uvicorn.run(app, port=int(port), loop="uvloop", http="httptools", access_log=False, log_level="warning")
