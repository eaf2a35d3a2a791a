"""Which models an agent may name, what `GET /agent-workflows/llms` says of them, and what their tokens cost."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from pydantic import SecretStr, ValidationError

from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.llms.prices import PRICES, PriceList
from actors.errors import MissingKeyError, UnknownLLMError
from actors.settings import LLMProviderSettings, LLMSettings

KEY = LLMProviderSettings(api_key=SecretStr("k-1"))


def catalogue(**settings: Any) -> LLMCatalogue:
    return LLMCatalogue(LLMSettings(**settings))


def test_with_no_key_everything_is_listed_and_each_line_says_what_is_missing() -> None:
    lines = {line.choice: line for line in catalogue().available()}
    assert list(lines)[:3] == ["google", "openai", "atoma"]
    assert not any(line.available for line in lines.values())
    assert lines["google"].missing == "set GOOGLE_API_KEY"
    assert "OPENAI_API_KEY" in str(lines["gpt-4.1-mini"].missing)
    assert "ATOMASDK_BEARER_AUTH" in str(lines["atoma"].missing)


def test_a_key_makes_its_providers_models_usable_and_no_others() -> None:
    lines = catalogue(google=KEY).available()
    assert {line.provider for line in lines if line.available} == {"google"}
    assert all(line.available for line in lines if line.provider == "google")


def test_a_server_without_keys_needs_only_its_address() -> None:
    found = catalogue(openai=LLMProviderSettings(base_url="http://127.0.0.1:1/v1"))
    assert all(line.available for line in found.available() if line.provider == "openai")
    assert isinstance(found.open("openai:llama3.1:8b"), ChatOpenAI)


async def test_a_name_opens_the_model_it_stands_for() -> None:
    found = catalogue(google=KEY, openai=KEY, atoma=KEY)
    for choice, kind, model, base in (
        ("google", ChatGoogleGenerativeAI, "gemini-3.5-flash", None),
        ("gemini-2.5-pro", ChatGoogleGenerativeAI, "gemini-2.5-pro", None),
        ("models/gemini-9", ChatGoogleGenerativeAI, "models/gemini-9", None),
        ("google:gemma-4", ChatGoogleGenerativeAI, "gemma-4", None),
        ("openai", ChatOpenAI, "gpt-4.1-mini", "https://api.openai.com/v1"),
        ("gpt-9-not-yet-known", ChatOpenAI, "gpt-9-not-yet-known", "https://api.openai.com/v1"),
        ("o3", ChatOpenAI, "o3", "https://api.openai.com/v1"),
        ("atoma", ChatOpenAI, "meta-llama/Llama-3.3-70B-Instruct", "https://api.atoma.network/v1"),
        ("meta-llama/Llama-3.3-70B-Instruct", ChatOpenAI, "meta-llama/Llama-3.3-70B-Instruct", None),
        ("atoma:deepseek-ai/DeepSeek-R1", ChatOpenAI, "deepseek-ai/DeepSeek-R1", "https://api.atoma.network/v1"),
    ):
        chat = found.open(choice)
        assert isinstance(chat, kind)
        assert found.llm(choice).model == model
        if base:
            assert isinstance(chat, ChatOpenAI)
            assert chat.openai_api_base == base
    assert found.open("google") is found.open("gemini-3.5-flash")
    await found.close()


@pytest.mark.parametrize("choice", ["gogle", "", "claude-5", "google:", "openia:gpt-4o", "GOOGLE"])
def test_an_unknown_name_is_refused_with_the_known_ones(choice: str) -> None:
    found = catalogue(google=KEY, openai=KEY, atoma=KEY)
    for ask in (found.check, found.llm, found.open):
        with pytest.raises(UnknownLLMError) as caught:
            ask(choice)
        assert caught.value.subject == choice
        assert "google, openai, atoma" in caught.value.message


def test_a_known_model_without_its_key_can_be_named_but_not_opened() -> None:
    found = catalogue()
    found.check("google")
    with pytest.raises(MissingKeyError, match="GOOGLE_API_KEY"):
        found.open("google")


def test_what_must_be_encrypted_does_not_go_out_plain() -> None:
    found = catalogue(atoma=LLMProviderSettings(api_key=SecretStr("k"), confidential=True))
    with pytest.raises(MissingKeyError, match="confidential"):
        found.open("atoma")
    assert not any(line.available for line in found.available())


def test_set_models_are_listed_and_the_first_is_what_the_short_name_means() -> None:
    found = catalogue(openai=KEY, models=("openai:qwen3:32b", "openai:gpt-4o", "atoma:m"))
    assert found.llm("openai").model == "qwen3:32b"
    assert found.llm("qwen3:32b").model == "qwen3:32b"
    assert "m" in found.choices()
    assert len(set(found.choices())) == len(found.choices())


@pytest.mark.parametrize("written", ["qwen3", "ollama:qwen3", "openai:"])
def test_a_model_that_cannot_be_read_is_named(written: str) -> None:
    with pytest.raises(ValidationError, match="models"):
        catalogue(models=(written,))


def test_tokens_cost_whole_micro_dollars_rounded_up() -> None:
    prices = PriceList()
    assert prices.cost_micro_usd("gpt-4.1-mini", prompt_tokens=1_000_000, completion_tokens=1_000_000) == 2_000_000
    assert prices.cost_micro_usd("gpt-4.1-mini", prompt_tokens=1, completion_tokens=0) == 1
    assert prices.cost_micro_usd("gpt-4.1-mini", prompt_tokens=0, completion_tokens=0) == 0


def test_a_long_prompt_costs_its_own_price() -> None:
    prices = PriceList()
    assert prices.cost_micro_usd("gemini-2.5-pro", prompt_tokens=200_000, completion_tokens=0) == 250_000
    assert prices.cost_micro_usd("gemini-2.5-pro", prompt_tokens=200_001, completion_tokens=0) == 500_003


def test_an_unknown_price_is_unknown_and_not_nothing() -> None:
    assert PriceList().cost_micro_usd("no-such-model", prompt_tokens=10, completion_tokens=10) is None


def test_a_set_price_goes_before_the_table() -> None:
    prices = PriceList(("gpt-4.1-mini=1/2", "meta/x=0.10/0.2/0.05"))
    assert prices.cost_micro_usd("gpt-4.1-mini", prompt_tokens=1_000_000, completion_tokens=0) == 1_000_000
    assert (
        prices.cost_micro_usd("meta/x", prompt_tokens=1_000_000, completion_tokens=0, cached_tokens=1_000_000) == 50_000
    )
    assert PRICES["gpt-4.1-mini"].input == 400_000


@pytest.mark.parametrize("written", ["gpt", "gpt=1", "gpt=a/b", "=1/2", "gpt=1/2/3/4", "gpt=-1/2", "gpt=1/nan"])
def test_a_price_that_cannot_be_read_is_named(written: str) -> None:
    with pytest.raises(ValidationError, match="prices"):
        catalogue(prices=(written,))


def test_every_listed_model_of_the_public_providers_has_a_price() -> None:
    assert [
        line.choice for line in catalogue().available() if line.provider in {"google", "openai"} and line.price is None
    ] == []
