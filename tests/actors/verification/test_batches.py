"""Driving batches in this process: fencing, cancelling, providers that fail. On a cluster: tests/chaos/test_batches.py."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from actors.errors import ClusterUnavailableError, CutOffError, PreparedLostError, WorkerLostError
from actors.settings import FanoutSettings, ScorerSettings, VerificationSettings
from actors.verification.batches import drive, fail
from actors.verification.chunks import Job, write
from actors.verification.inprocess import InProcessFanout, InProcessVerification
from actors.verification.pipeline import brief_of
from actors.verification.rows import Submission, error_row
from actors.verification.runner import BatchRunner
from actors.verification.scorers.registry import open_scorer
from actors.verification.workplace import ScorerFactory, Setup, Workplace
from storage import activities, campaigns, contributions, verifications
from storage.engine import Database
from storage.settings import FetchSettings, StorageSettings
from tests.actors.verification.population import Population, distinct, open_batch, populate, put, rows_of
from tests.actors.verification.scripted_scorer import ScriptedScorer
from tests.stubs.openai import OpenAIStub, judgement
from tests.stubs.web import WebStub, answer

Make = Callable[..., Awaitable[InProcessVerification]]


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
            fetch: FetchSettings | None = None,
        ) -> InProcessVerification:
            settings = VerificationSettings(
                scorer=scorer or ScorerSettings(kind="openai"), fanout=FanoutSettings(chunk_size=4, item_timeout_s=20.0)
            )
            storage = storage_settings if fetch is None else storage_settings.model_copy(update={"fetch": fetch})
            service = InProcessVerification(Setup(storage=storage, verification=settings, open_scorer=by))
            stack.push_async_callback(service.close)
            return service

        yield make


async def verdicts(database: Database, batch_id: UUID, population: Population) -> Counter[str]:
    rows = await rows_of(database, batch_id)
    assert Counter(row.contribution_id for row in rows) == Counter(population.contribution_ids)
    return Counter(row.verdict for row in rows)


async def state_of(database: Database, batch_id: UUID) -> str:
    async with database.read() as session:
        return (await verifications.batch(session, batch_id)).state


async def test_an_empty_campaign_is_a_finished_batch(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, [])
    batch_id = await open_batch(database, population.campaign_id)
    assert await (await make()).drive(batch_id) == "completed"
    assert await state_of(database, batch_id) == "completed"


async def test_a_sample_is_judged_and_no_more(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, distinct(20))
    async with database.begin() as session:
        batch_id = (await verifications.open_batch(session, population.campaign_id, sample_size=7)).batch_id
    assert await (await make()).drive(batch_id) == "completed"
    assert len(await rows_of(database, batch_id)) == 7


async def test_a_batch_has_one_runner_at_a_time(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, distinct(8, asking="wait 0.3 mark 90"))
    batch_id = await open_batch(database, population.campaign_id)
    first, second = await make(), await make()
    assert Counter(await asyncio.gather(first.drive(batch_id), second.drive(batch_id))) == {"completed": 1, None: 1}
    assert await verdicts(database, batch_id, population) == {"ACCEPT": 8}
    assert await second.drive(batch_id) is None


async def test_a_runner_that_was_taken_over_writes_nothing_more(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, distinct(24, asking="wait 1.0 mark 90"))
    batch_id = await open_batch(database, population.campaign_id)
    service = await make()
    driving = asyncio.create_task(service.drive(batch_id))
    while not await rows_of(database, batch_id):
        await asyncio.sleep(0.05)
    # What another machine does that no longer sees our lock.
    async with database.begin() as session:
        epoch = await verifications.take_over(session, batch_id)
        before = len(await verifications.results(session, batch_id, limit=1000))
    assert await driving is None
    assert len(await rows_of(database, batch_id)) == before < 24
    assert await state_of(database, batch_id) == "running"
    # And it cannot write what it had under way.
    async with database.read() as session:
        campaign = await campaigns.get(session, population.campaign_id)
    submission = Submission(contribution_id=population.contribution_ids[-1], seq=1, contributor="0x", data_url="")
    row = error_row(population.campaign_id, submission, CutOffError("late"))
    assert epoch == 2
    with pytest.raises(CutOffError):
        await write(database, Job(batch_id, population.campaign_id, 1, brief_of(campaign)), [row])
    assert await service.drive(batch_id) == "completed"
    assert await verdicts(database, batch_id, population) == {"ACCEPT": 24}


async def test_a_finished_batch_takes_no_late_row(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, distinct(4, asking="wait 30 mark 90"))
    batch_id = await open_batch(database, population.campaign_id)
    driving = asyncio.create_task((await make()).drive(batch_id))
    while await state_of(database, batch_id) == "pending":
        await asyncio.sleep(0.05)
    async with database.begin() as session:
        await verifications.request_cancel(session, batch_id)
        campaign = await campaigns.get(session, population.campaign_id)
    async with asyncio.timeout(20):
        assert await driving == "cancelled"
    submission = Submission(contribution_id=population.contribution_ids[0], seq=1, contributor="0x", data_url="")
    with pytest.raises(CutOffError):
        await write(
            database,
            Job(batch_id, population.campaign_id, 1, brief_of(campaign)),
            [error_row(population.campaign_id, submission, CutOffError("late"))],
        )
    assert await rows_of(database, batch_id) == []


async def test_a_batch_that_gets_nowhere_says_why(database: Database, storage_settings: StorageSettings) -> None:
    population = await populate(database, storage_settings, distinct(2))
    batch_id = await open_batch(database, population.campaign_id)
    assert await fail(database, batch_id, "no machine fits") == "failed"
    async with database.read() as session:
        batch = await verifications.batch(session, batch_id)
        (told,) = await activities.of_campaign(session, population.campaign_id, limit=9)
    assert (batch.state, batch.error) == ("failed", "no machine fits")
    assert (told.kind, told.detail["batch_id"]) == ("batch_failed", str(batch_id))
    assert (told.detail["error"], told.detail["judged"]) == ("no machine fits", 0)


class Faulty(InProcessFanout):
    """Judges in this process, once it has raised these errors in turn; remembers how many it was given each time."""

    def __init__(self, workplace: Workplace, errors: list[Exception]) -> None:
        super().__init__(workplace)
        self._errors = errors
        self.sizes: list[int] = []

    async def judge(self, job: Job, contribution_ids: Sequence[UUID], handles: Sequence[Any]) -> None:
        self.sizes.append(len(contribution_ids))
        if self._errors:
            raise self._errors.pop(0)
        await super().judge(job, contribution_ids, handles)


async def test_a_cluster_that_cannot_work_puts_a_batch_off_and_blames_no_contribution(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, distinct(4))
    batch_id = await open_batch(database, population.campaign_id)
    workplace = (await make()).workplace
    fanout = Faulty(workplace, [ClusterUnavailableError("no connection"), ClusterUnavailableError("no node fits")])
    for _ in range(2):
        with pytest.raises(ClusterUnavailableError):
            await drive(database, batch_id, fanout, workplace.settings.fanout)
        assert (await state_of(database, batch_id), await rows_of(database, batch_id)) == ("running", [])
    assert await drive(database, batch_id, fanout, workplace.settings.fanout) == "completed"
    assert await verdicts(database, batch_id, population) == {"ACCEPT": 4}


async def test_a_lost_machine_is_waited_for_before_contributions_are_blamed(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, distinct(4))
    batch_id = await open_batch(database, population.campaign_id)
    workplace = (await make()).workplace
    fanout = Faulty(workplace, [WorkerLostError("the worker's machine was lost", reason="node")] * 2)
    assert await drive(database, batch_id, fanout, workplace.settings.fanout) == "completed"
    assert fanout.sizes == [4, 4, 4]
    assert await verdicts(database, batch_id, population) == {"ACCEPT": 4}


async def test_what_a_batch_says_it_holds_it_holds_whoever_submits_meanwhile(
    database: Database, storage_settings: StorageSettings
) -> None:
    population = await populate(database, storage_settings, distinct(3))
    async with database.begin() as session:
        # As a submission does; the batch's own row waits for this one.
        await campaigns.by_onchain_id(session, population.onchain_campaign_id, lock=True)
        opening = asyncio.create_task(open_batch(database, population.campaign_id))
        while not await _waiting(database):
            await asyncio.sleep(0.02)
        first = await contributions.get(session, population.contribution_ids[0])
        body = {name: getattr(first, name) for name in contributions.BODY_COLUMNS}
        await contributions.submit_many(session, population.campaign_id, [body])
    batch_id = await opening
    async with database.read() as session:
        batch = await verifications.batch(session, batch_id)
        members = await verifications.missing(session, batch_id, after=-1, limit=9)
    assert batch.triggered_count == batch.total_found == len(members)
    async with database.begin() as session:
        sample = await verifications.open_batch(session, population.campaign_id, sample_size=2)
        members = await verifications.missing(session, sample.batch_id, after=-1, limit=9)
    assert (sample.triggered_count, sample.total_found) == (2, 4)
    assert [ordinal for ordinal, _ in members] == [0, 1]


async def _waiting(database: Database) -> bool:
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with database.read() as session:
        return bool((await session.execute(query)).scalar_one())


async def test_an_outage_takes_no_verdict_away(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, [*distinct(2), b"a story so thin, mark 10"])
    assert await (await make()).drive(await open_batch(database, population.campaign_id)) == "completed"
    async with database.read() as session:
        before = [await contributions.get(session, each) for each in population.contribution_ids]
    assert [each.verdict for each in before] == ["ACCEPT", "ACCEPT", "REJECT"]
    gone = ScorerSettings(kind="openai", base_url="http://127.0.0.1:9/v1", model="gone", retries=0)
    batch_id = await open_batch(database, population.campaign_id)
    assert await (await make(gone, by=open_scorer)).drive(batch_id) == "completed"
    assert await verdicts(database, batch_id, population) == {"ERROR": 3}
    async with database.read() as session:
        after = [await contributions.get(session, each) for each in population.contribution_ids]
    assert [_judgement(each) for each in after] == [_judgement(each) for each in before]


def _judgement(contribution: contributions.Contribution) -> tuple[object, ...]:
    return contribution.verdict, contribution.verified_score, contribution.verified_at, contribution.is_verified


async def test_a_copy_judged_first_gives_way_to_its_original_in_the_next_full_batch(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    (original,) = distinct(1)
    late = hashlib.sha256(original).hexdigest()
    population = await populate(database, storage_settings, [late, original + b" "])
    first, copy = population.contribution_ids
    service = await make()
    # Nothing can find an original whose bytes nobody has yet.
    assert (await service.verify_contribution(copy)).verdict == "ACCEPT"
    assert put(storage_settings, original) == late
    batch_id = await open_batch(database, population.campaign_id)
    assert await service.drive(batch_id) == "completed"
    rows = {row.contribution_id: (row.verdict, row.duplicate_of) for row in await rows_of(database, batch_id)}
    assert rows == {first: ("ACCEPT", None), copy: ("REJECT", first)}
    async with database.read() as session:
        assert (await contributions.get(session, first)).is_verified
        assert not (await contributions.get(session, copy)).is_verified


async def test_what_the_chunk_raises_is_tried_again_and_then_blamed_on_one(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, distinct(12))
    batch_id = await open_batch(database, population.campaign_id)
    bad = population.contribution_ids[5]

    class Fragile(InProcessFanout):
        async def judge(self, job: Job, contribution_ids: Sequence[UUID], handles: Sequence[Any]) -> None:
            if bad in contribution_ids:
                raise ValueError("this one breaks the chunk")
            await super().judge(job, contribution_ids, handles)

    service = await make()
    settings = service.workplace.settings.fanout
    assert await drive(database, batch_id, Fragile(service.workplace), settings) == "completed"
    assert await verdicts(database, batch_id, population) == {"ACCEPT": 11, "ERROR": 1}
    (row,) = [row for row in await rows_of(database, batch_id) if row.verdict == "ERROR"]
    assert (row.contribution_id, row.error_code) == (bad, "unexpected")
    assert "this one breaks the chunk" in row.reasoning


async def test_what_was_prepared_and_is_lost_costs_those_no_row_that_are_judged_one_by_one(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, distinct(4))
    batch_id = await open_batch(database, population.campaign_id)
    bad, unreadable = population.contribution_ids[1:3]

    class Losing(InProcessFanout):
        """Its worker dies of one, and then the machine is lost that held what was prepared with it; another cannot be
        read again.
        """

        def __init__(self, workplace: Workplace) -> None:
            super().__init__(workplace)
            self.prepared: Counter[tuple[UUID, ...]] = Counter()

        async def prepare(self, job: Job, contribution_ids: Sequence[UUID]) -> Any:
            self.prepared[tuple(contribution_ids)] += 1
            if self.prepared.total() > 1 and unreadable in contribution_ids:
                raise WorkerLostError("the worker process died", reason="crash")
            return await super().prepare(job, contribution_ids)

        async def judge(self, job: Job, contribution_ids: Sequence[UUID], handles: Sequence[Any]) -> None:
            if bad in contribution_ids:
                raise WorkerLostError("the worker process died", reason="crash")
            if any(len(handle) > 1 for handle in handles):
                raise PreparedLostError("what was read is lost")
            await super().judge(job, contribution_ids, handles)

    workplace = (await make()).workplace
    fanout = Losing(workplace)
    assert await drive(database, batch_id, fanout, workplace.settings.fanout) == "completed"
    assert await verdicts(database, batch_id, population) == {"ACCEPT": 2, "ERROR": 2}
    errors = {row.contribution_id: row.error_code for row in await rows_of(database, batch_id) if row.error_code}
    assert errors == {bad: "worker_lost", unreadable: "worker_lost"}
    # Each is prepared again once, and no more.
    assert [fanout.prepared[each,] for each in population.contribution_ids[::3]] == [1, 1]


async def test_a_score_is_not_paid_for_twice(
    database: Database, storage_settings: StorageSettings, make: Make, tmp_path: Path
) -> None:
    population = await populate(database, storage_settings, distinct(10))
    journal = tmp_path / "journal"
    service = await make(ScorerSettings(kind="openai", model=str(journal)))
    for _ in range(2):
        batch_id = await open_batch(database, population.campaign_id)
        assert await service.drive(batch_id) == "completed"
        assert await verdicts(database, batch_id, population) == {"ACCEPT": 10}
    assert len(journal.read_text().split()) == 10
    assert {row.usage.get("cached") for row in await rows_of(database, batch_id)} == {1}


async def test_a_campaign_begun_twice_at_once_is_not_paid_for_twice(
    database: Database, storage_settings: StorageSettings, make: Make, tmp_path: Path
) -> None:
    """A double click, without a key that says so."""
    population = await populate(database, storage_settings, distinct(6, asking="wait 0.2, mark 90"))
    journal = tmp_path / "journal"
    service = await make(ScorerSettings(kind="openai", model=str(journal)))
    runner = BatchRunner(service.workplace.setup, InProcessFanout(service.workplace, judging=8))
    try:
        batches = [await open_batch(database, population.campaign_id) for _ in range(2)]
        await asyncio.gather(*(runner.wake(each) for each in batches))
        async with asyncio.timeout(30):
            while {await state_of(database, each) for each in batches} != {"completed"}:
                await asyncio.sleep(0.05)
    finally:
        await runner.close()
    assert len(journal.read_text().split()) == 6


async def test_what_an_outage_left_is_judged_without_the_rest(
    database: Database, storage_settings: StorageSettings, make: Make, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    contents = [b"a good story, mark 90", b"another story, refuse it", b"a thin story of little, mark 20"]
    population = await populate(database, storage_settings, contents)
    service = await make(ScorerSettings(kind="openai", model=str(journal)))
    assert await service.drive(await open_batch(database, population.campaign_id)) == "completed"
    async with database.begin() as session:
        batch = await verifications.open_batch(session, population.campaign_id, only_unjudged=True)
    assert (batch.triggered_count, batch.total_found) == (1, 3)
    assert await service.drive(batch.batch_id) == "completed"
    assert [row.contribution_id for row in await rows_of(database, batch.batch_id)] == [population.contribution_ids[1]]


async def test_a_vote_that_some_missed_is_taken_anew(
    database: Database, storage_settings: StorageSettings, make: Make, tmp_path: Path
) -> None:
    """A provider's outage of one minute must not leave a campaign with one voice for as long as scores are kept."""
    population = await populate(database, storage_settings, [b"judged alone, for the others were away, mark 90"])
    journal = tmp_path / "journal"
    service = await make(ScorerSettings(kind="openai", model=str(journal)))
    for _ in range(2):
        assert await service.drive(await open_batch(database, population.campaign_id)) == "completed"
    assert len(journal.read_text().split()) == 2


