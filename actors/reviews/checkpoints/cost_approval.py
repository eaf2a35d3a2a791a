"""A person approves a call whose estimated cost is above a limit."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from actors.providers.models import ModelInfo, Payload
from actors.reviews.checkpoints.base import Checkpoint, Measured, Moment
from actors.reviews.thresholds import Finding

# English text; code and other scripts take more tokens, so this is a floor rather than a mean.
_CHARS_PER_TOKEN = 4
# What a model writes where nobody bounds it.
_OUTPUT_TOKENS = 2_000
# Of a machine that is paid by the second.
_SECONDS = 30.0
_LONGEST = ("max_output_tokens", "max_completion_tokens", "max_tokens", "max_new_tokens")
_COUNTS = ("n", "num_outputs", "num_images", "num_images_per_prompt")


class Options(BaseModel):
    """`limit_micro_usd`: a call that may cost more asks a person; so does one whose price nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit_micro_usd: int = Field(default=100_000, ge=0, le=10**15)


class CostApproval(Checkpoint):
    name = "cost_approval"
    title = "May this cost so much?"
    stands = "before_call"
    options_model = Options

    async def measure(self, moment: Moment) -> Measured:
        assert moment.payload is not None
        cost = estimated_micro_usd(moment.payload, moment.model)
        limit = self.options.limit_micro_usd
        if cost is None:
            reason = f"nobody knows what {moment.model.id} costs"
        else:
            reason = (
                f"the call may cost {cost:,} micro-USD, {'above' if cost > limit else 'within'} the limit of {limit:,}"
            )
        finding = Finding(
            threshold="limit_micro_usd",
            limit=limit,
            value=cost,
            passed=cost is not None and cost <= limit,
            reason=reason,
            details={"prices": [price.model_dump() for price in moment.model.prices]},
        )
        return Measured(findings=(finding,))


def estimated_micro_usd(payload: Payload, model: ModelInfo) -> int | None:
    """What the call may cost, rounded up; `None` where the model's prices are not known."""
    if not model.prices:
        return None
    prices = {price.unit: price.micro_usd_per_million for price in model.prices}
    total = 0.0
    if "input_tokens" in prices:
        tokens = len(orjson.dumps(payload.input, default=str)) / _CHARS_PER_TOKEN
        total += tokens * prices["input_tokens"]
    if "output_tokens" in prices:
        total += (_number(payload.input, _LONGEST) or _OUTPUT_TOKENS) * prices["output_tokens"]
    count = _number(payload.input, _COUNTS) or 1
    if "images" in prices:
        total += count * prices["images"]
    if "seconds" in prices:
        total += _SECONDS * count * prices["seconds"]
    return ceil(total / 1_000_000)


def _number(value: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    nested = value.get("parameters")
    for place in (value, nested if isinstance(nested, Mapping) else {}):
        for name in names:
            found = place.get(name)
            if isinstance(found, int | float) and not isinstance(found, bool) and found > 0:
                return float(found)
    return None
