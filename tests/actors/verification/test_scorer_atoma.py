"""Atoma: the plain chat, and the confidential one whose content must not cross the wire in the clear."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from actors.errors import MissingKeyError, ScorerAnswerError, ScorerRefusedError, ScorerUnavailableError
from actors.settings import ScorerSettings
from actors.verification.scorers.atoma import open_atoma
from actors.verification.scorers.registry import open_pacer, open_scorer
from tests.actors.verification.scoring import BRIEF, QUICK, failed, image, scored, text
from tests.stubs.atoma import AtomaStub
from tests.stubs.http import Reply
from tests.stubs.openai import completion, error, judgement


@pytest.fixture
async def stub() -> AsyncIterator[AtomaStub]:
    async with AtomaStub() as stub:
        yield stub


async def one(stub: AtomaStub, *, content: Any = None, confidential: bool = True, **settings: Any) -> Any:
    base_url = stub.url if confidential else stub.base_url
    chosen = ScorerSettings(
        kind="atoma", base_url=base_url, api_key=SecretStr("a-1"), confidential=confidential, **settings
    )
    scorer = open_atoma(chosen, pacer=open_pacer(chosen, redis_url=None), retry=QUICK)
    [outcome] = await scorer.score_many(BRIEF, [content or text()])
    await scorer.close()
    return outcome


async def test_the_plain_chat_is_the_openai_compatible_one(stub: AtomaStub) -> None:
    score = scored(await one(stub, confidential=False))
    assert (score.total, score.scorer) == (80.0, "atoma")
    assert stub.calls[0].headers["authorization"] == "Bearer a-1"
    assert stub.sealed == []


async def test_in_confidential_mode_only_the_node_can_read_the_content(stub: AtomaStub) -> None:
    score = scored(await one(stub))
    assert (score.total, score.scorer) == (80.0, "atoma-confidential")
    assert score.usage == {"calls": 1, "prompt_tokens": 400, "completion_tokens": 120}
    assert "350 g of water" in stub.calls[0].text  # the node has it,
    [sealed] = stub.sealed
    assert b"water" not in sealed  # the wire has not
    assert b"recipe" not in sealed


@pytest.mark.timed
async def test_confidential_calls_run_at_the_same_time(stub: AtomaStub) -> None:
    stub.answer = lambda _: judgement(delay_s=1.0)
    chosen = ScorerSettings(kind="atoma", base_url=stub.url, api_key=SecretStr("a-1"), confidential=True, concurrency=8)
    scorer = open_atoma(chosen, pacer=open_pacer(chosen, redis_url=None), retry=QUICK)
    began = time.monotonic()
    outcomes = await scorer.score_many(BRIEF, [text(str(n)) for n in range(8)])
    await scorer.close()
    assert {scored(outcome).total for outcome in outcomes} == {80.0}
    assert time.monotonic() - began < 8 * 1.0
    assert stub.peak > 4


async def test_an_image_is_left_to_a_person_in_confidential_mode(stub: AtomaStub) -> None:
    score = scored(await one(stub, content=image()))
    assert (score.marks, score.confidence) == ((), 0.0)
    assert stub.sealed == []


@pytest.mark.parametrize(
    ("reply", "kind", "calls"),
    [
        (error(503), ScorerUnavailableError, 3),
        (error(401, "bad key"), ScorerRefusedError, 1),
        (completion("85"), ScorerAnswerError, 3),
        (completion('{"marks"', finish="length"), ScorerAnswerError, 3),
        (
            completion("", tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
            ScorerAnswerError,
            3,
        ),
    ],
)
async def test_what_a_node_answers_instead_of_marks_is_never_a_score(
    stub: AtomaStub, reply: Reply, kind: type[ScorerAnswerError], calls: int
) -> None:
    stub.answer = lambda _: reply
    failed(await one(stub), kind)
    assert len(stub.calls) == calls


async def test_a_refused_key_is_told_apart_from_a_node_that_is_down(stub: AtomaStub) -> None:
    """The SDK calls both a 500 when it fails to get the node's key."""
    stub.lock_reply = error(401, "bad key")
    assert "401" in str(failed(await one(stub), ScorerRefusedError))
    stub.lock_reply = error(503, "no node free")
    failed(await one(stub), ScorerUnavailableError)
    await stub.close()
    assert "refused" in str(failed(await one(stub), ScorerUnavailableError))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(MissingKeyError, match="ATOMASDK_BEARER_AUTH"):
        open_scorer(ScorerSettings(kind="atoma"), redis_url=None)
