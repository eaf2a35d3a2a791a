from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.actors.reviews.asking import ASKING, People
from tests.actors.runs import engine as engines


@pytest.fixture
async def people(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[People]:
    """A host drives runs that ask people."""
    setup = engines.setup_of(database_url, redis_url, tmp_path, lambda _: engines.kinds(ASKING))
    async with engines.opened(setup) as engine:
        await engine.host()
        yield People(engine)
