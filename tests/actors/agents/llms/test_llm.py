"""Agents' language models through the real client libraries: what providers do, and what becomes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import SecretStr

from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.llms.llm import LLM, Answer
from actors.errors import (
    LLMAnswerError,
    LLMError,
    LLMKeyError,
    LLMQuotaError,
    LLMRateLimitedError,
    LLMRefusedError,
    LLMUnavailableError,
)
from actors.runs.retrying import classify
from actors.settings import LLMProviderSettings, LLMSettings
from tests.stubs import gemini, openai
from tests.stubs.atoma import AtomaStub
from tests.stubs.gemini import GeminiStub
from tests.stubs.http import Reply, StubServer
from tests.stubs.openai import OpenAIStub

ASKED: list[BaseMessage] = [SystemMessage("You are terse."), HumanMessage("What is the capital of Peru?")]
SEARCH = {
    "type": "function",
    "function": {
        "name": "web_search",
        "description": "Search the web.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
            "required": ["query"],
        },
    },
}


@dataclass
class Far:
    """A provider's stub, and the words of its wire format."""

    stub: OpenAIStub | GeminiStub
    choice: str
    says: Callable[..., Reply]
    calls: Callable[..., Reply]
    error: Callable[..., Reply]

    def llm(self, **settings: Any) -> LLM:
        at = self.stub.base_url if isinstance(self.stub, OpenAIStub) else self.stub.url
        reach = LLMProviderSettings(base_url=at, api_key=SecretStr("k-1"))
        self.catalogue = LLMCatalogue(
            LLMSettings(google=reach, openai=reach, atoma=reach, prices=("gpt-x=1/4/0.5", "gemini-x=1/4"), **settings)
        )
        return self.catalogue.llm(self.choice)


@pytest.fixture(params=["openai", "google"])
async def far(request: pytest.FixtureRequest) -> AsyncIterator[Far]:
    if request.param == "openai":
        async with OpenAIStub() as stub:
            found = Far(
                stub,
                "gpt-x",
                openai.completion,
                lambda name, arguments: openai.calls(openai.tool_call(name, arguments)),
                openai.error,
            )
            yield found
            await found.catalogue.close()
    else:
        async with GeminiStub() as google:
            found = Far(
                google,
                "gemini-x",
                gemini.generated,
                lambda name, arguments: gemini.generated(None, calls=[gemini.function_call(name, arguments)]),
                gemini.error,
            )
            yield found
            await found.catalogue.close()


def stalled(far: Far) -> Reply:
    """A stream that sends its first words, and then nothing for half a minute."""
    as_stream = openai.as_stream if far.choice == "gpt-x" else gemini.as_stream
    whole = as_stream(far.says("The capital of Peru is Lima."))
    first, second, *rest = whole.chunks  # OpenAI's first says only who speaks
    return replace(whole, chunks=(first + second, *rest), pause_s=30)


def assert_paid(error: LLMError) -> None:
    """An answer that broke off has cost its prompt and what had come of it."""
    usage = error.details["usage"]
    assert usage["prompt_tokens"] > 5
    assert usage["completion_tokens"] > 0
    assert usage["cost_micro_usd"] > usage["prompt_tokens"]


async def streamed(llm: LLM, **arguments: Any) -> tuple[Answer, list[str]]:
    pieces: list[str] = []
    answer = await llm.ask(ASKED, on_token=pieces.append, **arguments)
    return answer, pieces


async def test_an_answer_comes_with_its_tokens_and_what_they_cost(far: Far) -> None:
    far.stub.script.append(far.says("Lima.", prompt_tokens=1_001, completion_tokens=10))
    answer = await far.llm().ask(ASKED)
    assert answer.message.text == "Lima."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1_001, 10)
    assert answer.usage.cost_micro_usd == 1_001 + 40
    assert not answer.usage.estimated
    assert "You are terse." in far.stub.calls[0].text


