"""What a provider's work costs, in whole micro-USD; only prices that are known or were set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import ceil
from types import MappingProxyType

from actors.agents.llms.prices import PriceList
from actors.providers.models import Price

_MILLION = 1_000_000

# https://platform.claude.com/docs/en/about-claude/pricing, USD per million tokens: in, out, read from the cache.
ANTHROPIC: Mapping[str, str] = MappingProxyType(
    {
        "claude-opus-4-5": "5/25/0.5",
        "claude-sonnet-4-5": "3/15/0.3",
        "claude-haiku-4-5": "1/5/0.1",
    }
)


class ProviderPrices:
    """Token prices of language models, as agents' (`llms/prices.py`), and seconds of machines, as `overrides` say."""

    def __init__(self, overrides: Sequence[str] = ()) -> None:
        self._seconds = {
            model: int(Decimal(usd) * _MILLION * _MILLION)
            for model, _, usd in (written.rpartition("=") for written in overrides)
            if "/" not in usd
        }
        tokens = [written for written in overrides if "/" in written.rpartition("=")[2]]
        self._tokens = PriceList((*(f"{model}={usd}" for model, usd in ANTHROPIC.items()), *tokens))

    def of(self, model: str) -> tuple[Price, ...]:
        """Each of the model's prices, none where nobody said."""
        plain = _undated(model)
        if (seconds := self._seconds.get(model)) is not None:
            return (Price(unit="seconds", micro_usd_per_million=seconds),)
        price = self._tokens.of(model) or self._tokens.of(plain)
        if price is None:
            return ()
        found = [
            Price(unit="input_tokens", micro_usd_per_million=price.input),
            Price(unit="output_tokens", micro_usd_per_million=price.output),
        ]
        if price.cached_input is not None:
            found.append(Price(unit="cached_input_tokens", micro_usd_per_million=price.cached_input))
        return tuple(found)

    def of_seconds(self, model: str, seconds: float | None) -> int | None:
        """Rounded up to a whole micro-USD; `None` where the price or the time is not known."""
        price = self._seconds.get(model)
        return None if price is None or seconds is None else ceil(price * seconds / _MILLION)

    def of_tokens(self, model: str, *, prompt: int, completion: int, cached: int = 0) -> int | None:
        """As `PriceList.cost_micro_usd`; `prompt` includes `cached`."""
        for name in (model, _undated(model)):
            cost = self._tokens.cost_micro_usd(
                name, prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached
            )
            if cost is not None:
                return cost
        return None


def _undated(model: str) -> str:
    """`claude-haiku-4-5-20251001` and `gpt-4o-2024-08-06` cost what their names without dates do."""
    for digits in ("-dddddddd", "-dddd-dd-dd"):
        tail = model[-len(digits) :]
        if len(tail) == len(digits) and all(
            c.isdigit() if d == "d" else c == d for c, d in zip(tail, digits, strict=True)
        ):
            return model[: -len(digits)]
    return model
