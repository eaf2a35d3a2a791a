"""A campaign's brief in a TOML file: what `hyvve verify` judges a folder against.

`cluster/demo/data/brief.toml` is an example with every field that is usually set.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from actors.verification.models import BULLET_SEPARATOR, Brief
from cluster.errors import BriefError
from serve.schemas.fields import Amount, Percent, Prose, Title

# A brief is a page or two; a larger file is something else, taken for one.
_MAX_BYTES = 1024 * 1024


def _no_separator(value: str) -> str:
    if BULLET_SEPARATOR in value:
        raise PydanticCustomError("separator", f"must not hold {BULLET_SEPARATOR}, which separates bullets on the wire")
    return value


Bullet = Annotated[Prose, AfterValidator(_no_separator)]


_KINDS = ("Text", "Image", "default")


def _as_spelt(value: Any) -> Any:
    """The kind in the spelling that it is kept in: people write `text`."""
    return next((kind for kind in _KINDS if isinstance(value, str) and kind.lower() == value.lower()), value)


class BriefFile(BaseModel):
    """The fields of a brief. `unit_price` is in the chain's smallest unit (1e8 = 1 coin)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Title
    description: Prose
    data_requirements: tuple[Bullet, ...] = Field(min_length=1, max_length=100)
    quality_criteria: tuple[Bullet, ...] = Field(min_length=1, max_length=100)
    campaign_type: Annotated[Literal["Text", "Image", "default"], BeforeValidator(_as_spelt)] = "default"
    required_quality_score: Percent = 70.0
    unit_price: Amount = 0

    @property
    def brief(self) -> Brief:
        return Brief(
            title=self.title,
            description=self.description,
            data_requirements=self.data_requirements,
            quality_criteria=self.quality_criteria,
            campaign_type=self.campaign_type,
            required_score=self.required_quality_score,
        )

    def campaign(self, onchain_campaign_id: str, *, count: int, expiration: int, creator: str) -> dict[str, Any]:
        """The body of a campaign (`storage.campaigns.BODY_COLUMNS`) that takes `count` contributions."""
        return {
            "onchain_campaign_id": onchain_campaign_id,
            "title": self.title,
            "description": self.description,
            "data_requirements": BULLET_SEPARATOR.join(self.data_requirements),
            "quality_criteria": BULLET_SEPARATOR.join(self.quality_criteria),
            "unit_price": self.unit_price,
            "total_budget": self.unit_price * count,
            "campaign_type": self.campaign_type,
            "min_data_count": 0,
            "max_data_count": count,
            "expiration": expiration,
            "metadata_uri": "",
            "transaction_hash": "",
            "platform_fee": 0,
            "creator_wallet_address": creator,
            "is_premium": False,
            "required_quality_score": self.required_quality_score,
        }


def load(path: Path) -> BriefFile:
    """The brief in this file. Raises `BriefError` naming the file and the field, and what should stand there."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BriefError(f"the brief {path} cannot be read: {error.strerror}", subject=str(path)) from error
    if len(raw) > _MAX_BYTES:
        raise BriefError(f"the brief {path} has more than {_MAX_BYTES:,} bytes; is it another file?", subject=str(path))
    try:
        # Windows editors put a byte order mark first, which TOML does not know.
        values = tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BriefError(f"the brief {path} is not UTF-8 text (byte {error.start})", subject=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise BriefError(f"the brief {path} is not valid TOML: {error}", subject=str(path)) from error
    try:
        return BriefFile.model_validate(values)
    except ValidationError as error:
        faults = [_sentence(fault) for fault in error.errors()]
        raise BriefError(
            f"the brief {path} cannot be used:\n" + "\n".join(f"  {field}: {reason}" for field, reason in faults),
            subject=faults[0][0],
            faults=[{"field": field, "reason": reason} for field, reason in faults],
        ) from None


def _sentence(fault: ErrorDetails) -> tuple[str, str]:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".")
    if fault["type"] == "missing":
        return field, "is missing"
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, BriefFile.model_fields, n=1)
        return field, f"is not a field of a brief{f'; did you mean {near[0]}?' if near else ''}"
    if fault["type"] == "tuple_type":
        return field, 'should be a list of texts, as in ["…", "…"]'
    return field, fault["msg"].removeprefix("Value error, ").replace("Input ", "", 1)
