"""Chunks: the unit that is sent to a worker, tried again when it is lost, and taken apart to find the one to blame.

A chunk takes two stages. `prepare` reads its contents and registers their fingerprints; `judge` looks for earlier equal
content, scores and writes the rows. `judge` of a chunk must not begin before `prepare` of all earlier ones has ended:
then the earliest submitted of two equal contents is the original, whichever chunk was faster. A contribution whose
content has changed since it was read first comes after all that were submitted before that was seen
(`fingerprints.register`), so it is judged when all are prepared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from actors.errors import (
    ClusterUnavailableError,
    CutOffError,
    PreparedLostError,
    UnexpectedItemError,
    WorkerLostError,
)
from actors.settings import FanoutSettings
from actors.verification.models import Brief
from actors.verification.pipeline import judge_parts, prepare_many
from actors.verification.rows import Prepared, Submission, error_row
from actors.verification.workplace import Workplace
from storage import contributions, verifications
from storage.engine import Database
from storage.errors import ConflictError, DatabaseUnavailableError, HyvveError

log = logging.getLogger(__name__)

T = TypeVar("T")

_BACKOFF_S = 0.2
# A lost machine is no item's fault, and takes seconds to be missed by all: more patience before items are blamed.
_LOST_NODE_RETRIES, _LOST_NODE_BACKOFF_S = 3, 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """A batch as its runner holds it: the brief it is judged by, and the epoch that lets it write.

    `all_prepared`: every chunk has been prepared. Until then, those that lost their place are left without a row.
    """

    batch_id: UUID
    campaign_id: UUID
    epoch: int
    brief: Brief
    all_prepared: bool = False


class Fanout(Protocol):
    """Where chunks run. It bounds by itself how many run at once."""

    @property
    def judging(self) -> int:
        """Chunks judged at once. May change as nodes come and go."""
        ...

    @property
    def ahead(self) -> int:
        """Chunks prepared ahead of those."""
        ...

    async def prepare(self, job: Job, contribution_ids: Sequence[UUID]) -> Any:
        """Prepare these contributions; answers a handle to the result, which stays where it was made.

        Raises `WorkerLostError` where the worker died, `ClusterUnavailableError` where the cluster could not run the
        task at all, `DatabaseUnavailableError`, or what the chunk raised.
        """
        ...

    async def judge(self, job: Job, contribution_ids: Sequence[UUID], handles: Sequence[Any]) -> None:
        """Judge these of what `handles` hold, and write their rows.

        Raises as `prepare` does, and `CutOffError` where the epoch has passed, `PreparedLostError` where what a handle
        holds is gone.
        """
        ...


async def prepare_chunk(workplace: Workplace, job: Job, contribution_ids: Sequence[UUID]) -> list[Prepared]:
    """What `Fanout.prepare` runs where the work is done."""
    with naming_database_faults():
        async with workplace.database.read() as session:
            sources = await contributions.sources(session, contribution_ids)
        return await prepare_many(workplace, job.campaign_id, [Submission.of(each) for each in sources])


async def judge_chunk(
    workplace: Workplace,
    job: Job,
    contribution_ids: Sequence[UUID],
    prepared: Sequence[Prepared],
    *,
    chunks: int = 1,
) -> int:
    """What `Fanout.judge` runs where the work is done: judge, and write rows as they come; answers how many are new."""
    wanted = set(contribution_ids)
    chosen = [
        item for item in prepared if item.submission.contribution_id in wanted and (job.all_prepared or not item.moved)
    ]
    new = 0
    with naming_database_faults():
        async with aclosing(judge_parts(workplace, job.campaign_id, job.brief, chosen, chunks=chunks)) as parts:
            async for rows in parts:
                new += await write(workplace.database, job, rows, asks_people=workplace.settings.review_verdicts)
    return new


async def write(
    database: Database, job: Job, rows: Sequence[verifications.ResultRow], *, asks_people: bool = False
) -> int:
    """Write rows as the batch's present runner; answers how many are new. Raises `CutOffError`."""
    try:
        async with database.begin() as session:
            return await verifications.write_results(session, job.batch_id, job.epoch, rows, asks_people=asks_people)
    except ConflictError as error:
        raise CutOffError(error.message, subject=str(job.batch_id)) from error