async def test_a_streamed_answer_is_the_same_answer_and_comes_in_pieces(far: Far) -> None:
    said = "The capital of Peru is Lima, on the coast."
    far.stub.script += [far.says(said), far.says(said)]
    llm = far.llm()
    whole = await llm.ask(ASKED)
    answer, pieces = await streamed(llm)
    assert "".join(pieces) == said == answer.message.text
    assert len(pieces) > 1
    assert answer.usage == whole.usage
    assert type(answer.message) is AIMessage
    assert answer.message.response_metadata["finish_reason"] == whole.message.response_metadata["finish_reason"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_holds_nothing_that_a_run_could_not_keep(far: Far, stream: bool) -> None:
    """A character that came in two halves is whole; a half alone, and a NUL, are told as what cannot be read."""

    def odd(written: bytes) -> bytes:
        for mark, meant in ((b"<", b"\\ud83d"), (b">", b"\\ude00"), (b"@", b"\\u0000"), (b"%", b"\\ud800")):
            written = written.replace(mark, meant)
        return written

    text = "a<>b@c%d"
    reply = far.says(text)
    if stream:
        # One character a piece.
        of_openai = far.choice == "gpt-x"
        reply = openai.streamed(text, len(text)) if of_openai else gemini.as_stream(reply, len(text))
        reply = replace(reply, chunks=tuple(map(odd, reply.chunks)))
    far.stub.script.append(replace(reply, body=odd(reply.body)))
    llm = far.llm()
    answer, _ = await streamed(llm) if stream else (await llm.ask(ASKED), None)
    assert answer.message.text == "a\N{GRINNING FACE}b\ufffdc\ufffdd"


async def test_a_token_is_there_before_the_answer_is_whole(far: Far) -> None:
    far.stub.script.append(far.says("The capital of Peru is Lima, on the coast.", pause_s=0.05))
    came: list[float] = []
    await far.llm().ask(ASKED, on_token=lambda _: came.append(time.monotonic()))
    assert came[-1] - came[0] >= 0.1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_is_offered_called_and_answered(far: Far, stream: bool) -> None:
    far.stub.script += [far.calls("web_search", {"query": "capital of Peru", "limit": 3}), far.says("Lima.")]
    llm = far.llm()
    on_token: Any = (lambda _: None) if stream else None
    first = await llm.ask(ASKED, tools=[SEARCH], on_token=on_token)
    [call] = first.message.tool_calls
    assert (call["name"], call["args"]) == ("web_search", {"query": "capital of Peru", "limit": 3})
    assert call["id"]
    result = ToolMessage("Lima is the capital.", tool_call_id=call["id"], name=call["name"])
    second = await llm.ask([*ASKED, first.message, result], tools=[SEARCH], on_token=on_token)
    assert second.message.text == "Lima."
    assert list(far.stub.calls[0].tools) == ["web_search"]
    assert far.stub.calls[0].tools["web_search"]["required"] == ["query"]
    assert "Lima is the capital." in str(far.stub.calls[1].tool_results)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, LLMRefusedError), (401, LLMKeyError), (403, LLMKeyError), (404, LLMRefusedError),
        (429, LLMRateLimitedError), (500, LLMUnavailableError), (503, LLMUnavailableError),
    ],
)  # fmt: skip
async def test_a_providers_refusal_is_classified_and_not_repeated(
    far: Far, status: int, kind: type[LLMError], stream: bool
) -> None:
    far.stub.script.append(far.error(status, "no, thank you"))
    llm = far.llm()
    with pytest.raises(kind) as caught:
        await (streamed(llm) if stream else llm.ask(ASKED))
    assert type(caught.value) is kind
    assert "no, thank you" in caught.value.message
    assert len(far.stub.calls) == 1  # whoever runs the step tries again, and says so
    # Nothing was begun, so nothing is paid.
    assert "usage" not in caught.value.details
    kept = {"llm_refused": "permanent", "llm_key": "needs_person"}
    assert classify(caught.value) == kept.get(caught.value.code, "retryable")


