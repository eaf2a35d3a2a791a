"""A tool call ends in data that a model can read, whatever the model, the content or the tool did."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from langchain_core.messages import HumanMessage
from pydantic import SecretStr
from sqlalchemy import text

from actors.agents.deps import ToolContext
from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.tools.bounds import encoded, fitted
from actors.agents.tools.registry import TOOLS, tool, tools
from actors.agents.tools.tool import Arguments, Tool, ToolResult
from actors.errors import UnknownToolError
from actors.settings import LLMProviderSettings, LLMSettings, ToolSettings
from storage.errors import DatabaseUnavailableError
from tests.actors.agents.tools.bench import Bench
from tests.stubs import gemini, openai
from tests.stubs.gemini import GeminiStub
from tests.stubs.openai import OpenAIStub

NAMES = [
    "web_search", "CampaignDataTool", "UpdateContributionVerificationTool", "WalrusStorageTool", "DataPreprocessorTool",
    "read_file_content", "get_text_verification_score", "get_image_verification_score", "make_verification_decision",
]  # fmt: skip


class Number(Arguments):
    number: int


def made(run: Any, **changes: Any) -> Tool[Number]:
    return Tool(name="t", description="A tool.", args_model=Number, run=run, **changes)


def test_the_registry_has_every_tool_under_its_name() -> None:
    assert list(TOOLS) == NAMES
    assert [each.name for each in tools(["web_search", "CampaignDataTool"])] == ["web_search", "CampaignDataTool"]
    assert {each.name for each in TOOLS.values() if each.effect == "writes"} == {
        "UpdateContributionVerificationTool", "WalrusStorageTool", "DataPreprocessorTool",
    }  # fmt: skip


def test_an_unknown_tool_and_one_that_is_not_allowed_are_refused_with_those_that_are() -> None:
    with pytest.raises(UnknownToolError, match="WalrusStorageTool"):
        tools(["web_search", "shell"])
    with pytest.raises(UnknownToolError) as caught:
        tool("WalrusStorageTool", allowed=["web_search", "gone"])
    assert "use one of: web_search" in caught.value.message
    assert "gone" not in caught.value.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "query: Field required"),
        ({"query": ""}, "query: String should have at least 1 character"),
        ({"query": "x", "limit": 99}, "limit: Input should be less than or equal to 10"),
        ({"query": "x", "site": "y"}, "site: Extra inputs are not permitted"),
        ({"query": {"q": "x"}}, "query: Input should be a valid string"),
        ({"query": "x" * 10_000}, "query: String should have at most 400 characters"),
    ],
)
async def test_wrong_arguments_are_told_by_name(bench: Bench, arguments: dict[str, Any], words: str) -> None:
    result = await bench.call("web_search", "0xa", **arguments)
    assert result.error == "tool_arguments"
    assert words in result.content["message"]
    assert orjson.loads(result.text)["error"] == "tool_arguments"


async def test_what_a_tool_raises_is_data(bench: Bench) -> None:
    async def crash(_: Number, __: ToolContext) -> ToolResult:
        raise RuntimeError("nobody foresaw this")

    result = await made(crash).call({"number": 1}, bench.context("0xa"))
    assert result.error == "unexpected"
    assert "nobody foresaw this" in result.content["message"]


async def test_a_result_that_is_no_json_is_an_error_and_not_a_crash(bench: Bench) -> None:
    for broken in ({"x": {1, 2}}, {"x": 2**70}, {"x": "\ud800"}):

        async def run(_: Number, __: ToolContext, broken: Any = broken) -> ToolResult:
            return ToolResult(content=broken)

        result = await made(run).call({"number": 1}, bench.context("0xa"))
        assert result.error == "unexpected"


async def test_a_tool_that_hangs_is_ended(bench: Bench) -> None:
    ended = asyncio.Event()

    async def hang(_: Number, __: ToolContext) -> ToolResult:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    result = await made(hang, timeout_s=0.05).call({"number": 1}, bench.context("0xa"))
    assert result.error == "tool_timeout"
    assert "0.05 s" in result.content["message"]
    assert ended.is_set()


async def test_a_cancelled_call_is_cancelled_and_no_result(bench: Bench) -> None:
    begun = asyncio.Event()

    async def hang(_: Number, __: ToolContext) -> ToolResult:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(made(hang).call({"number": 1}, bench.context("0xa")))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_lost_database_is_raised_for_the_step_to_be_tried_again(bench: Bench) -> None:
    async def ask(_: Number, context: ToolContext) -> ToolResult:
        async with context.database.read() as session:
            await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        raise AssertionError

    with pytest.raises(DatabaseUnavailableError):
        await made(ask).call({"number": 1}, bench.context("0xa"))


async def test_a_result_is_cut_to_the_limit_and_says_what_was_cut(bench: Bench) -> None:
    bench.limits = ToolSettings(max_result_chars=2_000)

    async def much(_: Number, __: ToolContext) -> ToolResult:
        return ToolResult(content={"text": "é" * 50_000, "ids": list(range(5_000)), "kind": "text"})

    result = await made(much).call({"number": 1}, bench.context("0xa"))
    assert len(encoded(result.content)) <= 2_000
    assert result.content["kind"] == "text"
    assert result.content["text"].startswith("éé")
    assert result.content["ids"][:2] == [0, 1]
    assert any("text" in said and "50,000" in said for said in result.left_out)
    assert any("ids" in said and "5,000" in said for said in result.left_out)
    assert orjson.loads(result.text)["left_out"] == list(result.left_out)


def test_what_fits_is_left_as_it_is() -> None:
    content = {"a": ["x"] * 20, "b": {"c": "y" * 500}}
    assert fitted(content, 1_000) == (content, ())


@pytest.mark.parametrize(
    "content",
    [
        {"text": '"\n' * 30_000},
        {"list": [{"text": "x" * 3_000} for _ in range(300)]},
        {f"key{n}": "x" * 190 for n in range(500)},
        {"deep": [[["x" * 5_000] * 50] * 20]},
        {"text": "\x00" * 10_000},
    ],
)
def test_any_shape_is_brought_under_the_limit(content: dict[str, Any]) -> None:
    before = encoded(content)
    fits, cut = fitted(content, 4_000)
    assert len(encoded(fits)) <= 4_000
    assert cut
    assert encoded(content) == before


async def test_every_tools_schema_passes_both_providers_real_clients() -> None:
    schemas = [each.schema() for each in TOOLS.values()]
    async with OpenAIStub() as chat, GeminiStub() as google:
        chat.answer = lambda _: openai.completion("Done.")
        google.answer = lambda _: gemini.generated("Done.")
        key = SecretStr("k")
        catalogue = LLMCatalogue(
            LLMSettings(
                openai=LLMProviderSettings(base_url=chat.base_url, api_key=key),
                google=LLMProviderSettings(base_url=google.url, api_key=key),
            )
        )
        for choice in ("openai", "google"):
            await catalogue.llm(choice).ask([HumanMessage("Go on.")], tools=schemas)
        await catalogue.close()
    for offered in (chat.calls[0].tools, google.calls[0].tools):
        assert list(offered) == NAMES
        for each in TOOLS.values():
            assert set(offered[each.name]["properties"]) == set(each.args_model.model_fields)
            required = {name for name, info in each.args_model.model_fields.items() if info.is_required()}
            assert set(offered[each.name].get("required", ())) == required
        verdict = offered["UpdateContributionVerificationTool"]["properties"]["verdict"]
        assert verdict["enum"] == ["ACCEPT", "REJECT", "REVIEW"]
        references = offered["DataPreprocessorTool"]["properties"]["references"]
        assert references["items"]["type"].lower() == "string"
        assert '"format"' not in str(offered)
