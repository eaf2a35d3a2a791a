"""Contributions through the whole pipeline in this process: real database, Redis and blobs; a scorer that obeys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.errors import EmptyContentError
from actors.settings import FanoutSettings, ScorerSettings, VerificationSettings
from actors.verification.inprocess import InProcessVerification
from actors.verification.rows import storable
from actors.verification.workplace import Setup
from storage.engine import Database
from storage.settings import StorageSettings
from storage.verifications import ResultRow
from tests.actors.verification.population import distinct, open_batch, populate, rows_of
from tests.actors.verification.scripted_scorer import ScriptedScorer


@pytest.fixture
def storage_settings(database_url: str, redis_url: str, tmp_path: Path) -> StorageSettings:
    return StorageSettings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path)


@pytest.fixture
async def verification(storage_settings: StorageSettings, tmp_path: Path) -> AsyncIterator[InProcessVerification]:
    settings = VerificationSettings(
        scorer=ScorerSettings(kind="openai", model=str(tmp_path / "journal")),
        fanout=FanoutSettings(item_timeout_s=6.0, chunk_size=8),
    )
    service = InProcessVerification(Setup(storage=storage_settings, verification=settings, open_scorer=ScriptedScorer))
    yield service
    await service.close()


async def test_every_contribution_gets_one_row_whatever_it_is(
    database: Database, storage_settings: StorageSettings, verification: InProcessVerification
) -> None:
    cases: list[tuple[bytes | str, str, str | None]] = [
        (b"a story about the sea and its ships, mark 90", "ACCEPT", None),
        (b"a thin story, mark 20", "REJECT", None),
        (b"a story on the edge, mark 70", "REVIEW", None),
        (b"", "ERROR", "empty_content"),
        (b"\x00\x01\x02\x03 binary \xff\xfe\x00", "ERROR", "unsupported_type"),
        ("f" * 64, "ERROR", "blob_not_found"),
        ("file:///etc/passwd", "ERROR", "bad_reference"),
        (b"a story that will hang", "ERROR", "item_timeout"),
        (b"a story that will crash", "ERROR", "unexpected"),
        (b"refuse this one", "ERROR", "scorer_unavailable"),
        (b"an outrageous story, mark 101", "ERROR", "scorer_answer"),
        (b"a story about the sea and its ships, mark 90", "REJECT", None),
    ]
    population = await populate(database, storage_settings, [content for content, _, _ in cases])
    batch_id = await open_batch(database, population.campaign_id)
    assert await verification.drive(batch_id) == "completed"
    rows = await rows_of(database, batch_id)
    by_id = {row.contribution_id: row for row in rows}
    assert len(rows) == len(by_id) == len(cases)
    found = [by_id[each] for each in population.contribution_ids]
    assert [(row.verdict, row.error_code) for row in found] == [case[1:] for case in cases]
    assert all(row.reasoning for row in rows)
    assert all(row.score is None for row in rows if row.verdict == "ERROR")
    assert (found[-1].duplicate_of, found[-1].duplicate_kind) == (population.contribution_ids[0], "exact")
    assert found[0].usage == {"calls": 1}
    assert abs(found[0].adjustment or 0.0) <= 1.0


async def test_a_reason_with_nul_bytes_is_kept_and_not_an_error_of_the_chunk(
    database: Database, storage_settings: StorageSettings, verification: InProcessVerification
) -> None:
    assert storable("a\x00b\ud800") == "a\ufffdb?"
    population = await populate(database, storage_settings, [b"curse with nul", b"a good story, mark 90"])
    batch_id = await open_batch(database, population.campaign_id)
    assert await verification.drive(batch_id) == "completed"
    rows = {row.contribution_id: row for row in await rows_of(database, batch_id)}
    cursed, good = (rows[each] for each in population.contribution_ids)
    assert (cursed.verdict, good.verdict) == ("ACCEPT", "ACCEPT")
    assert "\ufffd" in cursed.reasoning
    assert cursed.marks[0]["reason"] == "as\ufffd told"


async def test_a_model_that_computes_here_is_given_the_chunk_and_then_the_blame(
    database: Database, storage_settings: StorageSettings, tmp_path: Path
) -> None:
    settings = VerificationSettings(
        scorer=ScorerSettings(kind="local", model=str(tmp_path / "journal")),
        fanout=FanoutSettings(chunk_size=8, item_timeout_s=20.0),
    )
    service = InProcessVerification(Setup(storage=storage_settings, verification=settings, open_scorer=ScriptedScorer))
    texts = [*distinct(5), b"a story that will crash"]
    population = await populate(database, storage_settings, texts)
    batch_id = await open_batch(database, population.campaign_id)
    try:
        assert await service.drive(batch_id) == "completed"
    finally:
        await service.close()
    rows = {row.contribution_id: row for row in await rows_of(database, batch_id)}
    assert [rows[each].verdict for each in population.contribution_ids] == ["ACCEPT"] * 5 + ["ERROR"]


async def test_a_loose_file_is_compared_and_never_registered(
    database: Database, storage_settings: StorageSettings, verification: InProcessVerification
) -> None:
    original = b"an original story about a lighthouse and its keeper, mark 90"
    population = await populate(database, storage_settings, [original], onchain_id="loose")
    assert await verification.drive(await open_batch(database, population.campaign_id)) == "completed"

    async def submit(data: bytes) -> ResultRow:
        return await verification.verify_submission(
            onchain_campaign_id="loose", wallet_address="0xw", data=data, file_name="a.txt", declared_type=None
        )

    for _ in range(2):
        row = await submit(b"another story about a harbour in winter, mark 85")
        assert (row.verdict, row.duplicate_of, row.raw_score) == ("ACCEPT", None, 85.0)
    assert (await submit(original)).duplicate_of == population.contribution_ids[0]
    with pytest.raises(EmptyContentError):
        await submit(b"")
    failed = await submit(b"refuse this one")
    assert (failed.verdict, failed.error_code, failed.score) == ("ERROR", "scorer_unavailable", None)