async def test_googles_way_to_refuse_a_key_is_known_from_other_bad_requests() -> None:
    async with GeminiStub(script=[gemini.error(400, "API key not valid.", reason="API_KEY_INVALID")]) as stub:
        far = Far(stub, "gemini-x", gemini.generated, openai.calls, gemini.error)
        with pytest.raises(LLMKeyError, match="API key not valid"):
            await far.llm().ask(ASKED)
        await far.catalogue.close()


async def test_how_long_to_wait_is_passed_on() -> None:
    for choice, reply in (
        ("gpt-x", openai.error(429, retry_after="7")),
        ("gemini-x", gemini.error(429, retry_delay="7s")),
    ):
        stub: OpenAIStub | GeminiStub = OpenAIStub() if choice == "gpt-x" else GeminiStub()
        async with stub:
            stub.script.append(reply)
            far = Far(stub, choice, openai.completion, openai.calls, openai.error)
            with pytest.raises(LLMRateLimitedError) as caught:
                await far.llm().ask(ASKED)
            await far.catalogue.close()
        assert caught.value.details["retry_after_s"] == 7


@pytest.mark.parametrize("stream", [False, True])
async def test_a_spent_quota_is_told_from_a_busy_provider(stream: bool) -> None:
    for choice, reply in (
        ("gpt-x", openai.error(429, "You exceeded your current quota", code="insufficient_quota")),
        ("gpt-x", openai.error(402, "Payment required")),
        ("gemini-x", gemini.error(429, quota="GenerateRequestsPerDayPerProjectPerModel")),
    ):
        stub: OpenAIStub | GeminiStub = OpenAIStub() if choice == "gpt-x" else GeminiStub()
        async with stub:
            stub.script.append(reply)
            far = Far(stub, choice, openai.completion, openai.calls, openai.error)
            llm = far.llm()
            with pytest.raises(LLMQuotaError):
                await (streamed(llm) if stream else llm.ask(ASKED))
            await far.catalogue.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>gateway</html>"),
        Reply(b"[]"),
        Reply(b'{"choices": []}'),
        Reply(b'{"choices": null, "candidates": null}'),
        Reply(b'{"cut": ', headers={"content-type": "application/json"}),
    ],
)
async def test_nonsense_is_an_error_and_never_an_answer(far: Far, reply: Reply, stream: bool) -> None:
    far.stub.script.append(reply)
    llm = far.llm()
    with pytest.raises((LLMAnswerError, LLMUnavailableError)) as caught:
        await (streamed(llm) if stream else llm.ask(ASKED))
    assert caught.value.subject in {"gpt-x", "gemini-x"}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_empty_or_cut_off_answer_is_an_error_that_says_what_it_cost(far: Far, stream: bool) -> None:
    cut = "length" if far.choice == "gpt-x" else "MAX_TOKENS"
    far.stub.script += [far.says(""), far.says("The capital of", finish=cut)]
    llm = far.llm()
    for words in ("neither text nor a tool call", "length limit"):
        with pytest.raises(LLMAnswerError, match=words) as caught:
            await (streamed(llm) if stream else llm.ask(ASKED))
        assert caught.value.details["usage"]["completion_tokens"] > 0
        assert caught.value.details["usage"]["cost_micro_usd"] > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_filters_stop_is_a_refusal(far: Far, stream: bool) -> None:
    stop = "content_filter" if far.choice == "gpt-x" else "SAFETY"
    far.stub.script.append(far.says("I", finish=stop))
    llm = far.llm()
    with pytest.raises(LLMRefusedError, match=stop):
        await (streamed(llm) if stream else llm.ask(ASKED))


async def test_a_provider_that_is_gone_is_unavailable(far: Far) -> None:
    llm = far.llm()
    await far.stub.close()
    for stream in (False, True):
        with pytest.raises(LLMUnavailableError):
            await (streamed(llm) if stream else llm.ask(ASKED))


