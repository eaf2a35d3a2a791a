"""Team runs that wait at each checkpoint while every process is killed: what was decided meanwhile counts once, no call
is paid twice, and whoever is called back is told all of it.
"""

from __future__ import annotations

import asyncio
import pickle
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from actors.agents.llms.catalogue import LLMCatalogue
from actors.providers.files import Files
from actors.providers.registry import ProviderRegistry
from actors.providers.rights import Rights
from actors.reviews.teams.request import Candidate, Compared, ComparisonConfig
from actors.reviews.teams.service import TeamRuns
from actors.runs.kinds import RunSetup
from cluster import embedded
from storage.blobs.local import LocalBlobStore
from storage.engine import Database
from storage.fetch import ContentFetcher
from storage.migrations import schema
from storage.runs import Run
from tests.actors.reviews import teams
from tests.actors.reviews.teams import KEY, Team, open_kinds
from tests.actors.reviews.test_callbacks import SECRET, Receiver, sent
from tests.actors.runs.engine import Engine
from tests.stubs import openai as openai_chat
from tests.stubs.openai import OpenAIStub
from tests.stubs.openai_platform import OpenAIPlatformStub, response
from tests.stubs.replicate import ReplicateStub

CHECKPOINTS = (
    "information_review", "payload_review", "security_scan", "cost_approval", "response_review", "content_moderation",
)  # fmt: skip
# Of a machine with two slow cores that has other things to do, too.
PATIENCE_S = 180.0


@pytest.fixture
def services() -> Iterator[Path]:
    """A PostgreSQL and a Redis of this test's own, for they are killed."""
    directory = Path(tempfile.mkdtemp(prefix="hyc", dir="/tmp"))
    directory.chmod(0o755)
    schema.upgrade(embedded.start_postgres(directory))
    embedded.start_redis(directory)
    yield directory
    embedded.stop_redis(directory)
    embedded.stop_postgres(directory)
    shutil.rmtree(directory, ignore_errors=True)


async def started(setup: Path) -> asyncio.subprocess.Process:
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.team_host", str(setup), stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        assert (await host.stdout.readline()).strip() == b"ready"
    return host


async def waiting(team: Team, run: Run) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await team.engine.runs.get(run.run_id)).status != "waiting":
            await asyncio.sleep(0.2)


async def test_runs_that_wait_at_each_checkpoint_outlive_every_process(services: Path) -> None:
    async with (
        OpenAIPlatformStub(KEY, response("Lima.")) as openai,
        ReplicateStub(KEY) as replicate,
        OpenAIStub(lambda _: openai_chat.judgement(80.0)) as chat,
        Receiver() as receiver,
    ):
        storage = teams.storage_of(
            embedded.postgres(services).start(), embedded.redis(services).url, services
        )  # fmt: skip
        actors = teams.actors_of(openai, replicate, chat)
        setup = RunSetup(storage=storage, actors=actors, open_kinds=open_kinds)
        written = services / "setup.pickle"
        written.write_bytes(pickle.dumps(setup))
        store = LocalBlobStore(services / "blobs", max_bytes=1_000_000)
        fetcher, llms = ContentFetcher(storage, store), LLMCatalogue(actors.agents.llms)
        database = Database(storage.database_url)
        engine = Engine(database, setup)
        providers = ProviderRegistry(actors.providers, Files.of(fetcher, store, Rights(database).require))
        team = Team(engine, TeamRuns(database, engine.runs, providers, llms, storage))
        told: dict[str, Any] = {"callback_url": f"{receiver.url}/hook", "callback_secret": SECRET}
        host = await started(written)
        try:
            early, later = [
                {
                    each: await team.start(policy="REQUIRE_HUMAN", allowed_steps=[each], **told) for each in CHECKPOINTS
                } | {
                    "comparison": await team.runs.start_comparison(
                        Compared(prompt="Peru?"),
                        [
                            Candidate(provider="openai", model="gpt-5-mini", operation="responses"),
                            Candidate(provider="replicate", model="acme/llama"),
                        ],
                        ComparisonConfig.model_validate(told),
                    )
                }
                for _ in range(2)
            ]  # fmt: skip
            for run in (*early.values(), *later.values()):
                await waiting(team, run)
            # Of those that wait behind their call, it is paid; of the others it is not.
            assert (len(openai.paid), len(replicate.made)) == (6, 2)

            # All at once: nobody has the time to put anything in order.
            for server in (embedded.postgres(services), embedded.redis(services)):
                process = server.process()
                assert process is not None
                process.kill()
            host.kill()
            await host.wait()
            await asyncio.to_thread(embedded.start_postgres, services)
            await asyncio.to_thread(embedded.start_redis, services)
            await database.engine.dispose()
            # Decided while nobody drives.
            for checkpoint, run in early.items():
                await _decide(team, checkpoint, run)
            host = await started(written)
            for checkpoint, run in later.items():
                await _decide(team, checkpoint, run)
            for run in (*early.values(), *later.values()):
                ended = await team.ended(run, PATIENCE_S)
                assert ended.status == "completed", ended.error
            # Four of six wait before their call, each twice; two wait behind it, and so does each comparison.
            assert (len(openai.paid), len(replicate.made)) == (14, 2)
            for checkpoint, run in (*early.items(), *later.items()):
                kept = await team.record(run.run_id)
                assert kept.count(("decision", checkpoint)) == 1
            # Of each run that it waited and that it ended, once, though all was killed before any of it was sent.
            count = 2 * (len(CHECKPOINTS) + 1)
            assert (await sent(team))["delivered"] == 2 * count
            events = Counter(each["type"] for each in receiver.taken)
            assert events == {"review.asked": count, "run.completed": count}
        finally:
            with suppress(ProcessLookupError):
                host.kill()
            await host.wait()
            await team.runs.close()
            await engine.close()
            await llms.close()
            await fetcher.close()
            await database.close()


async def _decide(team: Team, checkpoint: str, run: Run) -> None:
    [found] = await team.reviews.queue(teams.ALL, limit=10, run_id=run.run_id)
    review = await team.reviews.get(found.review_id)
    assert review.checkpoint == checkpoint
    if checkpoint == "comparison":
        await team.decide(review, "edit", payload={"choice": "A"})
    else:
        await team.decide(review, "approve")
