"""Runs that wait at each kind of question while every process is killed: each decision, posted to the API by Ray Serve
also while all is down, and each deadline counts once.
"""

from __future__ import annotations

import asyncio
import pickle
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from actors.kind_names import WORKFLOW
from actors.reviews.service import Reviews
from actors.runs.kinds import RunSetup
from actors.runs.service import Runs
from actors.settings import ActorsSettings, AgentsSettings, RunSettings, SearchSettings, ToolSettings
from cluster import embedded
from storage import verifications
from storage.engine import Database
from storage.migrations import schema
from storage.reviews import Review, Sight
from storage.settings import StorageSettings
from storage.verdict_reviews import CHECKPOINT as VERDICT
from storage.verifications import ResultRow
from tests.actors.agents.definitions import agent, edge, node, payload
from tests.actors.agents.workshop import llm_settings
from tests.actors.verification.population import distinct, populate
from tests.chaos.review_kinds import open_kinds
from tests.chaos.served import served
from tests.conftest import RayCluster
from tests.stubs.http import Reply
from tests.stubs.openai import OpenAIStub, calls, completion, tool_call
from tests.stubs.search import Page, SearchStub

pytestmark = pytest.mark.cluster

CHECKPOINTS = ("information_review", "payload_review", "response_review", "cost_approval")
NODES = ("agent_output", "tool_calls")
ALL = Sight(everything=True)
# Nobody decides these, and their time ends while everything is down.
DEADLINE = {"timeout_s": 20, "on_timeout": "reject", "reminders": []}
# Of a machine with two slow cores that has other things to do, too.
PATIENCE_S = 180.0


@pytest.fixture
def services() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="hyc", dir="/tmp"))
    directory.chmod(0o755)
    schema.upgrade(embedded.start_postgres(directory))
    embedded.start_redis(directory)
    yield directory
    embedded.stop_redis(directory)
    embedded.stop_postgres(directory)
    shutil.rmtree(directory, ignore_errors=True)


def _said(body: dict[str, Any]) -> Reply:
    """An agent with a tool uses it once; then, and without one, it answers."""
    used = any(message["role"] == "tool" for message in body["messages"])
    return (
        completion("a draft") if used or not body.get("tools") else calls(tool_call("web_search", {"query": "whales"}))
    )


@pytest.fixture
async def llm() -> AsyncIterator[OpenAIStub]:
    async with OpenAIStub() as stub:
        stub.answer = _said
        yield stub


@pytest.fixture
async def web() -> AsyncIterator[SearchStub]:
    async with SearchStub([Page("Whales", "https://sea.example/whales", "Whales are mammals.")]) as stub:
        yield stub


@pytest.fixture
def setup(services: Path, llm: OpenAIStub, web: SearchStub) -> RunSetup:
    search = SearchSettings(backend="wikipedia", base_url=web.url)
    agents = AgentsSettings(llms=llm_settings(llm), tools=ToolSettings(search=search))
    return RunSetup(
        storage=StorageSettings(
            database_url=embedded.postgres(services).start(), redis_url=embedded.redis(services).url, data_dir=services
        ),
        actors=ActorsSettings(runs=RunSettings(sweep_s=0.5), agents=agents),
        open_kinds=open_kinds,
    )


@pytest.fixture
def url(ray_cluster: RayCluster, setup: RunSetup) -> Iterator[str]:
    with served(setup) as address:
        yield address


class Processes:
    """A host and a scheduler, each a process of its own."""

    def __init__(self, setup: RunSetup, directory: Path) -> None:
        self._setup = directory / "setup.pickle"
        self._setup.write_bytes(pickle.dumps(setup))
        self._running: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        for part in ("host", "scheduler"):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.chaos.review_kinds", part, str(self._setup),
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            self._running.append(process)
        async with asyncio.timeout(PATIENCE_S):
            for process in self._running:
                assert process.stdout is not None
                assert (await process.stdout.readline()).strip() == b"ready"

    async def kill(self) -> None:
        for process in self._running:
            process.kill()
        await asyncio.gather(*(process.wait() for process in self._running))
        self._running.clear()