async def test_a_slow_provider_is_given_up_in_time(far: Far) -> None:
    far.stub.script.append(far.says("Lima.", delay_s=30))
    started = time.monotonic()
    with pytest.raises(LLMUnavailableError, match=r"within 0\.3 s"):
        await far.llm(timeout_s=0.3).ask(ASKED)
    assert time.monotonic() - started < 25


async def test_a_stream_that_falls_silent_is_given_up_in_time(far: Far) -> None:
    far.stub.script.append(stalled(far))
    pieces: list[str] = []
    started = time.monotonic()
    with pytest.raises(LLMUnavailableError) as caught:
        await far.llm(silence_s=2.0).ask(ASKED, on_token=pieces.append)
    assert time.monotonic() - started < 25
    assert pieces  # what had come was passed on
    assert_paid(caught.value)


async def test_a_stream_that_ends_early_is_no_answer(far: Far) -> None:
    far.stub.script.append(far.says("The capital of Peru is Lima.", finish=None))
    if far.choice == "gpt-x":
        far.stub.script[0] = openai.streamed("The capital of Peru", finish=None)
    with pytest.raises(LLMUnavailableError, match="ended before its answer did") as caught:
        await streamed(far.llm())
    assert_paid(caught.value)


async def test_a_stream_whose_connection_breaks_is_no_answer(far: Far) -> None:
    far.stub.script.append(far.says("The capital of Peru is Lima, on the coast.", cut=900))
    llm = far.llm()
    with pytest.raises(LLMUnavailableError):
        await streamed(llm)


async def test_an_error_within_a_stream_is_told() -> None:
    begun = openai.streamed("The capital", finish=None)
    fault = b"data: " + orjson.dumps({"error": {"message": "overloaded", "type": "server_error"}}) + b"\n\n"
    async with OpenAIStub(script=[Reply(headers=begun.headers, chunks=(*begun.chunks, fault))]) as stub:
        far = Far(stub, "gpt-x", openai.completion, openai.calls, openai.error)
        with pytest.raises(LLMUnavailableError, match="overloaded"):
            await streamed(far.llm())
        await far.catalogue.close()


async def test_arguments_that_are_no_json_reach_the_agent_as_an_invalid_call() -> None:
    async with OpenAIStub(script=[openai.calls(openai.tool_call("web_search", '{"query": "Per'))]) as stub:
        far = Far(stub, "gpt-x", openai.completion, openai.calls, openai.error)
        answer = await far.llm().ask(ASKED, tools=[SEARCH])
        await far.catalogue.close()
    assert answer.message.tool_calls == []
    [call] = answer.message.invalid_tool_calls
    assert (call["name"], call["args"]) == ("web_search", '{"query": "Per')


async def test_a_stream_completes_no_arguments_that_the_model_did_not_write() -> None:
    half = openai.tool_call("web_search", '{"query": "Per')
    whole = openai.tool_call("web_search", {"query": "Peru"})
    async with OpenAIStub(script=[openai.streamed("", tool_calls=[half, whole], finish="tool_calls")]) as stub:
        far = Far(stub, "gpt-x", openai.completion, openai.calls, openai.error)
        answer = await far.llm().ask(ASKED, tools=[SEARCH], on_token=lambda _: None)
        await far.catalogue.close()
    assert [call["args"] for call in answer.message.tool_calls] == [{"query": "Peru"}]
    assert [call["args"] for call in answer.message.invalid_tool_calls] == ['{"query": "Per']


