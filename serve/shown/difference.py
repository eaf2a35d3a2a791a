"""Two texts side by side: what only one of them has is marked. Case and white space do not count as a difference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from serve.shown.escape import inert

_WORDS = re.compile(r"(\s*)(\S+)")
# The matcher is quadratic in the worst case; a duplicate shows itself well before this many words.
MAX_WORDS = 1200


def marked(earlier: str, later: str) -> tuple[str, str]:
    """Both texts as HTML, the words that differ in `<mark>`. Texts past `MAX_WORDS` are cut there."""
    left, right = _tokens(earlier), _tokens(later)
    matcher = SequenceMatcher(
        None, [word.casefold() for _, word in left], [word.casefold() for _, word in right], False
    )
    here, there = [False] * len(left), [False] * len(right)
    for tag, low, high, other_low, other_high in matcher.get_opcodes():
        if tag != "equal":
            here[low:high] = [True] * (high - low)
            there[other_low:other_high] = [True] * (other_high - other_low)
    return "".join(_render(left, here)), "".join(_render(right, there))


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for match in _WORDS.finditer(text):
        found.append((match[1], match[2]))
        if len(found) == MAX_WORDS:
            break
    return found


def _render(tokens: list[tuple[str, str]], differs: list[bool]) -> Iterator[str]:
    inside = False
    for (space, word), different in zip(tokens, differs, strict=True):
        if inside and not different:
            yield "</mark>"
            inside = False
        yield inert(space)
        if different and not inside:
            yield "<mark>"
            inside = True
        yield inert(word)
    if inside:
        yield "</mark>"
