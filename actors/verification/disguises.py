"""Characters that make a text another one to a machine and none to a reader, and the text without them.

What is compared and what is searched for orders goes through here, so that neither is fooled by what nobody sees.
"""

from __future__ import annotations

import re
from collections import Counter

# What shows nothing (Unicode's Default_Ignorable_Code_Point, and the braille blank). Prose needs some of it, for emoji
# and for scripts that join their letters.
HIDDEN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Those of them that are as wide as a space, and pass for one.
_BLANK = re.compile("[\u2800\u3164\uffa0]")
# What orders or annotates a text's parts, between a letter and its accent.
_BETWEEN = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]+(?=[\u0300-\u036f])")

# Greek and Cyrillic letters that look like Latin ones.
_CYRILLIC = dict(zip("аеорсухіјѕԁһԛԝӏѵүАВЕКМНОРСТХЅІЈУԚԜӀѴҮ", "aeopcyxijsdhqwlvyABEKMHOPCTXSIJYQWIVY", strict=True))
_GREEK = dict(zip("νοαερτικυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "voaeptikuABEZHIKMNOPTYX", strict=True))
_TO_LATIN = str.maketrans(_CYRILLIC | _GREEK)
# Of letters that look like the same one, the first is the usual one.
_TO_CYRILLIC = str.maketrans({latin: letter for letter, latin in reversed(_CYRILLIC.items())})
_FOREIGN = re.compile("[\u0370-\u052f]")
_ALIKE = re.compile(f"[{''.join(_CYRILLIC)}{''.join(_GREEK)}]")
_LATIN = re.compile("[A-Za-z]")
_MIXED = re.compile("[A-Za-z](?:(?=[\u0370-\u052f])|(?<=[\u0370-\u052f].))")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def shown(text: str) -> str:
    """The text without characters that show nothing; blanks are spaces."""
    if HIDDEN.search(text):
        text = HIDDEN.sub("", _BLANK.sub(" ", text))
    return _BETWEEN.sub("", text)


def unmasked(text: str) -> str:
    """The text with look-alike letters as those that they stand for. A text with none in disguise is returned as it is.

    A word of mixed scripts is Latin, or Cyrillic where it has letters of that script alone. A word of nothing but
    look-alikes is of the text's script where the other script's letters are hardly any but look-alikes: in what is
    honestly written in a script, every second letter is none.
    """
    if not _FOREIGN.search(text):
        return text
    counts = Counter(text)
    foreign = sum(count for letter, count in counts.items() if "\u0370" <= letter <= "\u052f")
    latin = sum(count for letter, count in counts.items() if letter.isascii() and letter.isalpha())
    if _disguised(sum(count for letter, count in counts.items() if ord(letter) in _TO_LATIN), foreign, of=latin):
        return _WORD.sub(lambda word: _to_latin(word[0]), text)
    if not latin or not _MIXED.search(text):
        return text
    # An abbreviation may be of look-alikes alone (PC), so these are in disguise only where other words are.
    whole = _disguised(sum(count for letter, count in counts.items() if ord(letter) in _TO_CYRILLIC), latin, of=foreign)
    return _WORD.sub(lambda word: _unmixed(word[0], whole=whole), text)


def _disguised(alike: int, letters: int, *, of: int) -> bool:
    """Whether a script's letters, so many of them look-alikes, disguise a text that has kept this many of its own."""
    return 4 * (letters - alike) < alike <= 20 * of


def _to_latin(word: str) -> str:
    if _MIXED.search(word):
        return _unmixed(word, whole=False)
    foreign = _FOREIGN.findall(word)
    # One Greek letter is a variable's name.
    if all(map(_ALIKE.match, foreign)) and (len(foreign) > 1 or word in _CYRILLIC):
        return word.translate(_TO_LATIN)
    return word


def _unmixed(word: str, *, whole: bool) -> str:
    mixed = _MIXED.search(word) is not None
    if not mixed and not whole:
        return word
    others = [letter for letter in _FOREIGN.findall(word) if not _ALIKE.match(letter)]
    if whole or (others and min(others) >= "\u0400"):
        cyrillic = word.translate(_TO_CYRILLIC)
        if not _LATIN.search(cyrillic):
            return cyrillic
    return word.translate(_TO_LATIN) if mixed else word
