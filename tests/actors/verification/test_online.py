"""Verification while somebody waits, in this process: real database, Redis and blobs; a scorer that obeys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from actors.errors import EmptyContentError, UnsupportedTypeError
from actors.settings import FanoutSettings, ScorerSettings, VerificationSettings
from actors.verification.inprocess import InProcessVerification
from actors.verification.scorers.registry import open_scorer
from actors.verification.workplace import ScorerFactory, Setup
from storage import contributions
from storage.contributions import Contribution
from storage.engine import Database
from storage.settings import FetchSettings, StorageSettings
from storage.verifications import ResultRow, VerificationResult
from tests.actors.verification.documents import encoded, noise, pdf
from tests.actors.verification.population import distinct, open_batch, populate, put
from tests.actors.verification.scripted_scorer import ScriptedScorer
from tests.stubs.http import Request
from tests.stubs.web import WebStub, answer

Make = Callable[..., Awaitable[InProcessVerification]]

# Ninety words, of which a near copy changes two.
STORY, OTHER = distinct(2, words=90)
NEAR = STORY.replace(STORY.split()[3], b"lighthouse").replace(STORY.split()[50], b"keeper")
GONE = ScorerSettings(kind="openai", base_url="http://127.0.0.1:9/v1", model="gone", retries=0)


@pytest.fixture
def storage_settings(database_url: str, redis_url: str, tmp_path: Path) -> StorageSettings:
    return StorageSettings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path)


@pytest.fixture
async def make(storage_settings: StorageSettings) -> AsyncIterator[Make]:
    """Makes services that are closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def make(
            scorer: ScorerSettings | None = None,
            *,
            by: ScorerFactory = ScriptedScorer,
            item_timeout_s: float = 20.0,
            fetch: FetchSettings | None = None,
        ) -> InProcessVerification:
            settings = VerificationSettings(
                scorer=scorer or ScorerSettings(kind="openai"), fanout=FanoutSettings(item_timeout_s=item_timeout_s)
            )
            storage = storage_settings if fetch is None else storage_settings.model_copy(update={"fetch": fetch})
            service = InProcessVerification(Setup(storage=storage, verification=settings, open_scorer=by))
            stack.push_async_callback(service.close)
            return service

        yield make


async def check(service: InProcessVerification, data: bytes, name: str = "a.txt") -> ResultRow:
    return await service.verify_submission(
        onchain_campaign_id="campaign_1", wallet_address="0xme", data=data, file_name=name, declared_type=None
    )


async def results(database: Database) -> list[VerificationResult]:
    async with database.read() as session:
        query = select(VerificationResult).order_by(VerificationResult.result_id)
        return list((await session.execute(query)).scalars())


async def stored(database: Database, contribution_id: UUID) -> Contribution:
    async with database.read() as session:
        return await contributions.get(session, contribution_id)


async def test_an_upload_is_judged_and_its_row_written(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, [])
    row = await check(await make(), b"a story about a harbour in winter, mark 85")
    assert (row.verdict, row.raw_score, row.contribution_id, row.duplicate_of) == ("ACCEPT", 85.0, None, None)
    (written,) = await results(database)
    assert (written.verdict, written.campaign_id, written.contributor) == ("ACCEPT", population.campaign_id, "0xme")
    assert (written.batch_id, written.score) == (None, row.score)


async def test_an_upload_that_copies_a_contribution_of_another_wallet_names_it(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, [OTHER, STORY])
    service = await make()
    # What nobody has read yet cannot be compared with.
    assert (await check(service, STORY)).duplicate_of is None
    await service.drive(await open_batch(database, population.campaign_id))
    copy = await check(service, STORY)
    assert (copy.verdict, copy.duplicate_of, copy.duplicate_kind) == ("REJECT", population.contribution_ids[1], "exact")
    assert "0x0001" in copy.reasoning
    near = await check(service, NEAR)
    assert (near.verdict, near.duplicate_of, near.duplicate_kind) == ("REJECT", population.contribution_ids[1], "near")


