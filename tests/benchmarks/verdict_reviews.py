"""What it costs a batch to ask people about every verdict: the same batch with and without, in turns, in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import text

from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.inprocess import InProcessVerification
from actors.verification.workplace import Setup
from storage import verifications
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.verification.population import open_batch, populate

ROUNDS = 5


async def asking_people(storage: StorageSettings, base_url: str, texts: Sequence[bytes]) -> float:
    """CPU-seconds of ours of a batch whose every verdict is a REVIEW that a person is asked about, over those of one that
    asks nobody. Of several rounds the cheapest of each: other work on the machine only ever adds.
    """
    database = Database(storage.database_url)
    part = len(texts) // (2 * ROUNDS + 1)
    spent: dict[bool, list[float]] = {True: [], False: []}
    try:
        await _batch(database, storage, base_url, texts[-part:], asks=False)
        for number in range(ROUNDS):
            for asks in (True, False) if number % 2 else (False, True):
                start = (2 * number + asks) * part
                took = await _batch(database, storage, base_url, texts[start : start + part], asks=asks)
                spent[asks].append(took / part * 1000)
        async with database.read() as session:
            asked = (
                await session.execute(text("SELECT count(*) FROM runs WHERE kind = 'contribution_review'"))
            ).scalar()
        assert asked == ROUNDS * part, asked
    finally:
        await database.close()
    for asks, each in spent.items():
        print(f"  {'asking' if asks else 'not asking'}: {', '.join(f'{took:.2f}' for took in each)} ms a contribution")
    return min(spent[True]) / min(spent[False])


async def _batch(
    database: Database, storage: StorageSettings, base_url: str, texts: Sequence[bytes], *, asks: bool
) -> float:
    scorer = ScorerSettings(kind="openai", base_url=base_url, model="stub")
    settings = VerificationSettings(scorer=scorer, review_verdicts=asks)
    service = InProcessVerification(Setup(storage=storage, verification=settings))
    try:
        # The stub's mark is the required score: too close to call.
        population = await populate(
            database, storage, texts, onchain_id=f"asking {asks} {time.time_ns()}", required_quality_score=80.0
        )
        batch_id = await open_batch(database, population.campaign_id)
        started = time.process_time()
        await service.drive(batch_id)
        spent = time.process_time() - started
        async with database.read() as session:
            found = (await verifications.progress(session, batch_id)).verdicts
        assert found == {"REVIEW": len(texts)}, found
        return spent
    finally:
        await service.close()
