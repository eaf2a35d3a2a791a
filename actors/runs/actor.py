"""Run hosts as detached actors: each drives an equal range of the shards. None is the record of anything.

Ray keeps one of each name alive. Where it fails to, and two believe to be the same one, the epoch of the later holds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import ray

from actors import detached
from actors.runs import heap
from actors.runs.host import RunHost
from actors.runs.kinds import RunSetup
from storage.runs import SHARDS
from storage.settings import StorageSettings

# More than anybody's hosts were ever set to.
_MOST = 64


@dataclass(frozen=True, slots=True)
class HostSetup:
    """Of the host with number `index`, from 0."""

    runs: RunSetup
    index: int

    @property
    def storage(self) -> StorageSettings:
        return self.runs.storage

    @property
    def shards(self) -> range:
        count = self.runs.actors.runs.hosts
        return range(self.index * SHARDS // count, (self.index + 1) * SHARDS // count)


# No CPU: it waits for others most of the time. What may be heavy, steps send to workers.
@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class RunHostActor(RunHost):
    def __init__(self, setup: HostSetup) -> None:
        self._made_from = setup
        # Its name begins with the noun by which the actor is found: `run_shards` says who holds a shard.
        super().__init__(setup.runs, setup.shards, name=f"{_noun(setup.index)} of {setup.runs.actors.runs.hosts}")
        heap.settle()

    async def has(self, setup: HostSetup) -> bool:  # type: ignore[override]  # an actor is made from its index too
        return self._made_from == setup

    async def attend(self, run_id: UUID) -> None:
        self.wake(run_id)

    async def ready(self) -> bool:
        """Whether it holds its shards and drives their runs."""
        return self.driving.is_set()


def ensure_hosts(setup: RunSetup) -> list[Any]:
    """The run hosts of this database, started where there are none, anew where they were set up otherwise.

    Ray must be connected. Raises `ClusterUnavailableError`.
    """
    count = setup.actors.runs.hosts
    # Hosts of an earlier, larger number hold shards that are others' now.
    detached.stop(setup, *(_noun(index) for index in range(count, _MOST)))
    with ThreadPoolExecutor(max_workers=count, thread_name_prefix="hosts") as pool:
        return list(pool.map(lambda index: _ensure(setup, index), range(count)))


def stop_hosts(setup: RunSetup) -> None:
    """End the run hosts of this database. Runs stay where they are and go on when hosts are started again."""
    detached.stop(setup, *(_noun(index) for index in range(_MOST)))


def _ensure(setup: RunSetup, index: int) -> Any:
    return detached.ensure(RunHostActor, HostSetup(setup, index), _noun(index), max_concurrency=100)


def _noun(index: int) -> str:
    return f"runs-{index}"
