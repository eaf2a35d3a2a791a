"""A model's stub server, and a workshop whose agents ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.actors.agents.workshop import Bench
from tests.stubs.openai import OpenAIStub, completion


@pytest.fixture
async def stub() -> AsyncIterator[OpenAIStub]:
    async with OpenAIStub(lambda _: completion("done")) as stub:
        yield stub


@pytest.fixture
def bench(stub: OpenAIStub) -> Bench:
    return Bench(stub)
