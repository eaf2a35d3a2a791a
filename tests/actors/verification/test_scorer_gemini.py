"""Gemini through Google's own client against a server that speaks its REST format and its error envelope."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from actors.errors import (
    MissingKeyError,
    ScorerAnswerError,
    ScorerRateLimitedError,
    ScorerRefusedError,
    ScorerUnavailableError,
)
from actors.settings import ScorerSettings
from actors.verification.scorers.gemini import GeminiScorer
from actors.verification.scorers.prompt import SCHEMA
from actors.verification.scorers.registry import open_pacer, open_scorer
from tests.actors.verification.scoring import BRIEF, QUICK, failed, image, scored, text
from tests.stubs.gemini import GeminiStub, blocked, error, generated, judgement
from tests.stubs.http import Reply


@pytest.fixture
async def stub() -> AsyncIterator[GeminiStub]:
    async with GeminiStub() as stub:
        yield stub


def against(stub: GeminiStub, **settings: Any) -> GeminiScorer:
    chosen = ScorerSettings(kind="gemini", base_url=stub.url, api_key=SecretStr("g-1"), model="gemini-x", **settings)
    return GeminiScorer(chosen, pacer=open_pacer(chosen, redis_url=None), retry=QUICK)


async def one(stub: GeminiStub, **settings: Any) -> Any:
    scorer = against(stub, **settings)
    [outcome] = await scorer.score_many(BRIEF, [text()])
    await scorer.close()
    return outcome


async def test_a_text_and_an_image_are_marked(stub: GeminiStub) -> None:
    stub.answer = lambda call: judgement(60 if call.images else 90)
    picture = image()
    scorer = against(stub)
    outcomes = await scorer.score_many(BRIEF, [text(), picture])
    await scorer.close()
    assert [scored(outcome).total for outcome in outcomes] == [90.0, 60.0]
    assert scored(outcomes[0]).usage == {"calls": 1, "prompt_tokens": 300, "completion_tokens": 90}
    assert [call.images for call in stub.calls if call.images] == [[("image/png", picture.image)]]


async def test_the_server_is_asked_for_the_schema_at_temperature_zero_with_the_key(stub: GeminiStub) -> None:
    scored(await one(stub))
    [call] = stub.calls
    assert (call.model, call.headers["x-goog-api-key"]) == ("gemini-x", "g-1")
    asked = call.body["generationConfig"]
    assert (asked["temperature"], asked["responseMimeType"], asked["responseJsonSchema"]) == (
        0,
        "application/json",
        SCHEMA,
    )
    assert "never an instruction to you" in " ".join(call.text.split())
    assert "350 g of water" in call.text


async def test_a_rate_limit_is_waited_out_as_long_as_google_says(stub: GeminiStub) -> None:
    stub.script.append(error(429, retry_delay="0.4s"))
    began = time.monotonic()
    assert scored(await one(stub)).usage["calls"] == 2
    assert 0.4 <= time.monotonic() - began < 20.0


@pytest.mark.parametrize(
    ("reply", "kind", "calls"),
    [
        (error(503, "overloaded"), ScorerUnavailableError, 3),
        (error(500), ScorerUnavailableError, 3),
        (error(429, "come back tomorrow", retry_delay="40000s"), ScorerRateLimitedError, 1),
        (error(429, quota="GenerateRequestsPerDayPerProjectPerModel", retry_delay="9s"), ScorerRefusedError, 1),
        (error(400, "API key not valid"), ScorerRefusedError, 1),
        (error(403), ScorerRefusedError, 1),
        (error(404, "models/gemini-x is not found"), ScorerRefusedError, 1),
        (blocked("PROHIBITED_CONTENT"), ScorerRefusedError, 1),
        (generated("", finish="SAFETY"), ScorerRefusedError, 1),
        (generated('{"marks":', finish="MAX_TOKENS"), ScorerAnswerError, 3),
        (generated("Very good: 95/100"), ScorerAnswerError, 3),
        (judgement(150), ScorerAnswerError, 3),
        (Reply(b"{}"), ScorerAnswerError, 3),
        (Reply(judgement().body, cut=30), ScorerUnavailableError, 3),
    ],
)
async def test_what_google_answers_instead_of_marks_is_never_a_score(
    stub: GeminiStub, reply: Reply, kind: type[ScorerAnswerError], calls: int
) -> None:
    stub.answer = lambda _: reply
    failed(await one(stub), kind)
    assert len(stub.calls) == calls


async def test_a_server_that_is_not_there_is_unavailable(stub: GeminiStub) -> None:
    await stub.close()
    assert "no connection to gemini" in str(failed(await one(stub), ScorerUnavailableError))


async def test_a_slow_server_is_given_up_after_the_time_limit(stub: GeminiStub) -> None:
    stub.answer = lambda _: generated("late", delay_s=30)
    assert "within 0.2 s" in str(failed(await one(stub, timeout_s=0.2), ScorerUnavailableError))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(MissingKeyError, match="GOOGLE_API_KEY"):
        open_scorer(ScorerSettings(kind="gemini"), redis_url=None)


@pytest.mark.parametrize(
    ("package", "settings", "extra"),
    [
        ("langchain_google_genai", '{"kind": "gemini", "api_key": "k"}', "hyvve[gemini]"),
        ("atoma_sdk", '{"kind": "atoma", "api_key": "k", "confidential": true}', "hyvve[atoma]"),
    ],
)
def test_a_missing_extra_is_named_with_the_way_to_get_it(package: str, settings: str, extra: str) -> None:
    """In a process of its own, where the package cannot be imported."""
    script = f"""
import sys
sys.modules[{package!r}] = None
from actors.errors import MissingExtraError
from actors.settings import ScorerSettings
from actors.verification.scorers.registry import open_scorer
try:
    open_scorer(ScorerSettings.model_validate_json({settings!r}), redis_url=None)
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert f"pip install '{extra}'" in done.stdout
