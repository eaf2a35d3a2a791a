"""Who spoke where somebody claims, gives back or decides: names are what callers say, this is what they came with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from storage.reviews import ReviewAction


@dataclass(frozen=True, slots=True)
class Voice:
    """`kind` of caller, its API key's name and the wallet that it said it speaks for."""

    kind: str
    key_id: str | None = None
    wallet: str | None = None


def spoken(voice: Voice | None) -> dict[str, Any]:
    """What an action's details say of it; of work within this process, nothing."""
    return {} if voice is None else {"principal": asdict(voice)}


def has_decided(voice: Voice | None, actions: Sequence[ReviewAction]) -> bool:
    """Whether the API key decided already, under whatever name."""
    if voice is None or voice.key_id is None:
        return False
    told = [each.details.get("principal") or {} for each in actions if each.kind == "decided"]
    return voice.key_id in {each.get("key_id") for each in told}
