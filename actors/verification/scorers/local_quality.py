"""Measured quality of a text, without knowing its subject: readable, whole, its own words, in which script.

Nothing here depends on white space between sentences, so that a text from which a sentence was taken out measures as
if the sentence had never been there.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

# Past this many characters the measures no longer change with more of the same text.
_SAMPLE_CHARS = 40_000
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_PLACEHOLDER = re.compile(
    r"\b(?:todo|tbd|fixme|lorem ipsum|dolor sit amet|placeholder|coming soon|insert (?:\w+ ){0,3}here|write (?:\w+ ){0,3}here|"
    r"to be (?:added|completed|written|done)|asdf\w*|qwerty\w*|foo ?bar|test test|blah blah)\b",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"</?[a-zA-Z!][^<>]{0,300}>|&[a-z]{2,8};|https?://\S+")
_TABLE_LINE = re.compile(r" \| |\t|;[^;\n]*;")
_ENDED = re.compile(r"[.!?…。！？\"'”’)\]}|*`:;]\s*\Z")
# The commonest English words: about half of running English is made of them, of a list of keywords hardly any.
FUNCTION_WORDS = frozenset(
    "the of and a an to in is are was were be been it its that this these those for on with as at by from or not but if "
    "so i you he she we they me my your his her our their them us what which who how when where why can could do does "
    "did have has had will would should may might must there here then than more most some any all no one two up out "
    "into over about after before until only very just also too i'm i'll i've it's don't can't what's let's how's need "
    "want like get go make made take use used".split()
)
_VOWELS = frozenset("aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýœ")
# Scripts that write without spaces: a word is about two characters.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


@dataclass(frozen=True, slots=True)
class Quality:
    words: int
    legibility: float  # 0–1: the words are words
    prose: float  # 0–1: words stand in sentences or rows, not as a heap
    fresh: float  # 0–1: it does not repeat itself
    borrowed: float  # 0–1: how far it is made of the brief's own words
    placeholders: tuple[str, ...]
    markup: float  # share of characters that are tags, entities and addresses
    shouting: float  # share of letters in words of capitals
    latin: float  # share of letters of the Latin script
    script: str  # the commonest script
    english: float  # share of English function words
    is_table: bool
    is_cut: bool  # ends inside a sentence
    sentences: int


def vocabulary(text: str) -> list[str]:
    """The lower-case words whose pieces `measure` asks for: ASCII ones of four letters or more, each once."""
    return sorted({word for word in _WORD.findall(text[:_SAMPLE_CHARS].lower()) if len(word) >= 4 and word.isascii()})


def measure(text: str, pieces: dict[str, int], brief_words: Collection[str]) -> Quality:
    """`pieces` is the encoder's count for `vocabulary(text)`; `brief_words` are the content words of the brief."""
    sample = text[:_SAMPLE_CHARS]
    words = _WORD.findall(sample)
    lower = [word.lower() for word in words]
    scripts = _scripts(sample)
    letters = sum(scripts.values())
    script = max(scripts, key=lambda name: (scripts[name], name)) if scripts else "none"
    unspaced = sum(count for name, count in scripts.items() if name in _UNSPACED)
    # Numbers are part of a table's or a recipe's substance.
    tokens = _TOKEN.findall(sample)
    count = len(tokens) + unspaced // 2
    if len(text) > _SAMPLE_CHARS:
        count = round(count * len(text) / _SAMPLE_CHARS)
    lines = [line for line in sample.split("\n") if line.strip()]
    tabular = sum(bool(_TABLE_LINE.search(line)) for line in lines)
    is_table = len(lines) >= 2 and tabular >= 0.6 * len(lines)
    english = sum(word in FUNCTION_WORDS for word in lower) / max(len(lower), 1)
    latin = scripts.get("LATIN", 0) / letters if letters else 0.0
    sentences = len(re.findall(r"[.!?…。！？]+(?:\s|$)", sample)) + sum(not _ENDED.search(line) for line in lines)
    return Quality(
        words=count,
        legibility=_legibility(sample, lower, pieces, letters, latin),
        prose=1.0 if is_table or latin < 0.7 else _prose(lower, english, sample),
        fresh=_fresh(sample, [token.lower() for token in tokens]),
        borrowed=_borrowed(lower, brief_words),
        placeholders=tuple(dict.fromkeys(match.lower() for match in _PLACEHOLDER.findall(sample)))[:3],
        markup=sum(map(len, _MARKUP.findall(sample))) / max(len(sample), 1),
        shouting=sum(len(word) for word in words if len(word) > 3 and word.isupper()) / max(letters, 1),
        latin=latin,
        script=script,
        english=english,
        is_table=is_table,
        is_cut=count >= 40 and not is_table and not _ENDED.search(text),
        sentences=sentences,
    )


