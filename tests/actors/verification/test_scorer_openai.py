"""The OpenAI-compatible scorer against a server that speaks the wire format: what providers do, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from actors.errors import (
    MissingKeyError,
    ScorerAnswerError,
    ScorerRateLimitedError,
    ScorerRefusedError,
    ScorerUnavailableError,
)
from actors.settings import ScorerSettings
from actors.verification.models import Criterion
from actors.verification.scorers.openai_compatible import OpenAICompatibleScorer
from actors.verification.scorers.prompt import SCHEMA
from actors.verification.scorers.registry import open_pacer
from tests.actors.verification.scoring import BRIEF, QUICK, failed, image, scored, text
from tests.stubs.http import Reply
from tests.stubs.openai import OpenAIStub, completion, error, judgement


@pytest.fixture
async def stub() -> AsyncIterator[OpenAIStub]:
    async with OpenAIStub() as stub:
        yield stub


def against(stub: OpenAIStub, **settings: Any) -> OpenAICompatibleScorer:
    chosen = ScorerSettings(kind="openai", **{"base_url": stub.base_url, "model": "stub-model", **settings})
    return OpenAICompatibleScorer(chosen, pacer=open_pacer(chosen, redis_url=None), retry=QUICK)


async def one(stub: OpenAIStub, **settings: Any) -> Any:
    scorer = against(stub, **settings)
    [outcome] = await scorer.score_many(BRIEF, [text()])
    await scorer.close()
    return outcome


async def test_each_content_gets_its_own_score_in_order(stub: OpenAIStub) -> None:
    stub.answer = lambda body: judgement(float(body["messages"][1]["content"].split("value=")[1][:2]), confidence=0.7)
    scorer = against(stub)
    outcomes = await scorer.score_many(BRIEF, [text(f"value={n}") for n in range(10, 60)])
    await scorer.close()
    assert [scored(outcome).total for outcome in outcomes] == [float(n) for n in range(10, 60)]
    first = scored(outcomes[0])
    assert [mark.criterion for mark in first.marks] == list(Criterion)
    assert first.marks[0].reason == "accuracy is as asked"
    assert (first.confidence, first.scorer, first.scorer_version) == (0.7, "openai", scorer.version)
    assert first.usage == {"calls": 1, "prompt_tokens": 400, "completion_tokens": 120}


async def test_the_server_is_asked_for_the_schema_at_temperature_zero_with_the_key(stub: OpenAIStub) -> None:
    scored(await one(stub, api_key=SecretStr("sk-1")))
    [call] = stub.calls
    assert call.headers["authorization"] == "Bearer sk-1"
    assert call.body["model"] == "stub-model"
    assert call.body["temperature"] == 0
    assert call.body["response_format"]["json_schema"] == {"name": "judgement", "strict": True, "schema": SCHEMA}


@pytest.mark.parametrize(
    ("formats", "asked"),
    [(("json_object", "text"), ["json_schema", "json_object"]), (("text",), ["json_schema", "json_object", None])],
)
async def test_an_older_server_is_asked_in_a_form_it_takes_and_that_is_remembered(
    stub: OpenAIStub, formats: tuple[str, ...], asked: list[str | None]
) -> None:
    stub.only_formats = formats
    scorer = against(stub)
    for _ in range(2):
        [outcome] = await scorer.score_many(BRIEF, [text()])
        assert scored(outcome).total == 80.0
    await scorer.close()
    formats_asked = [call.body.get("response_format", {}).get("type") for call in stub.calls]
    assert formats_asked == [*asked, asked[-1]]


async def test_a_model_with_a_temperature_of_its_own_is_asked_without(stub: OpenAIStub) -> None:
    stub.script.append(error(400, "Unsupported value: 'temperature' does not support 0", param="temperature"))
    assert scored(await one(stub)).total == 80.0
    assert "temperature" not in stub.calls[1].body
    assert stub.calls[1].body["response_format"]["type"] == "json_schema"


async def test_an_image_is_sent_whole_and_a_large_or_rare_one_as_a_jpeg(stub: OpenAIStub) -> None:
    scorer = against(stub)
    outcomes = await scorer.score_many(BRIEF, [image(), image(3000, 1000), image(kind="GIF")])
    await scorer.close()
    assert [scored(outcome).total for outcome in outcomes] == [80.0] * 3
    urls = sorted(call.body["messages"][1]["content"][1]["image_url"]["url"][:22] for call in stub.calls)
    assert urls == ["data:image/jpeg;base64,"[:22]] * 2 + ["data:image/png;base64,"]


async def test_without_vision_an_image_is_left_to_a_person_and_nothing_is_asked(stub: OpenAIStub) -> None:
    scorer = against(stub, vision=False)
    [outcome] = await scorer.score_many(BRIEF, [image()])
    await scorer.close()
    assert (scored(outcome).marks, scored(outcome).confidence) == ((), 0.0)
    assert stub.calls == []


async def test_a_provider_that_says_wait_is_waited_for(stub: OpenAIStub) -> None:
    stub.script.append(error(429, "slow down", retry_after="30", retry_after_ms="400"))
    began = time.monotonic()
    assert scored(await one(stub)).usage["calls"] == 2
    assert 0.4 <= time.monotonic() - began < 25  # the finer header counts


async def test_being_told_to_slow_down_often_fails_no_content(stub: OpenAIStub) -> None:
    """A provider with 5 places under a worker configured for 40: every content is judged all the same."""

    def crowded(_: dict[str, Any]) -> Reply:
        return error(429, "too many", retry_after="0.05") if stub.in_flight > 5 else judgement(delay_s=0.01)

    stub.answer = crowded
    scorer = against(stub, concurrency=40)
    outcomes = await scorer.score_many(BRIEF, [text(str(n)) for n in range(60)])
    await scorer.close()
    assert {scored(outcome).total for outcome in outcomes} == {80.0}


async def test_a_passing_failure_is_tried_again(stub: OpenAIStub) -> None:
    stub.script.extend([error(500, "oops"), error(503, "overloaded")])
    assert scored(await one(stub)).usage["calls"] == 3


async def test_a_lasting_failure_is_an_error_that_says_how_often_and_what_last(stub: OpenAIStub) -> None:
    stub.answer = lambda _: error(503, "overloaded")
    outcome = failed(await one(stub), ScorerUnavailableError)
    assert str(outcome) == "gave up after 3 tries: openai answered 503: overloaded"
    assert outcome.details == {"status": 503, "tries": 3}


async def test_a_server_that_is_not_there_is_unavailable(stub: OpenAIStub) -> None:
    await stub.close()
    outcome = failed(await one(stub), ScorerUnavailableError)
    assert "gave up after 3 tries: no connection to http://127.0.0.1" in str(outcome)


async def test_a_slow_server_is_given_up_after_the_time_limit(stub: OpenAIStub) -> None:
    stub.answer = lambda _: judgement(delay_s=30)
    outcome = failed(await one(stub, timeout_s=0.1), ScorerUnavailableError)
    assert "did not answer within 0.1 s" in str(outcome)


async def test_a_spent_quota_of_the_day_does_not_hold_the_batch_up(stub: OpenAIStub) -> None:
    stub.answer = lambda _: error(429, "daily limit", retry_after="86400")
    outcome = failed(await one(stub), ScorerRateLimitedError)
    assert outcome.details["retry_after_s"] == 86400
    assert len(stub.calls) == 1


@pytest.mark.parametrize(
    "reply",
    [
        error(401, "Incorrect API key provided"),
        error(403, "not allowed in your region"),
        error(404, "the model `m` does not exist"),
        error(400, "This model's maximum context length is 8192 tokens", code="context_length_exceeded"),
        error(429, "You exceeded your current quota", code="insufficient_quota"),
        completion("", refusal="I cannot help with that."),
        completion("{}", finish="content_filter"),
    ],
)
async def test_what_no_second_try_can_cure_is_tried_once(stub: OpenAIStub, reply: Reply) -> None:
    stub.answer = lambda _: reply
    failed(await one(stub), ScorerRefusedError)
    assert len(stub.calls) == 1


@pytest.mark.parametrize(
    "reply",
    [
        completion("I would say 85 of 100."),
        completion('{"marks": {"accuracy"', finish="length"),
        judgement(101),
        judgement(-1),
        judgement(accuracy=float("nan")),
        completion("", tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
        Reply(b"<html>it works</html>", headers={"content-type": "text/html"}),
        Reply(b"{}"),
        Reply(b'{"choices": []}'),
        Reply(b'{"choices": [{"message": {"content": 5}}]}'),
        Reply(b"[]"),
    ],
)
async def test_nonsense_is_tried_again_and_then_an_error_never_a_score(stub: OpenAIStub, reply: Reply) -> None:
    stub.answer = lambda _: reply
    assert failed(await one(stub), ScorerAnswerError).details["tries"] == 3
    stub.calls.clear()
    stub.script.append(reply)
    stub.answer = lambda _: judgement()
    assert scored(await one(stub)).total == 80.0


async def test_an_answer_cut_off_on_the_wire_is_tried_again(stub: OpenAIStub) -> None:
    stub.script.append(Reply(judgement().body, cut=40))
    assert scored(await one(stub)).usage["calls"] == 2


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(b'{"error": "no such model"}', 404), "404: no such model"),
        (Reply(b'{"detail": "Not authenticated"}', 401), "401: Not authenticated"),
        (
            Reply(b'{"object": "error", "message": "model m does not exist", "code": 404}', 404),
            "model m does not exist",
        ),
        (Reply(b"<h1>Forbidden</h1>", 403), "403: <h1>Forbidden</h1>"),
        (Reply(b"", 403), "403: (no text)"),
        (Reply(b"", 301, {"location": "https://elsewhere/v1"}), "301"),
    ],
)
async def test_the_sentence_of_a_refusal_is_told_however_the_server_wraps_it(
    stub: OpenAIStub, reply: Reply, says: str
) -> None:
    stub.answer = lambda _: reply
    assert says in str(failed(await one(stub), ScorerRefusedError))


async def test_an_endpoint_that_is_no_url_is_named(stub: OpenAIStub) -> None:
    assert "'llm.internal:8000' is no http URL" in str(
        failed(await one(stub, base_url="llm.internal:8000"), ScorerRefusedError)
    )


async def test_the_machines_proxy_is_used(stub: OpenAIStub) -> None:
    """Where a company lets nothing out but through its proxy; in a process of its own, with the variable set."""
    script = """
