"""A campaign whose verification asks people, and an engine whose runs ask them, all in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from actors.reviews import contribution
from actors.reviews.decisions import DECISION
from actors.reviews.service import Reviews
from actors.settings import FanoutSettings, ScorerSettings, VerificationSettings
from actors.verification.inprocess import InProcessVerification
from actors.verification.workplace import Setup
from storage import contributions, verifications
from storage.contributions import Contribution
from storage.engine import Database
from storage.reviews import Review
from storage.settings import StorageSettings
from storage.verdict_reviews import CHECKPOINT
from storage.verifications import Progress
from tests.actors.reviews.asking import ALL
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.actors.verification.population import Population, open_batch, populate
from tests.actors.verification.scripted_scorer import ScriptedScorer


class Verdicts:
    """What a creator and reviewers do with a campaign of scripted contents."""

    def __init__(self, engine: Engine, storage: StorageSettings, verification: InProcessVerification) -> None:
        self.engine = engine
        self.database: Database = engine.database
        self.storage = storage
        self.verification = verification
        self.reviews = Reviews(engine.database)

    async def campaign(self, contents: Sequence[bytes | str], **campaign: Any) -> Population:
        return await populate(self.database, self.storage, contents, **campaign)

    async def verified(self, population: Population) -> UUID:
        """The batch that judged all of it, at its end."""
        batch_id = await open_batch(self.database, population.campaign_id)
        assert await self.verification.drive(batch_id) == "completed"
        return batch_id

    async def waiting(self, count: int, states: Sequence[str] = ("open",)) -> list[Review]:
        """The queue, once it has that many; each review whole, in order of submission."""
        async with asyncio.timeout(20):
            while len(found := await self.listed(states)) != count:
                await asyncio.sleep(0.02)
        whole = {str(review.contribution_id): review for review in found}
        async with self.database.read() as session:
            submitted = await contributions.sources(session, [UUID(each) for each in whole])
        ordered = [whole[str(source.contribution_id)] for source in submitted]
        return [await self.reviews.get(each.review_id) for each in ordered]

    async def listed(self, states: Sequence[str] = ("open",)) -> Sequence[Review]:
        return await self.reviews.queue(ALL, limit=10_000, states=states, checkpoint=CHECKPOINT)

    async def decide(self, review: Review, answer: str = "approve", by: str = "ann", **more: Any) -> dict[str, Any]:
        """The output of the run that asked."""
        given = {"answer": answer, "review_id": str(review.review_id), "saw": review.saw, **more}
        await self.reviews.decide(review.review_id, DECISION.validate_python(given), by=by)
        ended = await self.engine.ended(review.run_id)
        assert ended.output is not None, ended.error
        return ended.output

    async def contribution(self, contribution_id: UUID) -> Contribution:
        async with self.database.read() as session:
            return await contributions.get(session, contribution_id)

    async def progress(self, batch_id: UUID) -> Progress:
        async with self.database.read() as session:
            return await verifications.progress(session, batch_id)


@asynccontextmanager
async def opened(database_url: str, redis_url: str, directory: Path, **verdicts: Any) -> AsyncIterator[Verdicts]:
    """A host that asks about verdicts, as these settings of verification say, and verification by what the contents
    ask for.
    """
    storage = StorageSettings(database_url=database_url, redis_url=redis_url, data_dir=directory)
    settings = VerificationSettings(
        scorer=ScorerSettings(kind="openai"), fanout=FanoutSettings(chunk_size=64), **verdicts
    )
    verification = InProcessVerification(Setup(storage=storage, verification=settings, open_scorer=ScriptedScorer))
    kind = contribution.kind_of(verification.workplace)
    setup = engines.setup_of(database_url, redis_url, directory, lambda _: engines.kinds(kind))
    try:
        async with engines.opened(setup) as engine:
            await engine.host()
            yield Verdicts(engine, storage, verification)
    finally:
        await verification.close()