async def test_a_provider_that_comes_back_costs_time_and_no_row(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    async with OpenAIStub(lambda _: judgement(90, delay_s=0.1)) as stub:
        asked = ScorerSettings(kind="openai", base_url=stub.base_url, model="stub", retries=8, concurrency=4)
        population = await populate(database, storage_settings, distinct(24))
        batch_id = await open_batch(database, population.campaign_id)
        driving = asyncio.create_task((await make(asked, by=open_scorer)).drive(batch_id))
        while not await rows_of(database, batch_id):
            await asyncio.sleep(0.05)
        port = stub.port
        await stub.close()
        await asyncio.sleep(0.7)
        await stub.start(port)
        assert await driving == "completed"
    assert await verdicts(database, batch_id, population) == {"ACCEPT": 24}


async def test_a_provider_that_stays_away_is_a_reason_in_every_row(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    gone = ScorerSettings(kind="openai", base_url="http://127.0.0.1:9/v1", model="gone", retries=0)
    population = await populate(database, storage_settings, distinct(6))
    batch_id = await open_batch(database, population.campaign_id)
    assert await (await make(gone, by=open_scorer)).drive(batch_id) == "completed"
    assert await verdicts(database, batch_id, population) == {"ERROR": 6}
    assert {(row.error_code, row.score) for row in await rows_of(database, batch_id)} == {("scorer_unavailable", None)}


async def test_a_scorer_without_its_key_is_a_reason_in_every_row(
    database: Database, storage_settings: StorageSettings, make: Make
) -> None:
    population = await populate(database, storage_settings, distinct(3))
    batch_id = await open_batch(database, population.campaign_id)
    assert await (await make(ScorerSettings(kind="openai"), by=open_scorer)).drive(batch_id) == "completed"
    assert {row.error_code for row in await rows_of(database, batch_id)} == {"missing_key"}


@pytest.mark.parametrize("first_read", ["by a batch", "alone"])
async def test_who_puts_anothers_content_at_an_early_address_has_made_a_copy(
    database: Database, storage_settings: StorageSettings, make: Make, first_read: str
) -> None:
    (text_of_victim,) = distinct(1, salt="victim")
    async with WebStub() as web:
        # Some chunks lie between the two.
        population = await populate(
            database, storage_settings, [f"{web.url}/a.txt", *distinct(9), text_of_victim, text_of_victim + b"!"]
        )
        early, victim, copy = population.contribution_ids[0], *population.contribution_ids[-2:]
        service = await make(fetch=FetchSettings(allowed_networks=("127.0.0.0/8",)))
        web.pages["/a.txt"] = answer(b"a placeholder of little worth, mark 90")
        if first_read == "alone":  # what the victim handed in is then unread when the batch comes to the address
            assert (await service.verify_contribution(early)).verdict == "ACCEPT"
        else:
            assert await service.drive(await open_batch(database, population.campaign_id)) == "completed"
        web.pages["/a.txt"] = answer(text_of_victim)
        for _ in range(2):
            batch_id = await open_batch(database, population.campaign_id)
            assert await service.drive(batch_id) == "completed"
            assert await verdicts(database, batch_id, population) == {"ACCEPT": 10, "REJECT": 2}
            rows = {row.contribution_id: (row.verdict, row.duplicate_of) for row in await rows_of(database, batch_id)}
            assert rows[victim] == ("ACCEPT", None)
            assert rows[early] == rows[copy] == ("REJECT", victim)
    async with database.read() as session:
        assert (await contributions.get(session, victim)).is_verified
