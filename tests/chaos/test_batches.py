"""Batches on a real Ray cluster while its parts are killed. Whatever happens: as many rows as contributions, none twice."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from actors.settings import FanoutSettings, ScorerSettings, VerificationSettings
from actors.verification.actor import ensure_runner, stop_actors
from actors.verification.workplace import Setup
from storage import activities, contributions, verifications
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.verification.population import Population, distinct, open_batch, populate, rows_of
from tests.actors.verification.scripted_scorer import ScriptedScorer
from tests.conftest import RayCluster, database_from_template

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def setup(
    ray_cluster: RayCluster, postgres: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setup]:
    """One database for all tests of this file, so that they share a runner and workers, which take seconds to start."""
    directory = tmp_path_factory.mktemp("chaos")
    with database_from_template(postgres, "chaos") as url:
        setup = Setup(
            storage=StorageSettings(database_url=url, redis_url=redis_server, data_dir=directory),
            verification=VerificationSettings(
                scorer=ScorerSettings(kind="openai", model=str(directory / "journal")),
                fanout=FanoutSettings(chunk_size=8, item_timeout_s=120.0),
            ),
            open_scorer=ScriptedScorer,
        )
        yield setup
        stop_actors(setup)


@pytest.fixture
async def database(setup: Setup) -> AsyncIterator[Database]:
    database = Database(setup.storage.database_url)
    yield database
    await database.close()


async def wait_until_finished(database: Database, batch_id: UUID, timeout_s: float = 240.0) -> str:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        async with database.read() as session:
            state = (await verifications.batch(session, batch_id)).state
        if state not in verifications.UNFINISHED:
            return state
        await asyncio.sleep(0.1)
    raise AssertionError(f"the batch is still {state} after {timeout_s} s")


async def wait_for_rows(database: Database, batch_id: UUID, count: int, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        async with database.read() as session:
            if (await verifications.progress(session, batch_id)).judged >= count:
                return
        await asyncio.sleep(0.05)
    raise AssertionError(f"fewer than {count} rows after {timeout_s} s")


_numbers = itertools.count()


def slow(count: int, seconds: float = 0.5) -> list[bytes]:
    return distinct(count, asking=f"wait {seconds} mark 90", salt=str(next(_numbers)))


async def populated(database: Database, setup: Setup, contents: Sequence[bytes]) -> Population:
    return await populate(database, setup.storage, contents, onchain_id=f"campaign {next(_numbers)}")


async def check_complete(database: Database, batch_id: UUID, population: Population) -> Counter[str]:
    """Every contribution has exactly one row; answers the verdicts."""
    rows = await rows_of(database, batch_id)
    assert Counter(row.contribution_id for row in rows) == Counter(population.contribution_ids)
    return Counter(row.verdict for row in rows)


def judged(setup: Setup, contents: Sequence[bytes]) -> int:
    """How often these contents were scored, all together."""
    assert setup.verification.scorer.model is not None
    counted = Counter(Path(setup.verification.scorer.model).read_text().split())
    return sum(counted[hashlib.sha256(content).hexdigest()] for content in set(contents))


async def start(database: Database, setup: Setup, population: Population) -> UUID:
    batch_id = await open_batch(database, population.campaign_id)
    await ensure_runner(setup).wake.remote(batch_id)
    return batch_id


async def test_a_batch_runs_to_its_end_and_judges_each_once(database: Database, setup: Setup) -> None:
    good = slow(40, 0.01)
    population = await populated(database, setup, [*good, b"mark 10 of a thin story", b""])
    batch_id = await start(database, setup, population)
    assert await wait_until_finished(database, batch_id) == "completed"
    assert await check_complete(database, batch_id, population) == {"ACCEPT": 40, "REJECT": 1, "ERROR": 1}
    assert judged(setup, good) == 40
    async with database.read() as session:
        found = await activities.of_campaign(session, population.campaign_id, limit=10)
        mirrored = await contributions.of_campaign(session, population.campaign_id, limit=99)
    assert [(each.kind, each.detail["judged"]) for each in found] == [("batch_completed", 42)]
    assert Counter(each.verdict for each in mirrored) == {"ACCEPT": 40, "REJECT": 1, "ERROR": 1}


async def test_the_earliest_of_equal_contents_is_the_original_whichever_chunk_is_faster(
    database: Database, setup: Setup
) -> None:
    # Each text stands in every chunk of eight; only the first chunk is slow, for copies are not scored.
    texts = slow(8, 0.5)
    population = await populated(database, setup, texts * 5)
    batch_id = await start(database, setup, population)
    assert await wait_until_finished(database, batch_id) == "completed"
    assert await check_complete(database, batch_id, population) == {"ACCEPT": 8, "REJECT": 32}
    originals = population.contribution_ids[:8]
    rows = {row.contribution_id: row for row in await rows_of(database, batch_id)}
    for index, contribution_id in enumerate(population.contribution_ids[8:]):
        assert (rows[contribution_id].duplicate_kind, rows[contribution_id].duplicate_of) == (
            "exact",
            originals[index % 8],
        )
    # A copy costs no call of a provider.
    assert judged(setup, texts) == 8


async def test_a_killed_worker_costs_no_row(database: Database, setup: Setup, ray_cluster: RayCluster) -> None:
    contents = slow(48, 0.3)
    population = await populated(database, setup, contents)
    batch_id = await start(database, setup, population)
    await wait_for_rows(database, batch_id, 8)
    (await asyncio.to_thread(ray_cluster.worker_running, "judge_chunk")).kill()
    assert await wait_until_finished(database, batch_id) == "completed"
    assert await check_complete(database, batch_id, population) == {"ACCEPT": 48}
    # What was lost is judged again, and nothing else.
    assert judged(setup, contents) <= 48 + setup.verification.fanout.chunk_size


async def test_a_file_that_kills_its_worker_costs_one_row(database: Database, setup: Setup) -> None:
    contents = slow(24, 0.01)
    contents[11] = b"this one will kill whoever judges it"
    population = await populated(database, setup, contents)
    batch_id = await start(database, setup, population)
    assert await wait_until_finished(database, batch_id) == "completed"
    assert await check_complete(database, batch_id, population) == {"ACCEPT": 23, "ERROR": 1}
    (row,) = [row for row in await rows_of(database, batch_id) if row.verdict == "ERROR"]
    assert (row.contribution_id, row.error_code, row.score) == (population.contribution_ids[11], "worker_lost", None)
    assert "died" in row.reasoning


async def test_a_killed_runner_goes_on_where_it_was(database: Database, setup: Setup, ray_cluster: RayCluster) -> None:
    contents = slow(64, 0.3)
    population = await populated(database, setup, contents)
    batch_id = await start(database, setup, population)
    await wait_for_rows(database, batch_id, 8)
    (await asyncio.to_thread(ray_cluster.worker_running, "RunnerActor")).kill()
    assert await wait_until_finished(database, batch_id) == "completed"
    assert await check_complete(database, batch_id, population) == {"ACCEPT": 64}
    async with database.read() as session:
        assert (await verifications.batch(session, batch_id)).epoch == 2
    # Finished rows were not judged again: at most what was in flight was.
    assert judged(setup, contents) < 64 + 5 * setup.verification.fanout.chunk_size


async def test_a_batch_survives_a_stop_and_a_start(database: Database, setup: Setup) -> None:
    contents = slow(48, 0.3)
    population = await populated(database, setup, contents)
    batch_id = await start(database, setup, population)
    await wait_for_rows(database, batch_id, 8)
    await asyncio.to_thread(stop_actors, setup)
    # Nobody wakes the new runner: it finds what is unfinished.
    await asyncio.to_thread(ensure_runner, setup)
    assert await wait_until_finished(database, batch_id) == "completed"
    assert await check_complete(database, batch_id, population) == {"ACCEPT": 48}


async def test_a_batch_uses_two_nodes_and_outlives_one(
    database: Database, setup: Setup, ray_cluster: RayCluster
) -> None:
    node = ray_cluster.add_node()
    try:
        population = await populated(database, setup, slow(96, 0.4))
        batch_id = await start(database, setup, population)
        await wait_for_rows(database, batch_id, 8)
        await asyncio.to_thread(ray_cluster.worker_running, "judge_chunk", on=node)
    finally:
        ray_cluster.kill_node(node)
    assert await wait_until_finished(database, batch_id) == "completed"
    assert await check_complete(database, batch_id, population) == {"ACCEPT": 96}


async def test_cancel_stops_a_batch_at_once(database: Database, setup: Setup) -> None:
    contents = slow(400, 1.0)
    population = await populated(database, setup, contents)
    batch_id = await start(database, setup, population)
    await wait_for_rows(database, batch_id, 8)
    async with database.begin() as session:
        await verifications.request_cancel(session, batch_id)
    asked = time.monotonic()
    assert await wait_until_finished(database, batch_id) == "cancelled"
    took = time.monotonic() - asked
    stopped = len(await rows_of(database, batch_id))
    await asyncio.sleep(1.5)
    assert len(await rows_of(database, batch_id)) == stopped < 400
    assert took < 4.0


async def test_a_database_that_hangs_up_delays_a_batch_and_loses_nothing(database: Database, setup: Setup) -> None:
    contents = slow(40, 0.2)
    population = await populated(database, setup, contents)
    batch_id = await start(database, setup, population)
    await wait_for_rows(database, batch_id, 8)
    for _ in range(10):
        async with database.begin() as session:
            await session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await asyncio.sleep(0.1)
    assert await wait_until_finished(database, batch_id) == "completed"
    assert await check_complete(database, batch_id, population) == {"ACCEPT": 40}
