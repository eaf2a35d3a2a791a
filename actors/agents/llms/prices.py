"""What tokens cost, in whole micro-USD. One micro-USD a token is one USD a million tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

# When the table below was read, from https://developers.openai.com/api/docs/pricing and
# https://ai.google.dev/gemini-api/docs/pricing: list prices of the standard tier, text only. Output includes reasoning.
AS_OF = "2026-11"

# Where prices of further models are given.
PRICES_SETTING = "HYVVE_LLM_PRICES"

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-USD per million tokens. `cached_input` is for input that the provider had in its cache.

    Prompts of more than `long_over` tokens cost `long` instead, all of their tokens and the answer's.
    """

    input: int
    output: int
    cached_input: int | None = None
    long: Price | None = None
    long_over: int = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer and what they cost; `cost_micro_usd` is `None` where the model's price is not known.

    `estimated`: the provider counted nothing, so these are about four characters a token.
    """

    model: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cost_micro_usd: int | None = None
    estimated: bool = False


def spent(usage: Usage) -> dict[str, int | None]:
    """The usage as errors and runs carry it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cost_micro_usd": usage.cost_micro_usd,
    }


def _usd(input_: str, output: str, cached: str | None = None, *, long: Price | None = None) -> Price:
    """USD per million tokens, as price pages write them."""
    return Price(_micro(input_), _micro(output), None if cached is None else _micro(cached), long)


def _micro(usd: str) -> int:
    return int(Decimal(usd) * _MILLION)


PRICES = MappingProxyType(
    {
        "gpt-5": _usd("1.25", "10", "0.125"),
        "gpt-5-mini": _usd("0.25", "2", "0.025"),
        "gpt-5-nano": _usd("0.05", "0.4", "0.005"),
        "gpt-4.1": _usd("2", "8", "0.5"),
        "gpt-4.1-mini": _usd("0.4", "1.6", "0.1"),
        "gpt-4.1-nano": _usd("0.1", "0.4", "0.025"),
        "gpt-4o": _usd("2.5", "10", "1.25"),
        "gpt-4o-mini": _usd("0.15", "0.6", "0.075"),
        "o3": _usd("2", "8", "0.5"),
        "o4-mini": _usd("1.1", "4.4", "0.275"),
        "gemini-3.5-flash": _usd("1.5", "9", "0.15"),
        "gemini-3.5-flash-lite": _usd("0.3", "2.5", "0.03"),
        "gemini-3.1-pro-preview": _usd("2", "12", long=_usd("4", "18")),
        "gemini-2.5-pro": _usd("1.25", "10", "0.125", long=_usd("2.5", "15", "0.25")),
        "gemini-2.5-flash": _usd("0.3", "2.5", "0.03"),
        "gemini-2.5-flash-lite": _usd("0.1", "0.4", "0.01"),
    }
)


class PriceList:
    """The built-in table under the prices that were set, as `LLMSettings.prices` writes them."""

    def __init__(self, overrides: Sequence[str] = ()) -> None:
        self._prices = {**PRICES, **dict(_entry(written) for written in overrides)}

    def of(self, model: str) -> Price | None:
        """The price, or `None` where nobody said."""
        return self._prices.get(model)

    def cost_micro_usd(
        self, model: str, *, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0
    ) -> int | None:
        """What these tokens cost, rounded up to a whole micro-USD; `None` for a model without a known price."""
        price = self.of(model)
        if price is None:
            return None
        if price.long is not None and prompt_tokens > price.long_over:
            price = price.long
        cached = min(cached_tokens, prompt_tokens) if price.cached_input is not None else 0
        total = (prompt_tokens - cached) * price.input + completion_tokens * price.output
        total += cached * (price.cached_input or 0)
        return -(-total // _MILLION)


def _entry(written: str) -> tuple[str, Price]:
    # Its form is the settings' to check.
    model, _, prices = written.rpartition("=")
    return model.strip(), _usd(*prices.split("/"))