@contextmanager
def naming_database_faults() -> Iterator[None]:
    """An unreachable or overloaded database is no fault of the chunk: it is raised under its own name."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise DatabaseUnavailableError(
            f"PostgreSQL does not answer: {said[0] if said else type(error).__name__}"
        ) from error


@dataclass(slots=True)
class Chunk:
    """`handles` hold what was prepared; `lost` are those that could not even be prepared, with the reason."""

    contribution_ids: list[UUID]
    handles: list[Any] = field(default_factory=list)
    lost: dict[UUID, HyvveError] = field(default_factory=dict)


class ChunkRunner:
    """Brings chunks of one batch through both stages, whatever their workers do."""

    def __init__(self, fanout: Fanout, job: Job, database: Database, settings: FanoutSettings) -> None:
        self._fanout = fanout
        self._job = job
        self._database = database
        self._retries = settings.chunk_retries

    async def prepare(self, contribution_ids: Sequence[UUID]) -> Chunk:
        """The chunk, prepared; a contribution that kills its worker is among `lost`."""
        chunk = Chunk(list(contribution_ids))

        async def whole() -> None:
            chunk.handles = [await self._fanout.prepare(self._job, chunk.contribution_ids)]

        async def alone(contribution_id: UUID) -> None:
            chunk.handles.append(await self._fanout.prepare(self._job, [contribution_id]))

        failure = await self._try(whole)
        if failure is not None:
            chunk.lost = await self._one_by_one(chunk.contribution_ids, alone, failure)
        return chunk

    async def judge(self, chunk: Chunk) -> None:
        """Every contribution of the chunk has its row when this returns, but for those that are not judged yet."""
        wanted = [each for each in chunk.contribution_ids if each not in chunk.lost]

        async def whole() -> None:
            nonlocal wanted
            try:
                await self._fanout.judge(self._job, wanted, chunk.handles)
            except PreparedLostError:
                wanted = await self._without_row(wanted)
                again = await self.prepare(wanted)
                chunk.handles, chunk.lost = again.handles, chunk.lost | again.lost
                raise
            except WorkerLostError:
                # What was written before the worker was lost is not judged again.
                wanted = await self._without_row(wanted)
                raise

        own: dict[UUID, list[Any]] = {}

        async def alone(contribution_id: UUID) -> None:
            try:
                await self._fanout.judge(self._job, [contribution_id], own.get(contribution_id, chunk.handles))
            except PreparedLostError:
                again = await self.prepare([contribution_id])
                if again.lost:
                    chunk.lost.update(again.lost)
                    return
                own[contribution_id] = again.handles
                raise

        if wanted and (failure := await self._try(whole)) is not None:
            blamed = await self._one_by_one(wanted, alone, failure)
            chunk.lost.update(blamed)
        if chunk.lost:
            await self._write_lost(chunk.lost)

    async def _without_row(self, contribution_ids: Sequence[UUID]) -> list[UUID]:
        with naming_database_faults():
            async with self._database.read() as session:
                return await verifications.without_row(session, self._job.batch_id, contribution_ids)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> Exception | None:
        """`None` once `work` succeeded, or its last error.

        What is the fault of no item is raised and ends the drive: the batch stays as it is, to be driven again.
        """
        attempt = 0
        while True:
            try:
                await work()
            except (CutOffError, DatabaseUnavailableError, ClusterUnavailableError):
                raise
            except Exception as error:  # noqa: BLE001  # judged below: tried again, then taken apart
                log.warning("batch %s: a chunk failed, try %d: %s", self._job.batch_id, attempt + 1, error)
                retries, pause_s = self._retries, _BACKOFF_S
                if _node_lost(error):
                    retries, pause_s = max(retries, _LOST_NODE_RETRIES), _LOST_NODE_BACKOFF_S
                if attempt >= retries:
                    return error
                await asyncio.sleep(pause_s * 2**attempt)
                attempt += 1
            else:
                return None

    async def _one_by_one(
        self, contribution_ids: Sequence[UUID], work: Callable[[UUID], Awaitable[None]], failure: Exception
    ) -> dict[UUID, HyvveError]:
        """Each alone, so that only the one to blame is lost; answers those that failed again, and why."""
        log.warning(
            "batch %s: %d contributions are taken one by one: %s", self._job.batch_id, len(contribution_ids), failure
        )
        lost: dict[UUID, HyvveError] = {}

        async def one(contribution_id: UUID) -> None:
            if (error := await self._try(lambda: work(contribution_id))) is not None:
                lost[contribution_id] = _blamed(error)

        async with asyncio.TaskGroup() as group:
            for contribution_id in contribution_ids:
                group.create_task(one(contribution_id))
        return lost

    async def _write_lost(self, lost: dict[UUID, HyvveError]) -> None:
        with naming_database_faults():
            async with self._database.read() as session:
                sources = await contributions.sources(session, list(lost))
            rows = [
                error_row(self._job.campaign_id, Submission.of(each), lost[each.contribution_id]) for each in sources
            ]
            await write(self._database, self._job, rows)


def _node_lost(error: Exception) -> bool:
    """Whether a machine was lost, with the work on it or with what it held, rather than one worker process."""
    lost_result = isinstance(error, PreparedLostError)
    return lost_result or (isinstance(error, WorkerLostError) and error.details.get("reason") == "node")


def _blamed(error: Exception) -> HyvveError:
    if isinstance(error, WorkerLostError):
        return WorkerLostError(f"{error.message}; it was tried alone and lost again", **error.details)
    if isinstance(error, HyvveError):
        return error
    return UnexpectedItemError(f"an unforeseen error: {type(error).__name__}: {error}"[:500])