async def test_an_upload_nothing_can_read_is_the_callers_error_and_no_row(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    await populate(database, storage_settings, [])
    service = await make()
    with pytest.raises(EmptyContentError):
        await check(service, b"")
    with pytest.raises(UnsupportedTypeError, match="a PNG image"):
        await check(service, encoded(noise()), "story.txt")
    assert await results(database) == []


async def test_a_provider_that_is_down_is_a_row_and_no_exception(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    await populate(database, storage_settings, [])
    row = await check(await make(GONE, by=open_scorer), STORY)
    assert (row.verdict, row.error_code, row.score) == ("ERROR", "scorer_unavailable", None)
    row = await check(await make(), b"a story that will crash its judge")
    assert (row.verdict, row.error_code, row.score) == ("ERROR", "unexpected", None)
    assert [each.verdict for each in await results(database)] == ["ERROR", "ERROR"]


async def test_reading_that_takes_too_long_is_a_row_and_no_exception(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    slow = pdf(["A page about bread."] * 50)  # read by another process, which takes longer than this
    population = await populate(database, storage_settings, [slow])
    service = await make(item_timeout_s=0.0001)
    row = await check(service, slow, "a.pdf")
    assert (row.verdict, row.error_code) == ("ERROR", "item_timeout")
    assert "0.0001 s" in row.reasoning
    row = await service.verify_contribution(population.contribution_ids[0])
    assert (row.verdict, row.error_code) == ("ERROR", "item_timeout")


async def test_a_contribution_is_judged_by_the_agents_and_marked(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, [b"a story about two brothers and a boat, mark 88"])
    (only,) = population.contribution_ids
    row = await (await make()).verify_contribution(only)
    assert (row.verdict, row.raw_score, row.contribution_id) == ("ACCEPT", 88.0, only)
    assert [(each.contribution_id, each.verdict) for each in await results(database)] == [(only, "ACCEPT")]
    found = await stored(database, only)
    assert (found.verdict, found.is_verified, found.verified_score) == ("ACCEPT", True, row.score)


async def test_a_contribution_whose_bytes_are_gone_is_an_error_row(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, ["f" * 64])
    (only,) = population.contribution_ids
    row = await (await make()).verify_contribution(only)
    assert (row.verdict, row.error_code, row.score) == ("ERROR", "blob_not_found", None)
    found = await stored(database, only)
    assert (found.verdict, found.is_verified, found.verified_score) == ("ERROR", False, None)


async def test_an_outage_does_not_undo_what_was_accepted(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, [STORY])
    (only,) = population.contribution_ids
    row = await (await make()).verify_contribution(only)
    assert (await (await make(GONE, by=open_scorer)).verify_contribution(only)).verdict == "ERROR"
    assert [each.verdict for each in await results(database)] == ["ACCEPT", "ERROR"]
    found = await stored(database, only)
    assert (found.verdict, found.is_verified, found.verified_score) == ("ACCEPT", True, row.score)


async def test_good_content_at_another_url_accepts_nothing(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, [b"nothing of worth, mark 5"])
    (bad,) = population.contribution_ids
    good = put(storage_settings, STORY)
    service = await make()
    row = await service.verify_contribution(bad, data_url=good)
    assert (row.verdict, row.contribution_id) == ("ACCEPT", None)
    assert good in row.reasoning
    assert "the contribution itself was not judged" in row.reasoning
    assert [(each.contribution_id, each.verdict) for each in await results(database)] == [(None, "ACCEPT")]
    found = await stored(database, bad)
    assert (found.verdict, found.is_verified, found.verified_score) == (None, False, None)
    gone = await service.verify_contribution(bad, data_url="f" * 64)
    assert (gone.verdict, gone.contribution_id) == ("ERROR", None)
    # Nor is the other content registered as the contribution's.
    own = await service.verify_contribution(bad, data_url=found.data_url)
    assert (own.verdict, own.contribution_id) == ("REJECT", bad)
    assert (await check(service, STORY)).verdict == "ACCEPT"


async def test_a_copy_verified_first_is_still_the_copy(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, ["f" * 64, STORY, OTHER, STORY, NEAR])
    _, original, _, copy, near = population.contribution_ids
    service = await make()
    # Nobody has read the original; it is read now, past what cannot be read.
    row = await service.verify_contribution(near)
    assert (row.verdict, row.duplicate_of, row.duplicate_kind) == ("REJECT", original, "near")
    row = await service.verify_contribution(copy)
    assert (row.verdict, row.duplicate_of, row.duplicate_kind) == ("REJECT", original, "exact")
    row = await service.verify_contribution(original)
    assert (row.verdict, row.duplicate_of) == ("ACCEPT", None)
    # To be read is not to be judged.
    assert [(await stored(database, each)).verdict for each in population.contribution_ids[:3:2]] == [None, None]


async def test_so_many_earlier_contributions_are_read_and_no_more(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    texts = distinct(66, words=12)
    population = await populate(database, storage_settings, [*texts, texts[63], texts[65]])
    service = await make()
    within, beyond = population.contribution_ids[-2:]
    assert (await service.verify_contribution(within)).duplicate_of == population.contribution_ids[63]
    async with database.read() as session:
        left = await contributions.unread(session, population.campaign_id, before=2**63 - 1, limit=99)
    assert [each.contribution_id for each in left] == [*population.contribution_ids[64:66], beyond]
    # The next one goes on from there.
    assert (await service.verify_contribution(beyond)).duplicate_of == population.contribution_ids[65]


async def test_content_that_changed_is_compared_with_what_was_submitted_after_it(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    async with WebStub() as web:
        population = await populate(database, storage_settings, [f"{web.url}/a.txt", OTHER, STORY])
        early, _, victim = population.contribution_ids
        service = await make(fetch=FetchSettings(allowed_networks=("127.0.0.0/8",)))
        web.pages["/a.txt"] = answer(b"a placeholder of little worth, mark 90")
        assert (await service.verify_contribution(early)).verdict == "ACCEPT"
        web.pages["/a.txt"] = answer(STORY)
        row = await service.verify_contribution(early)
    assert (row.verdict, row.duplicate_of, row.duplicate_kind) == ("REJECT", victim, "exact")
    assert (await service.verify_contribution(victim)).verdict == "ACCEPT"


async def test_an_address_that_does_not_answer_keeps_no_other_contribution_unread(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    answering = asyncio.Event()

    async def late(_: Request, writer: asyncio.StreamWriter) -> None:
        await answering.wait()
        writer.write(answer(OTHER))

    async def unread() -> list[UUID]:
        async with database.read() as session:
            found = await contributions.unread(session, population.campaign_id, before=2**63 - 1, limit=99)
        return [each.contribution_id for each in found]

    async with WebStub() as web:
        web.pages["/slow.txt"] = late
        texts = distinct(20, words=12)
        population = await populate(database, storage_settings, [texts[0], f"{web.url}/slow.txt", *texts[1:], STORY])
        slow, last = population.contribution_ids[1], population.contribution_ids[-1]
        service = await make(fetch=FetchSettings(allowed_networks=("127.0.0.0/8",)))
        verifying = asyncio.create_task(service.verify_contribution(last))
        async with asyncio.timeout(8):  # less than the call itself waits for it
            while await unread() != [slow]:
                await asyncio.sleep(0.05)
        assert not verifying.done()
        answering.set()
        assert (await verifying).verdict == "ACCEPT"
        assert await unread() == []