def _scripts(sample: str) -> Counter[str]:
    """Letters by script; the first word of the character's Unicode name names it."""
    if sample.isascii():
        latin = sum(map(str.isalpha, sample))
        return Counter({"LATIN": latin} if latin else {})
    found: Counter[str] = Counter()
    for char, count in Counter(sample).items():
        if char.isalpha():
            found["LATIN" if char.isascii() else unicodedata.name(char, "?").split(" ", 1)[0].split("-", 1)[0]] += count
    return found


def _legibility(sample: str, lower: list[str], pieces: dict[str, int], letters: int, latin: float) -> float:
    visible = sum(not char.isspace() for char in sample)
    if not letters:
        return 0.0
    # A table of numbers is two thirds digits; past that there is nothing to read.
    share = letters / max(visible, 1)
    lettered = min(1.0, share / 0.3)
    if latin < 0.7 or not lower:
        return lettered
    odd = 0.0
    length = 0
    for word in lower:
        if len(word) < 4:
            # "a b c x q": single letters are words in no language.
            odd += len(word) * (len(word) == 1 and word not in "ai")
        elif word.isascii():
            odd += len(word) * _oddness(word, pieces.get(word, 1))
        length += len(word)
    gibberish = odd / max(length, 1)
    # Running text of names and foreign dishes reaches 0.15; keyboard noise 0.6.
    return lettered * max(0.0, min(1.0, 1.0 - (gibberish - 0.2) / 0.3))


def _oddness(word: str, pieces: int) -> float:
    """0 for a word; 1 for keyboard noise: no vowels, letters in rows, or broken into pieces of two letters."""
    if not _VOWELS.intersection(word) or re.search(r"(.)\1\1\1|(..)\2\2", word):
        return 1.0
    per_piece = len(word) / pieces
    return 0.0 if pieces <= 2 or per_piece >= 3.0 else min(1.0, (3.0 - per_piece) / 0.8)


def _prose(lower: list[str], english: float, sample: str) -> float:
    """Running text has small words and sentence ends; a heap of keywords has neither. Short texts get the doubt."""
    if len(lower) < 20:
        return 1.0
    small = english + sum(len(word) <= 3 for word in lower) / len(lower) * 0.3
    marks = len(re.findall(r"[.!?,;:\n\d]", sample)) / len(lower)
    held = min(1.0, small / 0.22) * (1.0 if marks >= 0.03 else 0.75 if marks > 0 else 0.5)
    heap = small < 0.12
    return min(held, 0.4) if heap else held


def _fresh(sample: str, tokens: list[str]) -> float:
    if len(tokens) < 6:
        return 1.0 if len(set(tokens)) * 2 > len(tokens) else 0.3
    runs = [tuple(tokens[i : i + 4]) for i in range(len(tokens) - 3)]
    repeated = 1 - len(set(runs)) / len(runs)
    single = Counter(tokens).most_common(1)[0][1] / len(tokens)
    fresh = 1.0 - max(0.0, repeated - 0.1) / 0.5
    if len(tokens) >= 12:
        # No word makes up a quarter of a text; "the" reaches 0.1.
        fresh = min(fresh, 1.0 - max(0.0, single - 0.2) / 0.3)
        ratio = len(set(tokens[:200])) / len(tokens[:200])
        fresh = min(fresh, max(0.0, ratio / 0.35))
    if len(sample) >= 1_500:
        data = sample.encode("utf-8", "replace")
        packed = len(zlib.compress(data, 6)) / len(data)
        fresh = min(fresh, max(0.0, packed / 0.25))
    return max(0.0, min(1.0, fresh))


def _borrowed(lower: list[str], brief_words: Collection[str]) -> float:
    """Share of the content words that the brief has; only for texts long enough to have words of their own."""
    content = [word for word in lower if len(word) > 3 and word not in FUNCTION_WORDS]
    if len(content) < 12:
        return 0.0
    return sum(word in brief_words for word in content) / len(content)
