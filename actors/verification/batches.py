"""A batch from its first missing item to its last row. Who does the work is a `Fanout`: Ray tasks, or this process.

`drive` keeps no record. What is left to do is the list of items without a result row, so any runner may stop at any
moment and another goes on. Two things keep runners apart: a lock that a dead runner's connection gives back, so that
nobody takes over a batch that is being driven; and the batch's epoch, which every write checks, so that a runner that
was cut off and does not know it cannot write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import CutOffError
from actors.settings import FanoutSettings
from actors.verification.chunks import Chunk, ChunkRunner, Fanout, Job, naming_database_faults
from actors.verification.pipeline import brief_of
from storage import activities, campaigns, verifications
from storage.engine import Database
from storage.tasks import end

log = logging.getLogger(__name__)

# How often a runner looks whether it was asked to stop.
_WATCH_S = 0.5
# Items listed at once, in chunks: what the runner holds of a batch of any size.
_PAGE_CHUNKS = 16
# Small batches are cut finer, so that every worker has some and progress shows.
_SMALLEST_CHUNK = 8

State = Literal["completed", "cancelled", "failed"]


async def drive(database: Database, batch_id: UUID, fanout: Fanout, settings: FanoutSettings) -> State | None:
    """Bring the batch to its end; answers its last state, or `None` where another runner has it or it is finished.

    Raises `DatabaseUnavailableError`, `ClusterUnavailableError` and what nobody foresaw: the batch then stays as it is,
    to be driven again.
    Needs three connections of `database`.
    """
    async with _lock(database, batch_id) as ours:
        if not ours:
            return None
        with naming_database_faults():
            async with database.begin() as session:
                epoch = await verifications.take_over(session, batch_id)
                if epoch is None:
                    return None
                batch = await verifications.batch(session, batch_id)
                campaign = await campaigns.get(session, batch.campaign_id)
                job = Job(batch_id, batch.campaign_id, epoch, brief_of(campaign))
                size = batch.triggered_count
        outcome = await _until_told(database, job, _run(database, job, fanout, settings, size))
        if outcome == "cut off":
            log.warning("batch %s was taken over by another runner", batch_id)
            return None
        return await close(database, job, outcome)


async def fail(database: Database, batch_id: UUID, reason: str) -> State | None:
    """End a batch that gets nowhere, saying why; the rows it has stay. `None` where another runner has it."""
    async with _lock(database, batch_id) as ours:
        if not ours:
            return None
        async with database.begin() as session:
            epoch = await verifications.take_over(session, batch_id)
            if epoch is None:
                return None
            batch = await verifications.batch(session, batch_id)
            await _finish(session, batch_id, batch.campaign_id, epoch, "failed", error=reason)
    return "failed"


async def close(database: Database, job: Job, state: State) -> State | None:
    """Write the batch's last state, once, as its present runner; `None` where it is no longer ours."""
    with naming_database_faults():
        async with database.begin() as session:
            if not await _finish(session, job.batch_id, job.campaign_id, job.epoch, state):
                return None
    return state


async def _finish(
    session: AsyncSession, batch_id: UUID, campaign_id: UUID, epoch: int, state: State, *, error: str | None = None
) -> bool:
    """The batch's last state and the activity that tells of it; `False` where the batch is another runner's."""
    if not await verifications.finish(session, batch_id, epoch, state, error=error):
        return False
    found = await verifications.progress(session, batch_id)
    reason = {} if error is None else {"error": error}
    activities.record(
        session, campaign_id, f"batch_{state}", "system",
        batch_id=str(batch_id), judged=found.judged, verdicts=found.verdicts, **reason,
    )  # fmt: skip
    return True


async def _until_told(
    database: Database, job: Job, work: Coroutine[Any, Any, None]
) -> Literal["completed", "cancelled", "cut off"]:
    """Run `work` to its end, or to the moment somebody cancels the batch or takes it over."""
    running = asyncio.create_task(work)
    watching = asyncio.create_task(_watch(database, job))
    try:
        await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            return watching.result()
        running.result()
    except CutOffError:
        return "cut off"
    else:
        return "completed"
    finally:
        await end([running, watching])


