"""Chunks as Ray tasks. What a task reads stays in the object store, where the task that judges it gets it from.

Ray is told not to retry: a lost chunk is known here at once, tried again and taken apart by `chunks.ChunkRunner`. Ray's
own retries would not tell a dead node from a file that kills each worker it is given to, and it retries a task that
was killed for its memory without end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from actors.errors import ClusterUnavailableError, PreparedLostError, WorkerLostError
from actors.settings import VerificationSettings
from actors.verification import chunks, online
from actors.verification.chunks import Job
from actors.verification.demand import cpus_per_task
from actors.verification.rows import Prepared
from actors.verification.scoring import computes
from actors.verification.worker import worker
from actors.verification.workplace import Setup
from storage.errors import HyvveError
from storage.verifications import ResultRow

log = logging.getLogger(__name__)

# How often the cluster is asked how much it can run; nodes come and go.
_RESOURCES_S = 5.0
# How long a cancelled task may take to stop by itself.
_GRACE_S = 1.0


@ray.remote(num_returns=2, max_retries=0)
def prepare_chunk(setup: Setup, job: Job, contribution_ids: Sequence[UUID]) -> tuple[list[Prepared], int]:
    """What was prepared, for the object store, and how much, for the runner, which waits for that alone."""
    prepared = worker().run(setup, lambda workplace: chunks.prepare_chunk(workplace, job, contribution_ids))
    return prepared, len(prepared)


@ray.remote(max_retries=0)
def judge_chunk(
    setup: Setup, job: Job, contribution_ids: Sequence[UUID], at_once: int, *prepared: list[Prepared]
) -> int:
    """Judge and write; answers how many rows are new. `at_once` chunks are judged on the whole cluster."""
    items = [item for part in prepared for item in part]
    return worker().run(
        setup, lambda workplace: chunks.judge_chunk(workplace, job, contribution_ids, items, chunks=at_once)
    )


@ray.remote(num_cpus=0, max_retries=0)
def verify_alone(setup: Setup, call: str, arguments: dict[str, Any]) -> ResultRow:
    """One call of `online`, in a worker that holds nothing else: what it kills is itself."""
    return worker().run(setup, lambda workplace: online.CALLS[call](workplace, **arguments))


class RayFanout:
    """A `Fanout` over the cluster this process is connected to; all batches of a runner share its room."""

    def __init__(self, setup: Setup) -> None:
        self._setup = ray.put(setup)
        self._settings = setup.verification
        cpus = cpus_per_task(setup.verification)
        self._prepare_options: dict[str, Any] = {"num_cpus": cpus}
        # Left to itself, Ray fills one node to the half before it uses the next.
        self._judge_options: dict[str, Any] = {
            "num_cpus": cpus, "num_gpus": setup.verification.fanout.num_gpus, "scheduling_strategy": "SPREAD",
        }  # fmt: skip
        self._counted = 0.0
        self._slots = 1
        self._running = 0
        self._room = asyncio.Condition()

    @property
    def judging(self) -> int:
        if time.monotonic() - self._counted > _RESOURCES_S:
            total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's own omission
            self._slots, self._counted = slots(self._settings, total), time.monotonic()
        return self._slots

    @property
    def ahead(self) -> int:
        return self.judging + 1

    async def prepare(self, job: Job, contribution_ids: Sequence[UUID]) -> Any:
        task: Any = prepare_chunk.options(**self._prepare_options)
        prepared, count = task.remote(self._setup, job, list(contribution_ids))
        await finished(count)
        return prepared

    async def judge(self, job: Job, contribution_ids: Sequence[UUID], handles: Sequence[Any]) -> None:
        async with self._room:
            await self._room.wait_for(lambda: self._running < self.judging)
            self._running += 1
        try:
            task: Any = judge_chunk.options(**self._judge_options)
            await finished(task.remote(self._setup, job, list(contribution_ids), self.judging, *handles))
        finally:
            self._running -= 1
            async with self._room:
                self._room.notify()


def slots(settings: VerificationSettings, resources: Mapping[str, float]) -> int:
    """How many chunks are judged at once: as set, or as many as the cluster's CPUs (or GPUs) take.

    Where that is set by nobody, chunks that wait for a provider are no more than one a CPU, or one for each 16 calls
    at once, for each is a process; and one place is left for the reading that feeds them.
    """
    fanout = settings.fanout
    if fanout.max_chunks_in_flight is not None:
        return fanout.max_chunks_in_flight
    cpus = resources.get("CPU", 0.0)
    fits = [cpus / cpus_per_task(settings)]
    if fanout.num_gpus > 0:
        fits.append(resources.get("GPU", 0.0) / fanout.num_gpus)
    elif fanout.num_cpus is None and not computes(settings.scorer):
        fits = [min(fits[0] - 1, max(cpus, settings.scorer.concurrency / 16))]
    return max(1, int(min(fits)))


async def finished(ref: Any) -> Any:
    """The task's answer. Raises the error it raised, as itself, or `WorkerLostError` where it died.

    Where the caller is cancelled the task is cancelled too, by force if it does not stop.
    """
    try:
        return await ref
    except RayError as error:
        raise fault(error) from error
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, _cancel, ref))
        raise


def fault(error: RayError) -> Exception:
    """What Ray's error means here."""
    if isinstance(error, RayTaskError):
        cause = error.cause
        if isinstance(cause, RayError):
            return fault(cause)
        return cause if isinstance(cause, HyvveError) else error
    if isinstance(error, ObjectLostError):
        return PreparedLostError(f"what was read is lost: {_first_line(error)}")
    if isinstance(error, OutOfMemoryError):
        return WorkerLostError("the worker was stopped because its machine ran out of memory", reason="memory")
    if isinstance(error, NodeDiedError):
        return WorkerLostError("the worker's machine was lost", reason="node")
    if isinstance(error, WorkerCrashedError):
        return WorkerLostError("the worker process died", reason="crash")
    if isinstance(error, TaskCancelledError):
        return WorkerLostError("the task was cancelled from outside", reason="cancelled")
    return ClusterUnavailableError(f"Ray could not run the task: {type(error).__name__}: {_first_line(error)}")


def _cancel(ref: Any) -> None:
    try:
        ray.cancel(ref)
        done, _ = ray.wait([ref], timeout=_GRACE_S, fetch_local=False)
        if not done:
            ray.cancel(ref, force=True)
    except Exception:  # the task has ended, or the cluster is gone
        log.debug("a task could not be cancelled", exc_info=True)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
