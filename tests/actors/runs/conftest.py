from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine


@pytest.fixture
async def engine(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    """The service, and no host yet."""
    setup = engines.setup_of(database_url, redis_url, tmp_path, lambda _: engines.kinds())
    async with engines.opened(setup) as opened:
        yield opened
