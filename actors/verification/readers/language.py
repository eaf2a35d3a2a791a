"""Which language a text is in, and which pre-Unicode encoding bytes are in: both offline and deterministic.

Old encodings do not say what they are. Each candidate decodes the bytes; the one whose text reads as a language that
was written in that encoding wins.
"""

from __future__ import annotations

import codecs
import functools
import itertools
import threading
import unicodedata
from typing import Any

# The identifier reads bytes one by one; a page tells the language as surely as a book.
_SAMPLE = 500
# Below this probability, or with fewer letters, a guess would be noise ("ok" is not Tagalog).
_MIN_PROBABILITY = 0.5
_MIN_LETTERS = 12
_LEGACY_SAMPLE = 4_096

# ruff: noqa: SIM905  # language codes read better in a row than one string literal each
# Encodings in the order that breaks ties, and the languages written in them.
_LEGACY: tuple[tuple[str, frozenset[str]], ...] = (
    ("cp1252", frozenset("en fr de es pt it nl sv no nb nn da fi is ga gl ca eu af id ms sq la oc br wa".split())),
    ("cp1250", frozenset("pl cs sk hu sl hr bs ro sr".split())),
    ("cp1251", frozenset("ru uk bg be mk sr kk ky mn".split())),
    ("koi8-r", frozenset(["ru"])),
    ("cp1253", frozenset(["el"])),
    ("cp1254", frozenset(["tr", "az"])),
    ("cp1255", frozenset(["he"])),
    ("cp1256", frozenset(["ar", "fa", "ur"])),
    ("cp1257", frozenset(["lt", "lv", "et"])),
    ("cp1258", frozenset(["vi"])),
    ("cp874", frozenset(["th"])),
    ("cp932", frozenset(["ja"])),
    ("euc_jp", frozenset(["ja"])),
    ("gb18030", frozenset(["zh"])),
    ("big5", frozenset(["zh"])),
    ("euc_kr", frozenset(["ko"])),
)
# Encodings that a declaration may name, as `codecs` calls them: those that files are written in, all decoded in linear
# time. Python knows others that read a stranger's bytes as something else (unicode_escape), or for hours (idna).
_DECLARABLE = frozenset(
    (
        "ascii utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be koi8-u koi8-t kz1048 ptcp154 "
        "cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866 cp869 cp1125 "
        "mac-roman mac-cyrillic mac-greek mac-latin2 mac-iceland mac-turkish mac-croatian mac-romanian tis-620 "
        "gbk gb2312 big5hkscs cp950 cp949 johab shift_jis shift_jis_2004 shift_jisx0213 euc_jis_2004 euc_jisx0213 "
        "iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext iso2022_kr"
    ).split()
    + [f"iso8859-{part}" for part in range(1, 17) if part != 12]
    + [encoding for encoding, _ in _LEGACY]
)
# The letters that make up most of a text in the script; a wrong table yields letters of the script, but rare ones.
_FREQUENT = {
    "cp1251": "оеаинтсрвлкм", "koi8-r": "оеаинтсрвлкм", "cp1253": "αοιετσςνηυρκπάίόέή",
    "cp1255": "יוהלאמרתבשנע", "cp1256": "اليمونرتبهدس",
}  # fmt: skip
_LATIN = frozenset({"cp1252", "cp1250", "cp1254", "cp1257", "cp1258"})

# The languages to tell apart. The model knows more, but its small ones (Nigerian Pidgin, Breton, …) take short texts
# from their large relatives.
_LANGUAGES = frozenset(
    "af am ar az be bg bn bs ca cs cy da de el en es et eu fa fi fil fr ga gl gu ha he hi hr hu hy id is it ja ka kk "
    "km kn ko ky lo lt lv mk ml mn mr ms my nb ne nl no pa pl ps pt ro ru si sk sl so sq sr sv sw ta te tg th tl tr "
    "uk ur uz vi yo zh zu".split()
)
_loading = threading.Lock()


@functools.cache
def _load() -> Any:
    # py3langid brings numpy and unpacks its model on first use (0.8 s): only who reads a text pays.
    import numpy as np  # noqa: PLC0415
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(sorted(_LANGUAGES & set(identifier.labels)))
    # Choosing columns leaves the table in columns' order, where a feature's weights lie a cache line each apart: half
    # of the time of a text went into waiting for them.
    identifier.nb_ptc = np.ascontiguousarray(identifier.nb_ptc)
    return identifier


def _identifier() -> Any:
    with _loading:
        return _load()


def identify(text: str) -> str | None:
    """ISO 639-1 code of the language of a text's beginning; `None` where it is too short or unsure."""
    sample = text[:_SAMPLE]
    # Scripts without spaces say more per character: their three bytes count as three.
    letters = len(sample.encode(errors="replace")) if not sample.isascii() else sum(map(str.isalpha, sample))
    if letters < _MIN_LETTERS:
        return None
    code, probability = _identifier().classify(sample)
    return str(code) if probability >= _MIN_PROBABILITY else None


def _plausible(sample: str) -> float:
    """0–1: how far the characters that are not ASCII stand as in words: letters, one script, no capital inside."""
    high = [char for char in sample if char > "\x7f"]
    letters = sum(map(str.isalpha, high)) / max(len(high), 1)
    pairs = odd = 0
    for one, two in itertools.pairwise(sample):
        if one.isalpha() and two.isalpha() and (one > "\x7f" or two > "\x7f"):
            pairs += 1
            # A Greek final sigma stands at the end of a word.
            odd += two.isupper() or one == "ς" or _script(one) != _script(two)
    return letters * (1 - odd / pairs) ** 2 if pairs else letters


def _frequent(sample: str, encoding: str) -> float:
    """0–1: how far the letters are those the script uses most; in Latin scripts, those of ASCII."""
    letters = [char for char in sample.lower() if char.isalpha()]
    if encoding in _FREQUENT:
        high = [char for char in letters if char > "\x7f"]
        return min(1.0, sum(char in _FREQUENT[encoding] for char in high) / max(len(high), 1) / 0.7)
    if encoding in _LATIN:
        return min(1.0, 2 * sum(map(str.isascii, letters)) / max(len(letters), 1))
    return 1.0


@functools.lru_cache(maxsize=4_096)
def _script(char: str) -> str:
    script = unicodedata.name(char, "?").split(" ", 1)[0].split("-", 1)[0]
    return "CJK" if script in {"HIRAGANA", "KATAKANA"} else script


def decode_legacy(data: bytes, declared: str | None) -> tuple[str, str]:
    """The text of bytes that are not UTF-8, and its encoding. Never raises: Latin-1 takes any bytes.

    A `declared` encoding that texts are not written in counts as none.
    """
    if declared is not None:
        try:
            codec = codecs.lookup(declared)
            if codec.name in _DECLARABLE:
                return data.decode(codec.name), codec.name
        except (LookupError, ValueError):
            pass
    # Past the first 64 KB the rest cannot change which language this is; where the high bytes begin, it can.
    first = next((place for place, byte in enumerate(data) if byte > 0x7F), 0)
    start = max(0, first - 256)
    ranked: list[tuple[float, int, str]] = []
    for order, (encoding, languages) in enumerate(_LEGACY):
        sample = data[start : start + _LEGACY_SAMPLE].decode(encoding, errors="replace")
        if "\ufffd" in sample[:-2]:
            continue
        code, probability = _identifier().classify(sample[:_SAMPLE])
        fitting = probability if code in languages and probability >= _MIN_PROBABILITY else 0.1
        ranked.append((-fitting * _plausible(sample) * _frequent(sample, encoding), order, encoding))
    for _, _, encoding in sorted(ranked):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"
