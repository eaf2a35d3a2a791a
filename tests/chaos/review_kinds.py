"""Runs that ask people in every way there is, and the processes that drive them: all killed by their test."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

from actors.runs.host import RunHost
from actors.runs.kinds import Kinds, RunSetup
from actors.schedules.registry import PERIODIC
from actors.schedules.scheduler import Scheduler, SchedulerSetup
from actors.schedules.task import Periodic
from storage.runs import SHARDS
from tests.actors.reviews.asking import ASKING


def open_kinds(setup: RunSetup) -> Kinds:
    """Steps that ask, workflows whose nodes do, and verdicts REVIEW."""
    # Seconds that only a host should cost.
    from actors.agents.kind import kind_of, open_workshop  # noqa: PLC0415
    from actors.reviews import contribution  # noqa: PLC0415
    from actors.verification.workplace import Setup, Workplace  # noqa: PLC0415

    workshop, close_workshop = open_workshop(setup.storage, setup.actors)
    reading = Workplace(Setup(storage=setup.storage, verification=setup.actors.verification))

    async def close() -> None:
        await close_workshop()
        await reading.close()

    return Kinds([ASKING, kind_of(workshop), contribution.kind_of(reading)], close)


def review_time() -> Sequence[Periodic]:
    """The periodic work of reviews alone."""
    return [each for each in PERIODIC if each.name == "keep_review_time"]


async def host(setup: RunSetup) -> None:
    driving = RunHost(setup, range(SHARDS))
    await driving.driving.wait()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def scheduler(setup: RunSetup) -> None:
    # A short lease: what a killed scheduler was doing is another's after three seconds.
    _ = Scheduler(SchedulerSetup(storage=setup.storage, periodic=review_time, lease_s=3.0))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    given: RunSetup = pickle.loads(Path(sys.argv[2]).read_bytes())
    asyncio.run({"host": host, "scheduler": scheduler}[sys.argv[1]](given))
