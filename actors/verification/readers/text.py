"""Texts: which encoding, what a judge should know of them, and how much of them fits the token budget."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from actors.errors import EmptyContentError, UnsupportedTypeError
from actors.verification.readers import language
from actors.verification.readers.sniff import BINARY

# A token is about 4 bytes of UTF-8: 4 letters of English, 2 of Russian, a bit more than one Chinese character.
BYTES_PER_TOKEN = 4
# Past this share of control characters it is no text in any encoding. Texts hold a stray one at most.
_MAX_CONTROL_SHARE = 0.02

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
# Tab, line feed, form feed and carriage return are white space; escape begins a terminal's colour code.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\x80-\x84\x86-\x9f]")
_DROPPED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Without what emoji and joined scripts need: there are variants of emoji and ideographs, and none of letters.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u180e\u200b\u2060-\u2064\ufeff\U000e0000-\U000e007f]"
    "|(?<=[A-Za-z\u00c0-\u052f\\s\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_MIXED = re.compile("[A-Za-z][\u0370-\u03ff\u0400-\u04ff]|[\u0370-\u03ff\u0400-\u04ff][A-Za-z]")
_PARAGRAPH_BREAK = re.compile(r"\n[ \t\r\f]*\n")


@dataclass(frozen=True, slots=True)
class Decoded:
    text: str
    encoding: str


def decode(data: bytes, *, charset: str | None = None) -> Decoded:
    """The text in whichever encoding the bytes are. `charset` is a declared one, tried where UTF-8 fails.

    Raises `UnsupportedTypeError` for bytes that are no text, NUL bytes among them.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            try:
                return _checked(data[len(bom) :].decode(encoding), encoding)
            except UnicodeDecodeError as error:
                raise UnsupportedTypeError(
                    f"the content begins with the byte order mark of {encoding.upper()} but breaks it at byte "
                    f"{error.start + len(bom):,}"
                ) from None
    if b"\x00" in data:
        raise UnsupportedTypeError(
            f"the content holds NUL bytes, first at byte {data.index(0):,}: it is binary, or UTF-16 without a byte "
            "order mark; save it as UTF-8",
            actual=BINARY.media_type,
        )
    try:
        return _checked(data.decode(), "utf-8")
    except UnicodeDecodeError:
        pass
    text, encoding = language.decode_legacy(data, charset)
    return _checked(text, encoding)


def _checked(text: str, encoding: str) -> Decoded:
    if text.isascii() and text.isprintable():  # the quick way for most short texts
        return Decoded(text, encoding)
    controls = len(_CONTROLS.findall(text))
    if "\x00" in text or controls > _MAX_CONTROL_SHARE * len(text) + 1:
        raise UnsupportedTypeError(
            f"the content is binary, not text: {controls:,} of {len(text):,} characters are control characters",
            actual=BINARY.media_type,
        )
    return Decoded(text, encoding)


def clean(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without control characters and lone surrogates, lines ended by a line feed, and notes for a judge."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    notes: list[str] = []
    if not (text.isascii() and text.isprintable()):
        text, dropped = _DROPPED.subn("", text)
        if dropped:
            notes.append(f"{dropped:,} control characters were dropped")
    if not text.isascii():
        if marks := len(_BIDI.findall(text)):
            notes.append(f"holds {marks:,} bidirectional control marks, which can hide or reorder words")
        if marks := len(_INVISIBLE.findall(text)):
            notes.append(f"holds {marks:,} invisible characters")
        if mixed := len(_MIXED.findall(text)):
            notes.append(f"mixes scripts inside words ({mixed:,} places), as look-alike letters do")
    return text, tuple(notes)


def require_some(text: str) -> str:
    """The text, stripped; raises `EmptyContentError` where nothing visible is left."""
    text = text.strip()
    if not text or not any(unicodedata.category(char)[0] not in "CZ" for char in text[:10_000]):
        raise EmptyContentError("the content holds nothing but white space")
    return text


def keep_beginning(text: str, max_tokens: int) -> tuple[str, int]:
    """As much of the beginning as fits, cut between words, and about how many tokens that drops (0: all fits)."""
    limit = max_tokens * BYTES_PER_TOKEN
    size = _size(text)
    if size <= limit:
        return text, 0
    kept = text.encode(errors="replace")[:limit].decode(errors="ignore")
    space = max(kept.rfind(" ", len(kept) - 200), kept.rfind("\n", len(kept) - 200))
    if space > 0:
        kept = kept[:space]
    kept = kept.rstrip()
    return kept, -(-(size - _size(kept)) // BYTES_PER_TOKEN)


def about(tokens: int) -> str:
    """`about 12,000 tokens`: two digits are all that an estimate is worth."""
    unit = 10 ** max(len(str(tokens)) - 2, 0)
    return f"about {round(tokens / unit) * unit:,} tokens"


def first_paragraph(text: str) -> tuple[str, bool]:
    """The text up to its first empty line, and whether more follows."""
    text = text.strip()
    found = _PARAGRAPH_BREAK.search(text)
    return (text, False) if found is None else (text[: found.start()].rstrip(), True)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
