"""Field types at the edge: what they let in is what the tables and chains can hold, and what people can read."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, AllowInfNan, BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

from actors.verification.disguises import HIDDEN

# What a chain's u64 holds; also the largest integer our JSON encoder writes.
U64_MAX = 2**64 - 1
I64_MAX = 2**63 - 1
I32_MAX = 2**31 - 1

# NUL and its like end strings elsewhere; bidi controls make text read other than it is (Unicode TR 36). Tab, line
# feed and carriage return are prose.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SPACES = re.compile("[\t\r\n\x85\u2028\u2029]")
_NUMBER = re.compile(r"\s*[-+]?[\d.,\s]*\d[\d.,\s]*%?\s*")
_SURROGATES = re.compile("[\ud800-\udfff]")


def _clean(value: str) -> str:
    if found := CONTROLS.search(value) or _SURROGATES.search(value):
        raise PydanticCustomError("control_character", f"holds the character U+{ord(found[0]):04X}, which is refused")
    return value


def _one_line(value: str) -> str:
    if _SPACES.search(value):
        raise PydanticCustomError("control_character", "must be a single line")
    return value


def _visible(value: str) -> str:
    # In an id it makes two of what looks like one.
    if found := HIDDEN.search(value):
        raise PydanticCustomError("hidden_character", f"holds the invisible character U+{ord(found[0]):04X}")
    return value


def _not_blank(value: str) -> str:
    if not HIDDEN.sub("", value).strip():
        raise PydanticCustomError("blank", "must not be blank")
    return value


def _trimmed(value: str) -> str:
    if value != value.strip():
        raise PydanticCustomError("untrimmed", "must not begin or end with a space")
    return value


def _prose(value: str) -> str:
    if _NUMBER.fullmatch(value):
        raise PydanticCustomError("number_for_prose", "must be prose, not a number")
    return value


def _addressable(value: str) -> str:
    """An id that `GET /campaigns/{id}` can name: these paths are taken, or normalised away by clients."""
    if "/" in value or value in {"all", "active", ".", ".."}:
        raise PydanticCustomError("not_addressable", "must not hold '/' nor be 'all', 'active', '.' or '..'")
    return value


def _integral(value: Any) -> Any:
    """25000000.0 as 25000000, for clients send integers so too. A fraction is refused."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "must be an integer")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PydanticCustomError("finite_number", "must be a finite number")
        if not value.is_integer():
            raise PydanticCustomError("int_from_float", "must be an integer, not a fraction")
        return int(value)
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise PydanticCustomError("float_type", "must be a number")
    return value


# Constraints, not pydantic's `Field`: a Field shared by several models picks up one model's default (pydantic 2.10).
Title = Annotated[
    str, StringConstraints(strict=True, max_length=300), AfterValidator(_clean), AfterValidator(_not_blank)
]
Prose = Annotated[
    str, StringConstraints(strict=True, max_length=50_000), AfterValidator(_clean), AfterValidator(_not_blank)
]
# Clients once put scores here.
Bullets = Annotated[Prose, AfterValidator(_prose)]
# What people call something.
Line = Annotated[
    str,
    StringConstraints(strict=True, max_length=300),
    AfterValidator(_clean),
    AfterValidator(_one_line),
    AfterValidator(_trimmed),
    AfterValidator(_not_blank),
]
# A wallet, a hash, a chain's id: opaque, one line.
Token = Annotated[
    str,
    StringConstraints(strict=True, max_length=300),
    AfterValidator(_clean),
    AfterValidator(_one_line),
    AfterValidator(_visible),
    AfterValidator(_trimmed),
]
Name = Annotated[Token, AfterValidator(_not_blank)]
Url = Annotated[
    str,
    StringConstraints(strict=True, max_length=2048),
    AfterValidator(_clean),
    AfterValidator(_one_line),
    AfterValidator(_visible),
    AfterValidator(_trimmed),
]
# Where a contribution lies.
Reference = Annotated[Url, AfterValidator(_not_blank)]
CampaignKey = Annotated[Name, AfterValidator(_addressable)]

Amount = Annotated[int, BeforeValidator(_integral), Ge(0), Le(U64_MAX)]
Count = Annotated[int, BeforeValidator(_integral), Ge(0), Le(I64_MAX)]
BasisPoints = Annotated[int, BeforeValidator(_integral), Ge(0), Le(10_000)]
Moment = Annotated[int, BeforeValidator(_integral), Ge(0), Le(I64_MAX)]
Percent = Annotated[float, BeforeValidator(_number), AllowInfNan(allow_inf_nan=False), Ge(0), Le(100)]
Reputation = Annotated[float, BeforeValidator(_number), AllowInfNan(allow_inf_nan=False), Ge(0), Le(1e15)]
# How long a run may take, in seconds.
RunTime = Annotated[float, BeforeValidator(_number), AllowInfNan(allow_inf_nan=False), Gt(0), Le(30 * 24 * 3600)]
SampleSize = Annotated[int, BeforeValidator(_integral), Ge(1), Le(I32_MAX)]
