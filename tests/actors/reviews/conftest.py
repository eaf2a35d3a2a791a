from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.actors.reviews import teams
from tests.actors.reviews.asking import people
from tests.actors.reviews.teams import KEY, Team
from tests.stubs import openai as openai_chat
from tests.stubs.openai import OpenAIStub
from tests.stubs.openai_platform import OpenAIPlatformStub, response
from tests.stubs.replicate import ReplicateStub

__all__ = ["people"]


@pytest.fixture
async def openai() -> AsyncIterator[OpenAIPlatformStub]:
    async with OpenAIPlatformStub(KEY, response("Lima is the capital of Peru.")) as stub:
        yield stub


@pytest.fixture
async def replicate() -> AsyncIterator[ReplicateStub]:
    async with ReplicateStub(KEY) as stub:
        yield stub


@pytest.fixture
async def chat() -> AsyncIterator[OpenAIStub]:
    """Judges every response at 80 of 100."""
    async with OpenAIStub(lambda _: openai_chat.judgement(80.0)) as stub:
        yield stub


@pytest.fixture
async def team(  # noqa: PLR0917 - what a team run needs
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    openai: OpenAIPlatformStub,
    replicate: ReplicateStub,
    chat: OpenAIStub,
) -> AsyncIterator[Team]:
    storage = teams.storage_of(database_url, redis_url, tmp_path)
    async with teams.opened(storage, teams.actors_of(openai, replicate, chat)) as team:
        yield team
