"""The app over real PostgreSQL and Redis, asked in-process over ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from actors.settings import VerificationSettings
from serve.app import build_app
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.reviews.asking import people
from tests.serve.length_verification import LengthVerification

__all__ = ["people"]


@pytest.fixture
def storage_settings(database_url: str, redis_url: str, tmp_path: Path) -> StorageSettings:
    return StorageSettings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path)


@pytest.fixture
def serve_settings() -> ServeSettings:
    return ServeSettings(cors_origins=("https://app.example",), max_upload_bytes=100_000)


@pytest.fixture
def verification(database: Database) -> LengthVerification:
    return LengthVerification(database)


@pytest.fixture
async def app(
    database: Database,
    storage_settings: StorageSettings,
    serve_settings: ServeSettings,
    verification: LengthVerification,
) -> AsyncIterator[FastAPI]:
    app = build_app(
        database=database,
        storage_settings=storage_settings,
        serve_settings=serve_settings,
        verification_settings=VerificationSettings(),
        verification=verification,
    )
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    # An error that leaves the app must show as the 500 that a client would see.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
        yield client
