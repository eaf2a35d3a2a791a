"""The real app under uvicorn on a port of its own, with a real host that drives its runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from actors.agents.kind import kind_of, open_workshop
from actors.runs.kinds import Kinds, RunSetup
from actors.settings import AgentsSettings, VerificationSettings
from serve.app import build_app
from serve.deps import FindActor, nowhere
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.agents.workshop import llm_settings
from tests.actors.reviews.asking import ASKING, People
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.serve.length_verification import LengthVerification
from tests.stubs.openai import OpenAIStub, completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the console is, and what stands behind it."""

    url: str
    app: FastAPI
    database: Database
    engine: Engine
    people: People
    llm: OpenAIStub
    data_dir: Path


def kinds_of(setup: RunSetup) -> Kinds:
    """The kinds of the engine's tests, one that asks people, and workflows."""
    workshop, close = open_workshop(setup.storage, setup.actors)
    made = engines.kinds(ASKING, kind_of(workshop))
    made.close = close
    return made


@contextlib.asynccontextmanager
async def opened(
    database_url: str,
    redis_url: str,
    directory: Path,
    *,
    serve_settings: ServeSettings | None = None,
    find_actor: FindActor = nowhere,
    answer: Callable[[Any], Any] = lambda _: completion("It is a good bread, and it says why."),
) -> AsyncIterator[Site]:
    storage = StorageSettings(database_url=database_url, redis_url=redis_url, data_dir=directory)
    async with contextlib.AsyncExitStack() as stack:
        llm = await stack.enter_async_context(OpenAIStub(answer))
        agents = AgentsSettings(llms=llm_settings(llm))
        setup = engines.setup_of(database_url, redis_url, directory, kinds_of)
        setup = RunSetup(
            storage=setup.storage, actors=setup.actors.model_copy(update={"agents": agents}), open_kinds=kinds_of
        )
        engine = await stack.enter_async_context(engines.opened(setup))
        await engine.host()
        database = engine.database
        app = build_app(
            database=database, storage_settings=storage, serve_settings=serve_settings or ServeSettings(heartbeat_s=5),
            verification_settings=VerificationSettings(), verification=LengthVerification(database),
            agents_settings=agents, find_actor=find_actor,
        )  # fmt: skip
        url = await stack.enter_async_context(serving(app))
        yield Site(
            url=url, app=app, database=database, engine=engine, people=People(engine), llm=llm, data_dir=directory
        )


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The app under uvicorn; answers its address."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=2))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listening.close()
