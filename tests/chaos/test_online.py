"""Verification while somebody waits, on a real Ray cluster."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Iterator

import pytest

from actors.errors import EmptyContentError, UnsupportedTypeError
from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.actor import RayVerification, stop_actors
from actors.verification.workplace import Setup
from storage import contributions, verifications
from storage.engine import Database
from storage.settings import StorageSettings
from storage.verifications import ResultRow
from tests.actors.verification.population import open_batch, populate, rows_of
from tests.actors.verification.scripted_scorer import ScriptedScorer
from tests.conftest import RayCluster, database_from_template

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def setup(
    ray_cluster: RayCluster, postgres: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setup]:
    with database_from_template(postgres, "online") as url:
        setup = Setup(
            storage=StorageSettings(database_url=url, redis_url=redis_server, data_dir=tmp_path_factory.mktemp("o")),
            verification=VerificationSettings(scorer=ScorerSettings(kind="openai")),
            open_scorer=ScriptedScorer,
        )
        yield setup
        stop_actors(setup)


@pytest.fixture
async def database(setup: Setup) -> AsyncIterator[Database]:
    database = Database(setup.storage.database_url)
    yield database
    await database.close()


@pytest.fixture
def service(setup: Setup, database: Database) -> RayVerification:
    return RayVerification(database, setup.storage, setup.verification, open_scorer=ScriptedScorer)


async def submit(service: RayVerification, campaign: str, data: bytes, name: str = "a.txt") -> ResultRow:
    return await service.verify_submission(
        onchain_campaign_id=campaign, wallet_address="0xw", data=data, file_name=name, declared_type="text/plain"
    )


async def test_an_upload_is_judged_and_recognised_as_a_copy_but_never_as_an_original(
    database: Database, setup: Setup, service: RayVerification
) -> None:
    original = b"an original story about a lighthouse and its keeper, mark 90"
    population = await populate(database, setup.storage, [original], onchain_id="uploads")
    batch_id = await open_batch(database, population.campaign_id)
    await service.wake(batch_id)
    while not await rows_of(database, batch_id):
        await asyncio.sleep(0.1)
    fresh = b"another story about a harbour in winter, mark 85"
    for _ in range(2):  # a file that is checked twice is no copy of itself
        row = await submit(service, "uploads", fresh)
        assert (row.verdict, row.duplicate_of, row.contribution_id) == ("ACCEPT", None, None)
        assert row.raw_score == 85.0
    row = await submit(service, "uploads", original)
    assert (row.verdict, row.duplicate_of) == ("REJECT", population.contribution_ids[0])


async def test_an_upload_that_nothing_can_read_raises_what_the_api_answers_415_to(
    database: Database, setup: Setup, service: RayVerification
) -> None:
    await populate(database, setup.storage, [], onchain_id="unreadable")
    with pytest.raises(EmptyContentError) as caught:
        await submit(service, "unreadable", b"")
    assert pickle.loads(pickle.dumps(caught.value)).code == "empty_content"
    with pytest.raises(UnsupportedTypeError):
        await submit(service, "unreadable", b"\x00\x01\x02 binary", "a.bin")


async def test_an_upload_that_kills_its_worker_is_an_error_row_and_harms_no_other(
    database: Database, setup: Setup, service: RayVerification
) -> None:
    await populate(database, setup.storage, [], onchain_id="hostile")
    deadly, harmless = await asyncio.gather(
        submit(service, "hostile", b"this will kill its judge"),
        submit(service, "hostile", b"a harmless story, wait 0.5 mark 90"),
    )
    assert (deadly.verdict, deadly.error_code, deadly.score) == ("ERROR", "worker_lost", None)
    assert harmless.verdict == "ACCEPT"
    after = await submit(service, "hostile", b"a story that comes after, mark 90")
    assert after.verdict == "ACCEPT"


async def test_a_stored_contribution_is_judged_by_the_agents_and_marked(
    database: Database, setup: Setup, service: RayVerification
) -> None:
    text = b"a story about two brothers and a boat, mark 88"
    population = await populate(database, setup.storage, [text, text], onchain_id="stored")
    first, second = population.contribution_ids
    row = await service.verify_contribution(first)
    assert (row.verdict, row.raw_score, row.contribution_id) == ("ACCEPT", 88.0, first)
    copy = await service.verify_contribution(second)
    assert (copy.verdict, copy.duplicate_of) == ("REJECT", first)
    async with database.read() as session:
        stored = await contributions.get(session, first)
    assert (stored.verdict, stored.is_verified, stored.verified_score) == ("ACCEPT", True, row.score)
    gone = await service.verify_contribution(first, data_url="f" * 64)
    assert (gone.verdict, gone.error_code) == ("ERROR", "blob_not_found")


async def test_a_batch_nobody_could_wake_is_found_by_the_runner(
    database: Database, setup: Setup, service: RayVerification
) -> None:
    population = await populate(database, setup.storage, [b"a forgotten story, mark 90"], onchain_id="forgotten")
    batch_id = await open_batch(database, population.campaign_id)
    async with asyncio.timeout(60):
        while True:
            async with database.read() as session:
                if (await verifications.batch(session, batch_id)).state == "completed":
                    break
            await asyncio.sleep(0.1)
