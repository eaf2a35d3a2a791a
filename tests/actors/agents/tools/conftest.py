from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.actors.agents.tools.bench import Bench


@pytest.fixture
async def bench(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = await Bench.open(database_url=database_url, redis_url=redis_url, data_dir=tmp_path)
    yield bench
    await bench.workplace.close()
