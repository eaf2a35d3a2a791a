"""Flags on what goes out and what comes back: personal data, nsfw words, copyright marks.

The built-in detector reads whole words and checks numbers by their own check digits, so a product number is no card and
"Scunthorpe" is a town. It is a net with known holes, not a judge: a flag sends a run to a person, who sees the place.
A provider's own moderation can stand in its place (`Detector`). Excerpts are masked: a record of flags must not become
a list of addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from actors.reviews.copyright_marks import copyright_marks
from actors.reviews.forms.paths import Path, written
from actors.reviews.nsfw_words import nsfw_words
from actors.reviews.personal_data import KINDS as PERSONAL_KINDS
from actors.reviews.personal_data import personal_data

Category = Literal["personal_data", "nsfw", "copyright", "moderation"]
CATEGORIES: tuple[Category, ...] = ("personal_data", "nsfw", "copyright", "moderation")
KINDS: tuple[str, ...] = (*PERSONAL_KINDS, "nsfw_word", "copyright_mark")
_PROVIDER = "provider:"

MAX_CHARS = 1_000_000
"""What one scan reads; past it the scan is not complete, and a person decides."""
MAX_FLAGS = 200
_MAX_VALUES = 50_000


class Flag(BaseModel):
    """`path` is the JSON path of the text that it is in, `start` and `end` the place in it; `excerpt` is masked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: Category
    kind: str
    path: str
    start: int = Field(default=0, ge=0)
    end: int = Field(default=0, ge=0)
    excerpt: str = ""


class Scan(BaseModel):
    """What a detector found. `complete` is false where it could not look at everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str
    flags: tuple[Flag, ...] = ()
    complete: bool = True


class Detector(Protocol):
    """Finds flags in a payload or a response: any JSON, every text in it."""

    async def scan(self, value: Any) -> Scan: ...


class WordDetector:
    """The built-in detector. Same value, same flags; linear in the length of the texts."""

    name = "hyvve-words/1"

    async def scan(self, value: Any) -> Scan:
        # A megabyte takes seconds: other runs of the host go on meanwhile.
        return await asyncio.to_thread(scanned, value, detector=self.name)


def from_provider(detector: str, flags: Sequence[str]) -> Scan:
    """A provider's own moderation marks (`ProviderResponse.flags`) as a scan; their kinds begin with `provider:`."""
    made = [Flag(category="moderation", kind=_PROVIDER + flag[:100], path="$") for flag in dict.fromkeys(flags)]
    return Scan(detector=detector, flags=tuple(made[:MAX_FLAGS]), complete=len(made) <= MAX_FLAGS)


def is_flag(name: str) -> bool:
    """Whether a threshold may name it: a category, a kind of the built-in detector, or a provider's own."""
    return name in CATEGORIES or name in KINDS or name.startswith(_PROVIDER)


def scanned(value: Any, *, detector: str = WordDetector.name) -> Scan:
    """The flags of every text in `value`, in its order; names of fields are not read."""
    flags: list[Flag] = []
    read, complete = 0, True
    for path, text in _texts(value):
        if text is None or read + len(text) > MAX_CHARS or len(flags) >= MAX_FLAGS:
            complete = False
            break
        read += len(text)
        place = written(path)
        flags += [
            Flag(
                category="personal_data", kind=kind, path=place, start=start, end=end, excerpt=_masked(text[start:end])
            )
            for kind, start, end in personal_data(text)
        ]
        flags += [
            Flag(category="nsfw", kind="nsfw_word", path=place, start=start, end=end, excerpt=_masked(text[start:end]))
            for start, end in nsfw_words(text)
        ]
        flags += [
            Flag(
                category="copyright",
                kind="copyright_mark",
                path=place,
                start=start,
                end=end,
                excerpt=text[start:end][:80],
            )
            for start, end in copyright_marks(text)
        ]
    if len(flags) > MAX_FLAGS:
        flags, complete = flags[:MAX_FLAGS], False
    return Scan(detector=detector, flags=tuple(flags), complete=complete)


def _texts(value: Any) -> Iterator[tuple[Path, str | None]]:
    """Every text with its path, in order, without recursion; `None` for a text where there are too many values."""
    left: list[tuple[Path, Any]] = [((), value)]
    seen = 0
    while left:
        path, part = left.pop()
        seen += 1
        if seen > _MAX_VALUES or len(path) > 200:
            yield path, None
            return
        if isinstance(part, str):
            yield path, part
        elif isinstance(part, dict):
            left += [((*path, str(name)), one) for name, one in reversed(part.items())]
        elif isinstance(part, list | tuple):
            left += [((*path, number), part[number]) for number in range(min(len(part), _MAX_VALUES) - 1, -1, -1)]
        elif isinstance(part, int) and not isinstance(part, bool) and abs(part) >= 10**12:
            # A card's number is no less one for being written without quotes.
            yield path, str(part)


def _masked(text: str) -> str:
    """First and last letter of it, enough to find it again by someone who may see the whole."""
    plain = text.strip()
    return plain[:1] + "•" * min(8, max(1, len(plain) - 2)) + plain[-1:] if len(plain) > 2 else "•"
