"""Runs on a real Ray cluster while its parts are killed. Whatever happens: every run ends, each effect is done once."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from actors.runs.actor import ensure_hosts, stop_hosts
from actors.runs.kinds import RunSetup
from actors.runs.service import Runs
from actors.settings import ActorsSettings, AgentsSettings, RunSettings
from cluster import embedded
from cluster.embedded_postgres import EmbeddedPostgres
from cluster.embedded_redis import EmbeddedRedis
from storage.engine import Database
from storage.ids import new_id
from storage.migrations import schema
from storage.settings import StorageSettings
from tests.actors.agents.workshop import llm_settings
from tests.chaos.paying_agents import PayingAgents, said
from tests.chaos.run_kinds import MAKE_LEDGER, STEPS, open_kinds
from tests.chaos.served import served
from tests.cluster.running import free_port
from tests.conftest import RayCluster
from tests.serve.event_stream import stream
from tests.stubs.openai import OpenAIStub

pytestmark = pytest.mark.cluster

RUNS = 200
# Before which kills (of a host, PostgreSQL, a host) agent workflows are begun, and how many calls of its model each has
# made when it comes: its first, whose answer will pay, or that after it has paid.
AGENTS_CALLS = {2: 1, 5: 2, 6: 2}
OWNER = {"X-Wallet-Address": "0xchaos"}


@pytest.fixture(scope="module")
def services() -> Iterator[Path]:
    """A PostgreSQL and a Redis of this file's own, for they are killed."""
    directory = Path(tempfile.mkdtemp(prefix="hyc", dir="/tmp"))
    directory.chmod(0o755)
    schema.upgrade(embedded.start_postgres(directory))
    embedded.start_redis(directory)
    yield directory
    embedded.stop_redis(directory)
    embedded.stop_postgres(directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def llm() -> OpenAIStub:
    """The agents' model: hosts know its address before a test has it answer there."""
    stub = OpenAIStub(said)
    stub.port = free_port()
    return stub


@pytest.fixture(scope="module")
def setup(ray_cluster: RayCluster, services: Path, llm: OpenAIStub) -> Iterator[RunSetup]:
    setup = RunSetup(
        storage=StorageSettings(
            database_url=embedded.postgres(services).start(),
            redis_url=embedded.redis(services).url,
            data_dir=services,
        ),
        actors=ActorsSettings(runs=RunSettings(hosts=2), agents=AgentsSettings(llms=llm_settings(llm))),
        open_kinds=open_kinds,
    )
    yield setup
    stop_hosts(setup)


@pytest.fixture
async def runs(setup: RunSetup) -> AsyncIterator[Runs]:
    database = Database(setup.storage.database_url)
    async with database.begin() as session:
        await session.execute(text("DROP TABLE IF EXISTS chaos_ledger"))
        await session.execute(text(MAKE_LEDGER))
    runs = Runs(database, redis_url=setup.storage.redis_url)
    yield runs
    await runs.close()
    await database.close()


@pytest.fixture
async def agents(runs: Runs, llm: OpenAIStub, services: Path) -> AsyncIterator[PayingAgents]:
    await llm.start(llm.port)
    yield PayingAgents(runs, llm, services / "agents")
    await llm.close()


@pytest.fixture(scope="module")
def url(setup: RunSetup) -> Iterator[str]:
    """Where the API is served, by one replica."""
    with served(setup) as address:
        yield address


@pytest.fixture
def receipts(services: Path) -> Path:
    directory = Path(tempfile.mkdtemp(dir=services))
    directory.chmod(0o777)
    return directory


class Watch:
    """What PostgreSQL says of this test's runs; patient while it is away."""

    def __init__(self, runs: Runs, run_ids: list[UUID]) -> None:
        self._database = runs._database
        self._run_ids = run_ids

    async def ask(self, query: str) -> list[tuple[object, ...]]:
        deadline = time.monotonic() + 120
        while True:
            try:
                async with self._database.read() as session:
                    found = await session.execute(text(query), {"ids": self._run_ids})
                    return [tuple(row) for row in found]
            except SQLAlchemyError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    async def steps(self) -> int:
        rows = await self.ask("SELECT coalesce(sum(steps), 0) FROM runs WHERE run_id = ANY(:ids)")
        return int(str(rows[0][0]))

    async def statuses(self) -> Counter[str]:
        rows = await self.ask("SELECT status, count(*) FROM runs WHERE run_id = ANY(:ids) GROUP BY status")
        return Counter({str(status): int(str(count)) for status, count in rows})

    async def until_steps(self, count: int, timeout_s: float = 240) -> None:
        async with asyncio.timeout(timeout_s):
            while await self.steps() < count:
                await asyncio.sleep(0.1)

    async def until_all(self, *statuses: str, timeout_s: float = 300) -> None:
        async with asyncio.timeout(timeout_s):
            while sum(count for status, count in (await self.statuses()).items() if status in statuses) < len(
                self._run_ids
            ):
                await asyncio.sleep(0.2)


async def check_all_done_once(watch: Watch, run_ids: list[UUID], receipts: Path) -> None:
    assert await watch.statuses() == {"completed": len(run_ids)}
    # Each step's row, written in its transaction, stands there once.
    rows = await watch.ask("SELECT run_id, step, count(*) FROM chaos_ledger GROUP BY run_id, step")
    assert len(rows) == len(run_ids) * STEPS
    assert {count for _, _, count in rows} == {1}
    # Each call to the far side under one key, and its receipt is the one in the run's result.
    calls = [each for each in receipts.iterdir() if not each.name.startswith(".") and each.name != "repeated"]
    assert len(calls) == len(run_ids) * STEPS
    outputs = await watch.ask("SELECT run_id, output FROM runs WHERE run_id = ANY(:ids)")
    for run_id, output in outputs:
        assert isinstance(output, dict)
        for number, line in enumerate(output["trail"]):
            receipt = (receipts / f"{run_id}:step_{number}@{number + 1}_pay").read_text()
            assert line == f"{number}: {receipt}"
    # No event number is missing or doubled, and each step ended once.
    faults = await watch.ask(
        "SELECT run_id, count(*), max(seq), count(*) FILTER (WHERE type = 'step.completed') FROM run_events"
        " WHERE run_id = ANY(:ids) GROUP BY run_id"
        f" HAVING count(*) <> max(seq) OR min(seq) <> 1 OR count(*) FILTER (WHERE type = 'step.completed') <> {STEPS}"
        " OR count(*) FILTER (WHERE type = 'run.completed') <> 1"
    )
    assert faults == []


async def fork(client: httpx.AsyncClient, run_id: UUID, checkpoint_id: str) -> UUID:
    """A new run, for a client that asks until it is answered, under one key."""
    headers = {**OWNER, "Idempotency-Key": str(new_id())}
    async with asyncio.timeout(240):
        while True:
            with contextlib.suppress(httpx.TransportError):
                asked = client.post(f"/runs/{run_id}/fork", json={"checkpoint_id": checkpoint_id}, headers=headers)
                answer = await asked
                if answer.status_code < 500:
                    assert answer.status_code == 201, answer.text
                    return UUID(answer.json()["run_id"])
            await asyncio.sleep(0.2)


async def follow_by_http(url: str, run_id: UUID) -> list[int]:
    """The event numbers that a browser gets, which connects again with the last one."""
    seen: list[int] = []
    while True:
        with contextlib.suppress(httpx.HTTPError, TimeoutError):
            async with stream(
                url, f"/runs/{run_id}/events", **OWNER, Last_Event_ID=str(seen[-1] if seen else 0)
            ) as events:
                if events.response.status_code == 200:
                    while (event := await events.next(timeout_s=60)) is not None:
                        if event.id is not None:
                            seen.append(int(event.id))
                        if event.type == "run.completed":
                            return seen
        await asyncio.sleep(0.2)


async def follow(runs: Runs, run_id: UUID) -> list[int]:
    """The event numbers that a patient client gets, which comes back where it was when it is thrown out."""
    seen: list[int] = []
    while True:
        try:
            async with aclosing(runs.follower.follow(run_id, seen[-1] if seen else 0)) as events:
                async for event in events:
                    if event.seq is not None:
                        seen.append(event.seq)
            return seen
        except SQLAlchemyError:  # PostgreSQL is away
            await asyncio.sleep(0.2)


def kill_and_start(server: EmbeddedPostgres | EmbeddedRedis) -> None:
    process = server.process()
    assert process is not None
    process.kill()
    while server.process() is not None:
        time.sleep(0.01)
    server.start()


async def test_200_runs_outlive_every_part(
    setup: RunSetup,
    runs: Runs,
    *,
    url: str,
    services: Path,
    receipts: Path,
    ray_cluster: RayCluster,
    agents: PayingAgents,
) -> None:
    await asyncio.to_thread(ensure_hosts, setup)
    first = await runs.start(
        "ten steps", {"directory": str(receipts), "pause_s": 0.5}, {"trail": []}, owner=OWNER["X-Wallet-Address"]
    )
    await Watch(runs, [first.run_id]).until_all("completed")
    # From before its first step: a fork does all of them itself.
    begun = next(each.checkpoint_id for each in await runs.checkpoints(first.run_id) if each.step == 0)
    run_ids = [first.run_id]
    following: list[asyncio.Task[list[int]]] = []

    async def post() -> None:
        """Runs come in, a few at a time, whatever is killed meanwhile."""
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            while len(run_ids) < RUNS:
                several = [fork(client, first.run_id, begun) for _ in range(min(5, RUNS - len(run_ids)))]
                run_ids.extend(await asyncio.gather(*several))
                if len(following) < 10:
                    following.append(asyncio.create_task(follow(runs, run_ids[-2])))
                    following.append(asyncio.create_task(follow_by_http(url, run_ids[-1])))

    def kill_process(name: str) -> Callable[[], None]:
        return lambda: ray_cluster.worker_running(name, timeout_s=60).kill()

    def kill_redis() -> None:
        kill_and_start(embedded.redis(services))

    def kill_postgres() -> None:
        kill_and_start(embedded.postgres(services))

    watch = Watch(runs, run_ids)
    posting = asyncio.create_task(post())
    kills = (
        kill_process("ServeReplica"), kill_process("RunHostActor"), kill_process("chaos_worker"), kill_redis,
        kill_postgres, kill_process("RunHostActor"), kill_postgres,
    )  # fmt: skip
    for number, kill in enumerate(kills, 1):
        # In the midst of the work, each after the last one's harm was mended.
        await watch.until_steps(number * RUNS)
        if calls_each := AGENTS_CALLS.get(number):
            await agents.begin(calls_each=calls_each)
        await asyncio.to_thread(kill)
    await posting
    await watch.until_all("completed", "failed", "cancelled")
    await Watch(runs, list(agents.places)).until_all("completed", "failed", "cancelled")
    assert len(await runs.list(parent_run_id=first.run_id, limit=2 * RUNS)) == RUNS - 1
    await check_all_done_once(watch, run_ids, receipts)
    await agents.check_paid_once()
    for task in following:
        seen = await task
        assert seen == list(range(1, len(seen) + 1))
        assert len(seen) > 2 * STEPS


async def test_waiting_and_running_runs_go_on_after_a_full_stop(
    setup: RunSetup, runs: Runs, services: Path, receipts: Path
) -> None:
    await asyncio.to_thread(ensure_hosts, setup)
    spec = {"directory": str(receipts), "pause_s": 0.2}
    running = [(await runs.start("ten steps", spec, {"trail": []})).run_id for _ in range(20)]
    waiting = [
        (await runs.start("ten steps", {**spec, "asks_at": 4}, {"trail": []})).run_id for _ in range(20)
    ]  # fmt: skip
    watch = Watch(runs, [*running, *waiting])
    await Watch(runs, waiting).until_all("waiting")
    await watch.until_steps(4 * 20 + 3 * 20)
    await asyncio.to_thread(stop_hosts, setup)
    await asyncio.to_thread(embedded.stop_redis, services)
    await asyncio.to_thread(embedded.stop_postgres, services)
    await asyncio.to_thread(embedded.start_postgres, services)
    await asyncio.to_thread(embedded.start_redis, services)
    # An answer is taken while nobody drives.
    (asked,) = {interrupt["id"] for interrupt in (await runs.get(waiting[0])).interrupts}
    await runs.resume(waiting[0], {asked: "yes"})
    await asyncio.to_thread(ensure_hosts, setup)
    await Watch(runs, [*running, waiting[0]]).until_all("completed")
    for run_id in waiting[1:]:
        (interrupt,) = (await runs.get(run_id)).interrupts
        await runs.resume(run_id, {interrupt["id"]: "yes"})
    await watch.until_all("completed", "failed")
    await check_all_done_once(watch, [*running, *waiting], receipts)