@pytest.mark.parametrize("written", ['{"query": ' + "]" * 200_000, '{"query": "' + "x" * 550_000 + '"}'])
async def test_arguments_without_end_are_given_up_in_time(written: str) -> None:
    call = openai.tool_call("web_search", written)
    async with OpenAIStub(script=[openai.streamed("", tool_calls=[call], finish="tool_calls")]) as stub:
        far = Far(stub, "gpt-x", openai.completion, openai.calls, openai.error)
        with pytest.raises(LLMAnswerError, match="characters of arguments") as caught:
            await asyncio.wait_for(far.llm().ask(ASKED, tools=[SEARCH], on_token=lambda _: None), 30)
        await far.catalogue.close()
    # About four characters a token.
    assert caught.value.details["usage"]["completion_tokens"] > 2_000


async def test_atoma_is_asked_in_its_own_name_and_refuses_in_its_own_way() -> None:
    async with AtomaStub(
        script=[
            openai.calls(openai.tool_call("web_search", {"query": "Peru"})), openai.completion("Lima."),
            openai.error(402, "Payment required"), openai.error(401, "no such key"),
        ]
    ) as stub:  # fmt: skip
        far = Far(stub, "atoma", openai.completion, openai.calls, openai.error)
        llm = far.llm()
        first, _ = await streamed(llm, tools=[SEARCH])
        [call] = first.message.tool_calls
        second, _ = await streamed(llm)
        for kind in (LLMQuotaError, LLMKeyError):
            with pytest.raises(kind, match="at atoma"):
                await streamed(llm)
        await far.catalogue.close()
    assert (call["args"], second.message.text) == ({"query": "Peru"}, "Lima.")
    assert (second.usage.prompt_tokens, second.usage.cost_micro_usd is None) == (400, True)
    assert {each.body["model"] for each in stub.calls} == {"meta-llama/Llama-3.3-70B-Instruct"}
    assert {each.headers["authorization"] for each in stub.calls} == {"Bearer k-1"}
    assert list(stub.calls[0].tools) == ["web_search"]
    assert stub.sealed == []


async def test_a_server_that_counts_nothing_is_estimated_and_says_so() -> None:
    reply = openai.completion("Lima is the capital of Peru.")
    body = orjson.loads(reply.body)
    del body["usage"]
    async with OpenAIStub(script=[Reply(orjson.dumps(body))]) as stub:
        far = Far(stub, "gpt-x", openai.completion, openai.calls, openai.error)
        answer = await far.llm().ask(ASKED)
        await far.catalogue.close()
    assert answer.usage.estimated
    assert answer.usage.prompt_tokens > 5
    assert answer.usage.completion_tokens > 5
    assert answer.usage.cost_micro_usd


async def test_cached_input_costs_what_it_costs() -> None:
    async with OpenAIStub(
        script=[openai.completion("Lima.", prompt_tokens=1_000, completion_tokens=0, cached_tokens=800)]
    ) as stub:
        far = Far(stub, "gpt-x", openai.completion, openai.calls, openai.error)
        answer = await far.llm().ask(ASKED)
        await far.catalogue.close()
    assert answer.usage.cached_tokens == 800
    assert answer.usage.cost_micro_usd == 200 + 400


async def test_a_redirect_does_not_carry_the_key_elsewhere() -> None:
    seen: list[str] = []

    def record(request: Any) -> Reply:
        seen.append(request.headers.get("authorization", ""))
        return openai.completion("Lima.")

    async with StubServer(record) as elsewhere, OpenAIStub() as stub:
        stub.script.append(Reply(b"", 307, headers={"location": f"{elsewhere.url}/v1/chat/completions"}))
        far = Far(stub, "gpt-x", openai.completion, openai.calls, openai.error)
        with pytest.raises(LLMError):
            await far.llm().ask(ASKED)
        await far.catalogue.close()
    assert seen == []


async def test_a_cancelled_question_ends_at_once(far: Far) -> None:
    far.stub.script.append(stalled(far))
    begun = asyncio.Event()
    task = asyncio.create_task(far.llm().ask(ASKED, on_token=lambda _: begun.set()))
    await asyncio.wait_for(begun.wait(), 25)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)
