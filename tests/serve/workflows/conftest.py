"""The app with agent workflows, a host that runs them, and the models and the web that they reach."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from actors.kinds import open_kinds
from actors.runs.kinds import RunSetup
from actors.settings import (
    ActorsSettings,
    AgentsSettings,
    RunSettings,
    SearchSettings,
    ToolSettings,
    VerificationSettings,
)
from serve.app import build_app
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.agents.workshop import llm_settings
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.serve.length_verification import LengthVerification
from tests.stubs.openai import OpenAIStub, completion
from tests.stubs.search import Page, SearchStub

PAGES = [Page("Whales", "https://sea.example/whales", "Whales are mammals that live in the sea.")]


@pytest.fixture
async def llm() -> AsyncIterator[OpenAIStub]:
    async with OpenAIStub(lambda _: completion("done")) as stub:
        yield stub


@pytest.fixture
async def web() -> AsyncIterator[SearchStub]:
    async with SearchStub(PAGES) as stub:
        yield stub


@pytest.fixture
def agents_settings(llm: OpenAIStub, web: SearchStub) -> AgentsSettings:
    search = SearchSettings(backend="wikipedia", base_url=web.url)
    return AgentsSettings(llms=llm_settings(llm), tools=ToolSettings(search=search))


@pytest.fixture
async def engine(storage_settings: StorageSettings, agents_settings: AgentsSettings) -> AsyncIterator[Engine]:
    actors = ActorsSettings(runs=RunSettings(sweep_s=0.2, cancel_grace_s=1.0), agents=agents_settings)
    setup = RunSetup(storage=storage_settings, actors=actors, open_kinds=open_kinds)
    async with engines.opened(setup) as opened:
        await opened.host()
        yield opened


@pytest.fixture
async def client(
    database: Database, storage_settings: StorageSettings, agents_settings: AgentsSettings
) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(
        database=database, storage_settings=storage_settings, serve_settings=ServeSettings(run_wait_s=20),
        verification_settings=VerificationSettings(), verification=LengthVerification(database),
        agents_settings=agents_settings,
    )  # fmt: skip
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test", timeout=30) as client:
            yield client
