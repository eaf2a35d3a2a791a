"""Campaigns on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, model_validator
from pydantic_core import PydanticCustomError

from serve.schemas.fields import (
    Amount,
    BasisPoints,
    Bullets,
    CampaignKey,
    Count,
    Moment,
    Name,
    Percent,
    Prose,
    Title,
    Token,
    Url,
)  # fmt: skip
from storage.campaigns import BODY_COLUMNS, Campaign

# What an answer is made of, in its order; `is_active` follows from the row and the clock.
ANSWER_COLUMNS = (
    "campaign_id", *BODY_COLUMNS, "is_active", "current_contributions", "unique_contributions_count", "created_at",
)  # fmt: skip


class CampaignBody(BaseModel):
    """What a creator sends. Amounts are in the chain's smallest unit, the fee in basis points."""

    onchain_campaign_id: CampaignKey
    title: Title
    description: Prose
    data_requirements: Bullets
    quality_criteria: Bullets
    unit_price: Amount
    total_budget: Amount
    campaign_type: Name
    min_data_count: Count
    max_data_count: Count
    expiration: Moment
    metadata_uri: Url
    transaction_hash: Token
    platform_fee: BasisPoints
    creator_wallet_address: Name
    is_premium: bool = False
    required_quality_score: Percent = 70.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_data_count > self.max_data_count:
            raise PydanticCustomError("range", "min_data_count must not be above max_data_count")
        return self


class CampaignAnswer(BaseModel):
    """A campaign. `is_active`: it takes contributions now, being neither closed nor expired."""

    campaign_id: UUID
    onchain_campaign_id: str
    title: str
    description: str
    data_requirements: str
    quality_criteria: str
    unit_price: int
    total_budget: int
    campaign_type: str
    min_data_count: int
    max_data_count: int
    expiration: int
    metadata_uri: str
    transaction_hash: str
    platform_fee: int
    creator_wallet_address: str
    is_premium: bool
    required_quality_score: float
    is_active: bool
    current_contributions: int
    unique_contributions_count: int
    created_at: datetime


def answer(values: Mapping[str, Any], moment: float) -> dict[str, Any]:
    """The answer made of `ANSWER_COLUMNS`' values, as it is true at that moment (unix seconds)."""
    document = {name: values[name] for name in ANSWER_COLUMNS}
    document["is_active"] = values["is_active"] and values["expiration"] > moment
    return document


def of_row(campaign: Campaign, moment: float) -> dict[str, Any]:
    return answer({name: getattr(campaign, name) for name in ANSWER_COLUMNS}, moment)