import asyncio
from actors.settings import ScorerSettings
from actors.verification.scorers.registry import open_scorer
from tests.actors.verification.scoring import BRIEF, text

async def main():
    scorer = open_scorer(ScorerSettings(kind="openai", base_url="http://llm.invalid/v1", model="m"), redis_url=None)
    print((await scorer.score_many(BRIEF, [text()]))[0].total)
    await scorer.close()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, env={**os.environ, "http_proxy": stub.url}
    )
    printed, _ = await process.communicate()
    assert printed.strip() == b"80.0"
    assert stub.calls[0].headers["host"] == "llm.invalid"


async def test_one_bad_content_leaves_the_others_their_scores(stub: OpenAIStub) -> None:
    stub.answer = lambda body: error(400, "maximum context length") if "BAD" in str(body) else judgement()
    scorer = against(stub)
    outcomes = await scorer.score_many(BRIEF, [text("a"), text("BAD"), text("c")])
    await scorer.close()
    assert scored(outcomes[0]).total == scored(outcomes[2]).total == 80.0
    failed(outcomes[1], ScorerRefusedError)


async def test_no_more_calls_run_at_once_than_set(stub: OpenAIStub) -> None:
    stub.answer = lambda _: judgement(delay_s=0.02)
    scorer = against(stub, concurrency=7)
    outcomes = await scorer.score_many(BRIEF, [text(str(n)) for n in range(40)])
    await scorer.close()
    assert len([scored(outcome) for outcome in outcomes]) == 40
    assert stub.peak == 7


