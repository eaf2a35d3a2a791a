"""Verification where it stands, without Ray: the same functions in this process. For tests and single machines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from actors.verification import chunks, online
from actors.verification.batches import drive
from actors.verification.chunks import Job
from actors.verification.rows import Prepared
from actors.verification.workplace import Setup, Workplace
from storage.tasks import end
from storage.verifications import ResultRow


class InProcessFanout:
    """A `Fanout` over one workplace."""

    def __init__(self, workplace: Workplace, *, judging: int = 1, ahead: int = 1) -> None:
        self._workplace = workplace
        self._judging = judging
        self._ahead = ahead
        self._room = asyncio.Semaphore(judging)

    @property
    def judging(self) -> int:
        return self._judging

    @property
    def ahead(self) -> int:
        return self._ahead

    async def prepare(self, job: Job, contribution_ids: Sequence[UUID]) -> Any:
        return await chunks.prepare_chunk(self._workplace, job, contribution_ids)

    async def judge(self, job: Job, contribution_ids: Sequence[UUID], handles: Sequence[Any]) -> None:
        prepared: list[Prepared] = [item for handle in handles for item in handle]
        async with self._room:
            await chunks.judge_chunk(self._workplace, job, contribution_ids, prepared, chunks=self._judging)


class InProcessVerification:
    """A `VerificationService` that judges in this process; `wake` drives the batch in the background."""

    def __init__(self, setup: Setup) -> None:
        self.workplace = Workplace(setup, pool_size=5)
        self._fanout = InProcessFanout(self.workplace)
        self._batches: dict[UUID, asyncio.Task[Any]] = {}

    async def verify_submission(
        self, *, onchain_campaign_id: str, wallet_address: str, data: bytes, file_name: str, declared_type: str | None
    ) -> ResultRow:
        return await online.verify_submission(
            self.workplace,
            onchain_campaign_id=onchain_campaign_id,
            wallet_address=wallet_address,
            data=data,
            file_name=file_name,
            declared_type=declared_type,
        )

    async def verify_contribution(self, contribution_id: UUID, *, data_url: str | None = None) -> ResultRow:
        return await online.verify_contribution(self.workplace, contribution_id, data_url=data_url)

    async def wake(self, batch_id: UUID) -> None:
        if batch_id not in self._batches:
            task = asyncio.create_task(self.drive(batch_id))
            self._batches[batch_id] = task
            task.add_done_callback(lambda _: self._batches.pop(batch_id, None))

    async def ready(self) -> None:
        """Whoever can ask is in the process that drives."""

    async def drive(self, batch_id: UUID) -> str | None:
        """Bring the batch to its end here and now; answers its state, or `None` where another runner has it."""
        settings = self.workplace.settings.fanout
        return await drive(self.workplace.database, batch_id, self._fanout, settings)

    async def drained(self) -> None:
        """Return when what was woken is driven to its end."""
        await asyncio.gather(*self._batches.values())

    async def close(self) -> None:
        """Stops what is being driven; it goes on where it was when somebody drives it again."""
        await end(self._batches.values())
        await self.workplace.close()