@asynccontextmanager
async def processes(setup: RunSetup, directory: Path) -> AsyncIterator[Processes]:
    found = Processes(setup, directory)
    try:
        yield found
    finally:
        await found.kill()


class Asked:
    """What was asked, by which run."""

    def __init__(self, setup: RunSetup, database: Database, url: str) -> None:
        self.runs = Runs(database, redis_url=setup.storage.redis_url)
        self.reviews = Reviews(database)
        self._database = database
        # Who created the campaigns, and speaks for ann.
        headers = {"X-Wallet-Address": "0xc", "X-Reviewer": "ann"}
        self._client = httpx.AsyncClient(base_url=url, timeout=10, headers=headers)

    async def close(self) -> None:
        await self._client.aclose()
        await self.runs.close()

    async def start(self, checkpoint: str, deadline: dict[str, Any] | None) -> UUID:
        if checkpoint in CHECKPOINTS:
            spec: dict[str, Any] = {"at": [checkpoint], "question": {"deadline": deadline} if deadline else {}}
            return (await self.runs.start("asking people", spec, {"told": []})).run_id
        policy = None if deadline is None else {"timeout_seconds": deadline["timeout_s"], "on_timeout": "reject"}
        review = {"on": "output" if checkpoint == "agent_output" else "tool_calls", "policy": policy}
        tools = [] if checkpoint == "agent_output" else ["web_search"]
        definition = payload(
            edge("a", "END"), agent_configs=[agent(allowed_tools=tools)], nodes=[node("a", review=review)]
        )
        given = {"task_description": "the task", "initial_scratchpad": {}}
        return (await self.runs.start(WORKFLOW, {"definition": definition}, given)).run_id

    async def verdicts(self, storage: StorageSettings, count: int) -> list[UUID]:
        """Runs that ask about so many verdicts REVIEW."""
        population = await populate(self._database, storage, distinct(count))
        run_ids: list[UUID] = []
        for number, contribution_id in enumerate(population.contribution_ids):
            row = ResultRow(
                campaign_id=population.campaign_id, contribution_id=contribution_id, contributor="0x0",
                verdict="REVIEW", score=71.0, reasoning="close", content_hash=f"{number:064x}",
            )  # fmt: skip
            async with self._database.begin() as session:
                await verifications.write_single(session, row, asks_people=True)
            assert row.review_run_id is not None
            run_ids.append(row.review_run_id)
        return run_ids

    async def of(self, run_id: UUID) -> Review:
        found = await self.patiently(lambda: self.reviews.queue(ALL, limit=2, run_id=run_id, states=()))
        (row,) = found
        return await self.patiently(lambda: self.reviews.get(row.review_id))  # type: ignore[no-any-return]

    async def patiently(self, ask: Callable[[], Any]) -> Any:
        """What PostgreSQL says, also over its absence."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await ask()
            except (SQLAlchemyError, OSError):
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)

    async def decide(self, review: Review) -> httpx.Response:
        """As a patient client does, under one key: until it is taken."""
        body = {"answer": "approve", "review_id": str(review.review_id), "saw": review.saw}
        key = {"Idempotency-Key": f"decide {review.review_id}"}
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(httpx.TransportError):
                    said = await self._client.post(f"/teams/reviews/{review.review_id}/decide", json=body, headers=key)
                    if said.status_code < 500:
                        assert said.status_code == 200, said.text
                        return said
                await asyncio.sleep(0.2)

    async def statuses(self, run_ids: list[UUID]) -> Counter[str]:
        async def ask() -> Counter[str]:
            async with self._database.read() as session:
                query = "SELECT status, count(*) FROM runs WHERE run_id = ANY(:ids) GROUP BY status"
                return Counter({row[0]: row[1] for row in await session.execute(text(query), {"ids": run_ids})})

        return await self.patiently(ask)  # type: ignore[no-any-return]

    async def until_all(self, run_ids: list[UUID], *statuses: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while sum(count for status, count in (await self.statuses(run_ids)).items() if status in statuses) < len(
                run_ids
            ):
                await asyncio.sleep(0.2)


async def test_what_waits_outlives_every_process_and_what_was_decided_meanwhile_counts_once(
    setup: RunSetup, services: Path, url: str, ray_cluster: RayCluster
) -> None:
    database = Database(setup.storage.database_url)
    asked = Asked(setup, database, url)
    async with processes(setup, services) as parts:
        await parts.start()
        # Of each kind: one is decided while all is down, one when all is up again, one by nobody.
        early, later, never = [
            {each: await asked.start(each, deadline) for each in (*CHECKPOINTS, *NODES)}
            for deadline in (None, None, DEADLINE)
        ]
        early[VERDICT], later[VERDICT] = await asked.verdicts(setup.storage, 2)
        runs = [*early.values(), *later.values(), *never.values()]
        await asked.until_all([*early.values(), *later.values()], "waiting")
        await asked.until_all(list(never.values()), "waiting", "completed", "failed")
        questions = {run_id: await asked.of(run_id) for run_id in runs}
        assert Counter(each.checkpoint for each in questions.values()) == {
            **dict.fromkeys((*CHECKPOINTS, *NODES), 3), VERDICT: 2,
        }  # fmt: skip

        # All at once: nobody has the time to put anything in order.
        postgres, redis = embedded.postgres(services), embedded.redis(services)
        killed = [server.process() for server in (postgres, redis)]
        for process in killed:
            assert process is not None
            process.kill()
        ray_cluster.worker_running("ServeReplica", timeout_s=60).kill()
        await parts.kill()
        deciding = [asyncio.create_task(asked.decide(questions[run_id])) for run_id in early.values()]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in deciding), "nothing is there to take a decision"
        await asyncio.to_thread(embedded.start_postgres, services)
        await asyncio.to_thread(embedded.start_redis, services)
        await asyncio.gather(*deciding)
        assert await asked.statuses(list(early.values())) == {"waiting": len(early)}, "no host is there yet"

        await parts.start()
        # And once more, in the midst of going on.
        await asyncio.sleep(1.0)
        await parts.kill()
        await parts.start()
        for run_id in later.values():
            await asked.decide(questions[run_id])
        await asked.until_all(runs, "completed", "failed")
        # Whoever never heard the answer, and asks again under the key, is given it, and nothing is decided anew.
        for run_id in (*early.values(), *later.values()):
            assert (await asked.decide(questions[run_id])).headers["Idempotency-Replayed"] == "true"

        for run_id in runs:
            nobody = run_id in never.values()
            review = await asked.of(run_id)
            assert review.state == ("rejected" if nobody else "approved"), review.checkpoint
            done = Counter(each.kind for each in await asked.reviews.actions(review.review_id))
            once = {"asked": 1, "settled": 1, "delivered": 1, **({} if nobody else {"decided": 1})}
            assert {kind: done[kind] for kind in once} == once, review.checkpoint
            assert not done["refused"], review.checkpoint
            run = await asked.runs.get(run_id)
            if review.checkpoint in CHECKPOINTS:
                assert run.output is not None
                assert [(each["answer"], each["by"]) for each in run.output["told"]] == [
                    ("reject", []) if nobody else ("approve", ["ann"])
                ]
                # What the step recorded is there once, however often its host was killed.
                async with database.read() as session:
                    made = await session.execute(
                        text("SELECT count(*) FROM run_artifacts WHERE run_id = :id"), {"id": run_id}
                    )
                assert made.scalar_one() == 1
            elif review.checkpoint == VERDICT:
                assert run.output is not None
                assert (run.output["verdict"], run.output["by"]) == ("ACCEPT", ["ann"])
                async with database.read() as session:
                    made = await session.execute(
                        text("SELECT c.verdict, count(*) FROM contributions c JOIN verification_results r"
                             " USING (contribution_id) WHERE r.decides IS NOT NULL AND r.review_id = :id GROUP BY 1"),
                        {"id": review.review_id},
                    )  # fmt: skip
                assert made.all() == [("ACCEPT", 1)]
            else:
                # A rejected answer ends its run; a rejected call is told to the agent, which goes on.
                ends = "failed" if nobody and review.checkpoint == "agent_output" else "completed"
                assert run.status == ends, (review.checkpoint, run.error)
    await asked.close()
    await database.close()