async def test_cancelling_a_batch_frees_its_slots_for_the_next(stub: OpenAIStub) -> None:
    stub.answer = lambda _: judgement(delay_s=60)
    scorer = against(stub, concurrency=4)
    batch = asyncio.create_task(scorer.score_many(BRIEF, [text(str(n)) for n in range(20)]))
    await asyncio.sleep(0.1)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    stub.answer = lambda _: judgement()
    outcomes = await asyncio.wait_for(scorer.score_many(BRIEF, [text(str(n)) for n in range(20)]), 30)
    await scorer.close()
    assert {scored(outcome).total for outcome in outcomes} == {80.0}


def test_the_version_changes_with_what_could_change_a_score() -> None:
    def version(**settings: Any) -> str:
        chosen = ScorerSettings(kind="openai", api_key=SecretStr("k"), **settings)
        return OpenAICompatibleScorer(chosen, pacer=open_pacer(chosen, redis_url=None)).version

    versions = [version(model="a"), version(model="b"), version(model="a", base_url="http://x/v1")]
    assert len({*versions, version(model="a", vision=False)}) == 4
    assert version(model="a") == versions[0] == version(model="a", concurrency=3, retries=9)


def test_a_missing_key_is_named() -> None:
    settings = ScorerSettings(kind="openai")
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
        OpenAICompatibleScorer(settings, pacer=open_pacer(settings, redis_url=None))


async def test_the_stub_speaks_what_langchains_own_client_reads(stub: OpenAIStub) -> None:
    """Agents use the same server through ChatOpenAI: plain, streamed, and with tools."""
    model = ChatOpenAI(model="m", base_url=stub.base_url, api_key=SecretStr("k"), max_retries=0)
    stub.answer = lambda _: completion("hello there")
    answer = await model.ainvoke("hi")
    assert answer.text == "hello there"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] == 520
    pieces = [chunk.text async for chunk in model.astream("hi")]
    assert "".join(pieces) == "hello there"
    assert len([piece for piece in pieces if piece]) > 1

    @tool
    def read_file_content(name: str) -> str:
        """Read a file."""
        return name

    call = {"id": "c1", "type": "function", "function": {"name": "read_file_content", "arguments": '{"name": "a.txt"}'}}
    stub.answer = lambda _: completion("", tool_calls=[call])
    asked = await model.bind_tools([read_file_content]).ainvoke("read a.txt")
    assert [(made["name"], made["args"]) for made in asked.tool_calls] == [("read_file_content", {"name": "a.txt"})]
