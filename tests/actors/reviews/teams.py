"""Team runs in tests: the real kind on an engine in this process, its providers behind stub servers, and people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from actors.agents.llms.catalogue import LLMCatalogue
from actors.providers.files import Files
from actors.providers.registry import ProviderRegistry
from actors.providers.rights import Rights
from actors.reviews.decisions import DECISION
from actors.reviews.service import Reviews
from actors.reviews.teams import comparison, kind
from actors.reviews.teams.request import HITLConfig, RunInput
from actors.reviews.teams.service import TeamRuns
from actors.runs.kinds import Kinds, RunSetup
from actors.runs.retrying import RetryPolicy
from actors.settings import (
    ActorsSettings,
    AgentsSettings,
    LLMProviderSettings,
    LLMSettings,
    ProviderReach,
    ProviderSettings,
    RunSettings,
    ScorerSettings,
    VerificationSettings,
)
from storage import reviews
from storage.blobs.local import LocalBlobStore
from storage.fetch import ContentFetcher
from storage.reviews import Review, Sight
from storage.runs import Run
from storage.settings import CallbackSettings, FetchSettings, StorageSettings
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.stubs.openai import OpenAIStub
from tests.stubs.openai_platform import OpenAIPlatformStub
from tests.stubs.replicate import SECRET, ReplicateStub

KEY = "test-key"
ALL = Sight(everything=True)
QUICK = RetryPolicy(attempts=3, base_s=0.01)


def storage_of(database_url: str, redis_url: str, directory: Path) -> StorageSettings:
    return StorageSettings(
        database_url=database_url,
        redis_url=redis_url,
        data_dir=directory,
        fetch=FetchSettings(allowed_networks=("127.0.0.0/8",)),
        callbacks=CallbackSettings(base_s=0.01, timeout_s=2.0),
    )


def actors_of(openai: OpenAIPlatformStub, replicate: ReplicateStub, chat: OpenAIStub) -> ActorsSettings:
    """`gpt-5-mini` writes and costs; `acme/flux` draws. A chat server judges responses and fills in forms."""
    reach = LLMProviderSettings(base_url=chat.base_url, api_key=SecretStr("key"))
    scorer = ScorerSettings(kind="openai", base_url=chat.base_url, api_key=SecretStr("key"), model="judge", retries=0)
    return ActorsSettings(
        verification=VerificationSettings(scorer=scorer),
        runs=RunSettings(sweep_s=0.2, cancel_grace_s=1.0),
        agents=AgentsSettings(llms=LLMSettings(openai=reach, models=("openai:stub-model",))),
        providers=ProviderSettings(
            openai=ProviderReach(base_url=openai.base_url, api_key=SecretStr(KEY)),
            replicate=ProviderReach(
                base_url=replicate.url, api_key=SecretStr(KEY), webhook_secret=SecretStr(SECRET),
                webhook_url="https://hyvve.example/teams/webhooks/replicate",
            ),
            prices=("gpt-5-mini=10/100",),
            poll_s=0.01,
            poll_patience_s=0.0,
        ),
    )  # fmt: skip


def open_kinds(setup: RunSetup) -> Kinds:
    """As the application's, trying again at once."""
    workshop, close = kind.open_workshop(setup.storage, setup.actors)
    kinds = (kind.kind_of(workshop, retry=QUICK), comparison.kind_of(workshop, retry=QUICK))
    return Kinds(kinds, close)


class Team:
    """Runs, and what people do about their reviews."""

    def __init__(self, engine: Engine, team_runs: TeamRuns) -> None:
        self.engine = engine
        self.runs = team_runs
        self.reviews = Reviews(engine.database)

    async def start(self, run_input: dict[str, Any] | None = None, **config: Any) -> Run:
        given = RunInput.model_validate(asking(**(run_input or {})))
        return await self.runs.start(given, HITLConfig.model_validate(config), owner=given.user_id)

    async def asked(self, run: Run) -> Review:
        """The one review that the run waits for."""
        await self.engine.waiting(run.run_id)
        [found] = await self.reviews.queue(ALL, limit=10, run_id=run.run_id)
        return await self.reviews.get(found.review_id)

    async def decide(self, review: Review, answer: str, *, by: str = "ann", **more: Any) -> None:
        decision = {"answer": answer, "review_id": review.review_id, "saw": review.saw, **more}
        await self.reviews.decide(review.review_id, DECISION.validate_python(decision), by=by)

    async def approve_at(self, run: Run, *checkpoints: str) -> None:
        for checkpoint in checkpoints:
            review = await self.asked(run)
            assert review.checkpoint == checkpoint
            await self.decide(review, "approve")

    async def ended(self, run: Run, timeout_s: float = 20.0) -> Run:
        return await self.engine.ended(run.run_id, timeout_s)

    async def record(self, run_id: UUID) -> list[tuple[str, str]]:
        """Kind and name of what the run's steps kept, in order."""
        async with self.engine.database.read() as session:
            return [(each.kind, each.name) for each in await reviews.artifacts(session, run_id)]


def asking(**changes: Any) -> dict[str, Any]:
    return {"prompt": "What is the capital of Peru?", "provider": "openai", "model": "gpt-5-mini",
            "operation": "responses", **changes}  # fmt: skip


@asynccontextmanager
async def opened(storage: StorageSettings, actors: ActorsSettings) -> AsyncIterator[Team]:
    setup = RunSetup(storage=storage, actors=actors, open_kinds=open_kinds)
    store = LocalBlobStore(storage.data_dir / "blobs", max_bytes=1_000_000)
    fetcher = ContentFetcher(storage, store)
    llms = LLMCatalogue(actors.agents.llms)
    async with engines.opened(setup) as engine:
        files = Files.of(fetcher, store, Rights(engine.database).require)
        team_runs = TeamRuns(engine.database, engine.runs, ProviderRegistry(actors.providers, files), llms, storage)
        await engine.host()
        try:
            yield Team(engine, team_runs)
        finally:
            await team_runs.close()
            await llms.close()
            await fetcher.close()
