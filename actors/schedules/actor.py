"""The scheduler as a detached actor, one a database and cluster. Several clusters on one database do no harm."""

from __future__ import annotations

from typing import Any

import ray

from actors import detached
from actors.schedules.scheduler import Scheduler, SchedulerSetup

_NOUN = "schedules"


# No CPU: it waits most of the time, and a cluster that is full of work must not keep it from starting.
@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class SchedulerActor(Scheduler):
    pass


def ensure_scheduler(setup: SchedulerSetup) -> Any:
    """The scheduler of this database, started where there is none, anew where it was set up otherwise.

    Ray must be connected. Raises `ClusterUnavailableError`.
    """
    return detached.ensure(SchedulerActor, setup, _NOUN, max_concurrency=100)


def stop_scheduler(setup: SchedulerSetup) -> None:
    """End the scheduler of this database. What was due meanwhile is caught up or skipped when it is started again."""
    detached.stop(setup, _NOUN)
