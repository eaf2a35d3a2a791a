"""The scheduler as an actor on a real Ray cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.detached import Whereabouts
from actors.schedules.actor import ensure_scheduler, stop_scheduler
from actors.schedules.registry import PERIODIC
from actors.schedules.scheduler import SchedulerSetup
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.schedules.periodic import by_hand, eventually, known
from tests.conftest import RayCluster

pytestmark = pytest.mark.cluster

NAME = "mark_expired_campaigns_inactive"


async def test_a_scheduler_that_is_killed_comes_back_and_fires_what_came_meanwhile(
    ray_cluster: RayCluster, database: Database, database_url: str, tmp_path: Path
) -> None:
    setup = SchedulerSetup(
        storage=StorageSettings(database_url=database_url, redis_url="unix:///none", data_dir=tmp_path)
    )
    await known(database, *PERIODIC)
    first = await asyncio.to_thread(ensure_scheduler, setup)
    try:
        await by_hand(database, NAME)
        await eventually(database, NAME, lambda found: found[0].state == "completed")
        ray_cluster.worker_running("SchedulerActor").kill()
        await by_hand(database, NAME)
        rows = await eventually(
            database,
            NAME,
            lambda found: len(found) == 2 and {each.state for each in found} == {"completed"},
            timeout_s=60,
        )
        assert rows[0].host != rows[1].host
        again = await asyncio.to_thread(ensure_scheduler, setup)
        assert again == first, "the one that came back is the one that everybody knows"
        # As the console's links to the dashboard find it.
        where = Whereabouts(setup.storage)
        assert await where.actor_id("schedules") == again._ray_actor_id.hex()
        assert await where.actor_id("batches") is None
    finally:
        await asyncio.to_thread(stop_scheduler, setup)
