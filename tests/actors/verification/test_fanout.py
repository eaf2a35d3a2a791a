"""How many chunks run at once, what Ray's errors mean, and what outlives a task in a worker. No cluster is started."""

from __future__ import annotations

import _thread
import asyncio
import pickle
import threading
from pathlib import Path

import pytest
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskUnschedulableError,
    WorkerCrashedError,
)

from actors.errors import ClusterUnavailableError, CutOffError, PreparedLostError, WorkerLostError
from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.demand import cpus_per_task, unplaceable
from actors.verification.fanout import fault, slots
from actors.verification.worker import Worker
from actors.verification.workplace import Setup, Workplace
from serve.settings import ServeSettings
from storage.settings import StorageSettings
from tests.actors.verification.scripted_scorer import ScriptedScorer


def settings(kind: str = "local", *, concurrency: int = 64, **fanout: object) -> VerificationSettings:
    return VerificationSettings.model_validate({"scorer": {"kind": kind, "concurrency": concurrency}, "fanout": fanout})


@pytest.mark.parametrize(
    ("given", "resources", "expected"),
    [
        (settings(), {"CPU": 2.0}, 2),
        (settings(num_cpus=4), {"CPU": 16.0}, 4),
        # A provider: more chunks than CPUs, so that its slots stay used while one is between chunks.
        (settings("openai"), {"CPU": 2.0}, 4),
        # But on a large cluster no more than its concurrency can use, or than there are CPUs to read with.
        (settings("openai"), {"CPU": 16.0}, 16),
        (settings("openai", concurrency=1024), {"CPU": 16.0}, 39),
        (settings("openai", num_cpus=0.5), {"CPU": 4.0}, 8),
        (settings(num_gpus=1), {"CPU": 32.0, "GPU": 4.0}, 4),
        (settings(max_chunks_in_flight=5), {"CPU": 2.0}, 5),
        # A cluster that is still starting has none: one chunk waits for it.
        (settings(), {}, 1),
    ],
)
def test_chunks_in_flight_follow_the_cluster(
    given: VerificationSettings, resources: dict[str, float], expected: int
) -> None:
    assert slots(given, resources) == expected


@pytest.mark.parametrize(
    ("given", "nodes", "says"),
    [
        (settings(), [{"CPU": 1.0}], None),
        (settings("openai"), [{"CPU": 0.5}], None),
        (settings(num_cpus=4), [{"CPU": 2.0}, {"CPU": 2.0}], "holds 4 CPU"),
        (settings(num_cpus=4), [{"CPU": 2.0}, {"CPU": 4.0}], None),
        (settings(num_gpus=1), [{"CPU": 8.0}], "1 CPU and 1 GPU"),
        # Both of one machine.
        (settings(num_gpus=1), [{"CPU": 8.0}, {"GPU": 1.0}], "they have: 0 CPU and 1 GPU, 8 CPU and 0 GPU"),
    ],
)
def test_a_task_that_no_machine_can_hold_is_told(
    given: VerificationSettings, nodes: list[dict[str, float]], says: str | None
) -> None:
    reason = unplaceable(given, nodes)
    assert reason is None if says is None else reason is not None and says in reason


def test_a_replica_takes_nothing_from_the_chunks() -> None:
    """With a share of its own, a machine of one CPU would hold none beside it, and batches would wait for ever."""
    assert ServeSettings().replica_cpus == 0


def test_a_vote_with_a_local_member_computes() -> None:
    vote = ScorerSettings(kind="vote", members=(ScorerSettings(kind="openai"), ScorerSettings(kind="local")))
    assert cpus_per_task(VerificationSettings(scorer=vote)) == 1.0


CUT_OFF: RayError = RayTaskError("judge_chunk", "traceback", CutOffError("late"))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("raised", "means", "says"),
    [
        (CUT_OFF, CutOffError, "late"),
        (WorkerCrashedError(), WorkerLostError, "process died"),
        (NodeDiedError("gone"), WorkerLostError, "machine was lost"),  # type: ignore[no-untyped-call]
        (OutOfMemoryError("killed"), WorkerLostError, "memory"),  # type: ignore[no-untyped-call]
        (ObjectLostError("0" * 56, None, ""), PreparedLostError, "lost"),
        (TaskUnschedulableError("no node fits"), ClusterUnavailableError, "no node fits"),
    ],
)
def test_what_rays_errors_mean(raised: RayError, means: type[Exception], says: str) -> None:
    found = fault(raised)
    assert type(found) is means
    assert says in str(found)


def test_a_worker_keeps_its_workplace_and_its_loop_between_tasks(tmp_path: Path) -> None:
    storage = StorageSettings(database_url="postgresql://nowhere/x", redis_url="redis://nowhere", data_dir=tmp_path)
    setup = Setup(storage=storage, verification=settings("openai"), open_scorer=ScriptedScorer)
    worker = Worker()

    async def see(workplace: Workplace) -> tuple[int, int, str]:
        return id(workplace), id(asyncio.get_running_loop()), threading.current_thread().name

    first = worker.run(setup, see)
    # As it arrives with each task: equal, and another object.
    assert worker.run(pickle.loads(pickle.dumps(setup)), see) == first
    assert first[2] != threading.current_thread().name
    other = Setup(storage=storage, verification=settings("openai", concurrency=3), open_scorer=ScriptedScorer)
    assert worker.run(other, see)[1:] == first[1:]


def test_an_interrupt_of_the_task_cancels_its_work(tmp_path: Path) -> None:
    storage = StorageSettings(database_url="postgresql://nowhere/x", redis_url="redis://nowhere", data_dir=tmp_path)
    setup = Setup(storage=storage, verification=settings("openai"), open_scorer=ScriptedScorer)
    cancelled = threading.Event()

    async def long(_: Workplace) -> None:
        threading.Timer(0.1, _interrupt_main).start()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        Worker().run(setup, long)
    assert cancelled.wait(20)


def _interrupt_main() -> None:
    # What Ray does to the thread that runs a task when the task is cancelled.
    _thread.interrupt_main()
