"""The words of a field's name. Everything here that knows a field by its name knows it by whole words.

`profile` is one word, and it is not `file`; `image_size` is a size, whatever it is the size of.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection, Iterable

# Runs of capitals, capitalised words, digits, and letters of scripts without case.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_A-Za-z]+")
_ACCENT = re.compile("[\u0300-\u036f]")
# Names that are written without a break. A few that models really have; never a search within a word.
_GLUED: dict[str, tuple[str, ...]] = {
    "imageurl": ("image", "url"),
    "imagefile": ("image", "file"),
    "audiourl": ("audio", "url"),
    "audiofile": ("audio", "file"),
    "videourl": ("video", "url"),
    "fileurl": ("file", "url"),
    "filename": ("file", "name"),
    "inputimage": ("input", "image"),
    "initimage": ("init", "image"),
    "maskimage": ("mask", "image"),
    "negativeprompt": ("negative", "prompt"),
    "systemprompt": ("system", "prompt"),
    "maxtokens": ("max", "tokens"),
    "maxlength": ("max", "length"),
    "minlength": ("min", "length"),
    "logprobs": ("log", "probs"),
    "topk": ("top", "k"),
    "topp": ("top", "p"),
}
# Plurals that are words of their own, or no plurals.
_AS_THEY_ARE = frozenset({"fps", "bias", "gas", "lens", "canvas", "class", "loss", "always", "https", "bus", "focus"})


@functools.lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """The words of a name in snake, kebab, camel or title case, in lower case; digits are words of their own."""
    plain = _ACCENT.sub("", unicodedata.normalize("NFKD", name[:200]))
    return tuple(part for found in _WORD.findall(plain) for part in _GLUED.get(found.lower(), (found.casefold(),)))


def singular(word: str) -> str:
    """The word without a plural's ending; English only, and it need not be right, only the same each time."""
    if len(word) < 4 or word in _AS_THEY_ARE or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word.removesuffix("s")


def among(word: str, known: Collection[str]) -> bool:
    """Whether the word, or what it is the plural of, is one of these."""
    return word in known or singular(word) in known


def any_among(candidates: Iterable[str], known: Collection[str]) -> bool:
    return any(among(word, known) for word in candidates)


def titled(name: str) -> str:
    """A name as a person reads it: `negative_prompt` is "Negative prompt"."""
    return " ".join(words(name)).capitalize() or name