async def _watch(database: Database, job: Job) -> Literal["cancelled", "cut off"]:
    """Returns when the batch is cancelled or no longer ours."""
    while True:
        with suppress(SQLAlchemyError, OSError):  # the work itself finds out whether the database is gone for good
            async with database.read() as session:
                cancelled, epoch = await verifications.standing(session, job.batch_id)
            if epoch != job.epoch:
                return "cut off"
            if cancelled:
                return "cancelled"
        await asyncio.sleep(_WATCH_S)


async def _run(database: Database, job: Job, fanout: Fanout, settings: FanoutSettings, size: int) -> None:
    """Judge what is missing. Raises the first error that ends the batch, as itself."""
    chunk_size = max(1, min(settings.chunk_size, max(_SMALLEST_CHUNK, -(-size // (2 * fanout.judging)))))
    try:
        await _pass(database, job, fanout, settings, chunk_size)
        # A second look finds what lost its place, and nothing else, unless rows went missing between listing and
        # writing.
        job = replace(job, all_prepared=True)
        while await _pass(database, job, fanout, settings, chunk_size):
            pass
    except BaseExceptionGroup as group:
        raise _first(group) from group


async def _pass(database: Database, job: Job, fanout: Fanout, settings: FanoutSettings, chunk_size: int) -> int:
    """Bring every item that has no row through both stages; answers how many there were."""
    runner = ChunkRunner(fanout, job, database, settings)
    under_way = 0
    count = 0
    room = asyncio.Condition()

    async def prepare(contribution_ids: Sequence[UUID], before: asyncio.Task[Chunk] | None) -> Chunk:
        chunk = await runner.prepare(contribution_ids)
        if before is not None:
            await asyncio.wait([before])
        return chunk

    async def judge(prepared: asyncio.Task[Chunk]) -> None:
        nonlocal under_way
        await runner.judge(await prepared)
        async with room:
            under_way -= 1
            room.notify()

    async with asyncio.TaskGroup() as group:
        last: asyncio.Task[Chunk] | None = None
        async for contribution_ids in _missing(database, job, chunk_size):
            async with room:
                await room.wait_for(lambda: under_way < fanout.judging + fanout.ahead)  # noqa: B023  # that is the point
            under_way += 1
            count += len(contribution_ids)
            last = group.create_task(prepare(contribution_ids, last))
            group.create_task(judge(last))
    return count


async def _missing(database: Database, job: Job, chunk_size: int) -> AsyncIterator[list[UUID]]:
    """Chunks of what has no row yet, in order of submission."""
    after = -1
    while True:
        with naming_database_faults():
            async with database.read() as session:
                page = await verifications.missing(session, job.batch_id, after=after, limit=chunk_size * _PAGE_CHUNKS)
        if not page:
            return
        for start in range(0, len(page), chunk_size):
            yield [contribution_id for _, contribution_id in page[start : start + chunk_size]]
        after = page[-1][0]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that says most: being cut off before all others, else the first."""
    errors = [_first(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    return next((error for error in errors if isinstance(error, CutOffError)), errors[0])


@asynccontextmanager
async def _lock(database: Database, batch_id: UUID) -> AsyncIterator[bool]:
    """Whether the batch's lock is ours, held until the block ends or this process dies."""
    key = int.from_bytes(batch_id.bytes[8:], "big", signed=True)
    with naming_database_faults():
        async with database.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            # A runner's machine may vanish without a word; the server should notice within half a minute.
            for setting, value in (("idle", 15), ("interval", 5), ("count", 3)):
                await connection.execute(text(f"SET tcp_keepalives_{setting} = {value}"))
            taken = (await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})).scalar_one()
            try:
                yield bool(taken)
            finally:
                if taken:
                    with suppress(SQLAlchemyError, OSError):
                        await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
