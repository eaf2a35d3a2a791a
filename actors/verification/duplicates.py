"""Duplicates: equal and near-equal contents of one campaign find each other, whoever submitted them.

**Texts.** A text is normalised (`disguises` undone, NFKC, case folded, punctuation and white space dropped, numbers
kept whole) and cut into words; scripts without spaces into characters. Its features are its words, each with its number
of occurrence, and its pairs of neighbouring words, the ends marked. Of each of the two sets a bottom-k sketch is kept
(Cohen and Kaplan, "Summarizing data using bottom-k sketches", 2007): for up to `SKETCH` features the set itself, so
that short texts compare exactly. The similarity of two texts is the mean of

- the Jaccard similarity of their words (what was replaced), and
- that of their word pairs, brought to the same scale (what was moved): of the share `2J/(1+J)` of pairs that survive,
  each word has `√` (both pairs that hold it must survive; the Mash distance's argument, Ondov et al., 2016).

So one word in ten replaced gives about 0.82 at any length. A copy that was padded with up to its own length scores by
how much of the shorter is contained in the longer. Texts of fewer than `MIN_WORDS` words are only ever equal or not.
Tables compare by rows: their cells repeat.

Candidates come from MinHash bands over both sets together (`BANDS` × `ROWS`, 64-bit keys).

**Images.** Hamming distance of perceptual hashes (see `readers/image.py`), held against the half that unlike images
differ by, and their colours. Candidates share one of 16 bands of 16 bits.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import xxhash
from sqlalchemy.ext.asyncio import AsyncSession

from actors.verification.disguises import shown, unmasked
from actors.verification.models import Content, Duplicate
from actors.verification.readers.image_hash import COLOUR_BYTES, HASH_BITS, HASH_BYTES
from storage import fingerprints
from storage.fingerprints import FingerprintRow

# Features kept of each set. Longer texts are estimated: at 0.8 the standard error is about 0.02.
SKETCH = 128
# 28 bands of 4 find a pair of similarity 0.8 with probability 0.9999, a copy padded to 1.8 times its length (Jaccard
# 0.53) with 0.89. Rows of 3 would find 0.98 of those, but five times as many candidates that are none.
BANDS, ROWS = 28, 4
# Below, one changed word changes too much of the meaning: "play jazz" is no copy of "play rock".
MIN_WORDS = 5
# A copy may be padded with this many times its own length.
_MAX_PADDING = 1.0
# Share of the bits in which two unlike images differ.
_UNLIKE = 0.5
# Mean difference of the colour grid (0–255) that makes equal shapes different images.
_COLOUR_TOLERANCE = 24.0
_IMAGE_BANDS = 16

_MULTIPLIERS = np.frombuffer(
    b"".join(hashlib.sha256(b"hyvve minhash %d" % number).digest()[:8] for number in range(BANDS * ROWS)), dtype="<u8"
) | np.uint64(1)
_BAND_NAMES = tuple(b"%d:" % band for band in range(BANDS))
_BAND_BYTES = ROWS * 8
_EDGE = 0x9E3779B97F4A7C15
_HEADER = struct.Struct("<8sIHH")
_Hashes = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`signature` is compared by `similarity`; contents that share one of `band_keys` are worth comparing."""

    kind: str
    signature: bytes
    band_keys: tuple[int, ...]


def fingerprint(content: Content) -> Fingerprint:
    """The content's fingerprint: deterministic, on every machine."""
    if content.kind == "image":
        return _image(content.image_hash)
    return _table(content.text) if content.media_type == "text/csv" else _text(content.text)


def row(
    content: Content, *, contribution_id: UUID, seq: int, contributor: str, found: Fingerprint | None = None
) -> FingerprintRow:
    """The row that registers a contribution's content."""
    found = found or fingerprint(content)
    return FingerprintRow(
        contribution_id=contribution_id,
        seq=seq,
        contributor=contributor,
        content_hash=content.content_hash,
        kind=found.kind,
        signature=found.signature,
        band_keys=found.band_keys,
    )


async def find(
    session: AsyncSession, campaign_id: UUID, rows: Sequence[FingerprintRow], *, threshold: float
) -> dict[UUID, Duplicate]:
    """The original of each contribution that repeats an earlier one (lower `seq`) of the campaign, from any wallet.

    Equal content (the same bytes, or the same normalised text) wins over near-equal; among either, the earliest
    (see `fingerprints.register`). Near-equal is an estimated similarity of at least `threshold`. Sees what is
    registered when it runs, so register a chunk's rows, and all earlier ones, first. Two statements; rows without an
    original are left out.
    """
    if not rows:
        return {}
    equal = await fingerprints.equal(session, campaign_id, [(item, _equality_key(item)) for item in rows])
    originals: dict[UUID, Duplicate] = {}
    rest: list[FingerprintRow] = []
    for item in rows:
        first = next((each for each in equal.get(item.seq, ()) if _same(item, each)), None)
        if first is None:
            rest.append(item)
        else:
            originals[item.contribution_id] = Duplicate(
                contribution_id=first.contribution_id, contributor=first.contributor, kind="exact", similarity=1.0
            )
    candidates = await fingerprints.candidates(session, campaign_id, rest)
    for item in rest:
        for other in candidates.get(item.seq, ()):  # in order of submission
            if other.contribution_id == item.contribution_id:  # what it was before its content changed
                continue
            likeness = similarity(item, other)
            if likeness >= threshold:
                originals[item.contribution_id] = Duplicate(
                    contribution_id=other.contribution_id, contributor=other.contributor, kind="near",
                    similarity=likeness,
                )  # fmt: skip
                break
    return originals


def similarity(one: FingerprintRow | Fingerprint, two: FingerprintRow | Fingerprint) -> float:
    """0–1: how like two contents are; 1.0 only where normalised texts, or image hashes, are equal."""
    if one.kind != two.kind or not one.signature or not two.signature:
        return 0.0
    if one.kind == "image":
        return _image_similarity(one.signature, two.signature)
    return _text_similarity(one.signature, two.signature)


def _equality_key(item: FingerprintRow) -> int | None:
    # The first band key of a text is its normalised equality; an image has none: near is not equal.
    return item.band_keys[0] if item.kind == "text" and item.band_keys else None


def _same(item: FingerprintRow, other: FingerprintRow) -> bool:
    if item.content_hash == other.content_hash:
        return True
    return item.kind == other.kind == "text" and item.signature[:8] == other.signature[:8] != b""


# Texts


# A decimal point, a thousands separator or a minus sign is part of its number: 1.5 is not 15, −3 not 3.
_IN_NUMBER = re.compile(r"(?<=\d)[.,:/](?=\d)|(?<![^\s|(\[,;])[-−](?=\d)")
_KEPT = {".": "\ue000", ",": "\ue001", ":": "\ue002", "/": "\ue003", "-": "\ue004", "−": "\ue004"}
# Written without spaces between words: each character stands for itself.
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)  # fmt: skip


class _Folding(dict[int, str]):
    """Characters to what stays of them in normalised text, worked out on first sight."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if category in {"Cf", "Cs"}:
            kept = ""  # joiners and soft hyphens stand inside words
        elif category[0] in "PZ" or category in {"Cc", "Cn", "Sk"} or char == "|":
            kept = " "
        elif category[0] == "S" or any(low <= code <= high for low, high in _UNSPACED):
            kept = f" {char} "
        else:
            kept = char
        self[code] = kept
        return kept


_FOLDING = _Folding()


def words(text: str) -> list[str]:
    """The normalised words of a text: what two texts must share to be equal."""
    if not text.isascii():
        # Before, for a mark that shows nothing also keeps letters and accents from becoming one.
        text = unmasked(unicodedata.normalize("NFKC", shown(text)))
    folded = _IN_NUMBER.sub(lambda found: _KEPT[found.group()], text.casefold())
    found = folded.translate(_FOLDING).split()
    # A text of nothing but punctuation still is what it is.
    return found or text.split()


def _hashes(items: Sequence[str]) -> _Hashes:
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest(item.encode(errors="replace")) for item in items), dtype=np.uint64, count=len(items))


def _text(text: str) -> Fingerprint:
    found = words(text)
    equality = xxhash.xxh3_64_digest("\x1f".join(found).encode(errors="replace"))
    if len(found) < MIN_WORDS:
        return Fingerprint("text", _HEADER.pack(equality, len(found), 0, 0), (_signed(equality),))
    single = _hashes(found)
    ends = np.array([_EDGE], dtype=np.uint64)
    chain = np.concatenate((ends, single, ends))
    # Order matters: the pair (a, b) is not (b, a).
    pairs = _distinct(_mix(chain[:-1] * np.uint64(0xD6E8FEB86659FD93) ^ chain[1:]))
    return _sketched(equality, len(pairs), _numbered(single), pairs)


def _table(text: str) -> Fingerprint:
    rows = [" ".join(words(line)) for line in text.split("\n")]
    equality = xxhash.xxh3_64_digest("\x1e".join(rows).encode(errors="replace"))
    features = _numbered(_hashes(rows))
    # No pairs: the order of a table's rows says nothing.
    return _sketched(equality, len(rows), features, features[:0], enough=len(rows) >= 2)


def _sketched(equality: bytes, size: int, single: _Hashes, pairs: _Hashes, *, enough: bool = True) -> Fingerprint:
    if not enough:
        return Fingerprint("text", _HEADER.pack(equality, size, 0, 0), (_signed(equality),))
    kept, kept_pairs = _bottom(single), _bottom(pairs)
    header = _HEADER.pack(equality, size, len(kept), len(kept_pairs))
    signature = header + kept.tobytes() + kept_pairs.tobytes()
    return Fingerprint("text", signature, (_signed(equality), *_bands(np.concatenate((single, pairs)))))


def _numbered(hashes: _Hashes) -> _Hashes:
    """The multiset as a set: each value made one with the number of its occurrence."""
    ordered = np.sort(hashes)
    places = np.arange(len(ordered), dtype=np.uint64)
    # Of each place, that of the first of its equals: the last place up to it where a value begins.
    begun = places.copy()
    begun[1:][ordered[1:] == ordered[:-1]] = 0
    occurrence = places - np.maximum.accumulate(begun)
    return _mix(ordered + occurrence * np.uint64(0x9FB21C651E98DF25))


def _mix(values: _Hashes) -> _Hashes:
    # splitmix64's finaliser: every bit of the input moves every bit of the output.
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _bottom(hashes: _Hashes) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The sketch: the smallest 32-bit values of the set, sorted."""
    return _distinct((hashes >> np.uint64(32)).astype("<u4"))[:SKETCH]


def _distinct(values: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """As `np.unique`, which takes several times as long for a few hundred values."""
    ordered = np.sort(values)
    first = np.empty(len(ordered), dtype=bool)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _bands(features: _Hashes) -> list[int]:
    minima = np.full(BANDS * ROWS, 2**64 - 1, dtype=np.uint64)
    # In slices, so that a long text does not need a matrix of its own size times 96.
    for start in range(0, len(features), 1_024):
        part = features[start : start + 1_024]
        minima = np.minimum(minima, (part[:, None] * _MULTIPLIERS[None, :]).min(axis=0))
    written = minima.tobytes()
    return [
        _signed(xxhash.xxh3_64_digest(name + written[band * _BAND_BYTES : (band + 1) * _BAND_BYTES]))
        for band, name in enumerate(_BAND_NAMES)
    ]


def _signed(digest: bytes) -> int:
    return int.from_bytes(digest, "little", signed=True)


@functools.lru_cache(maxsize=4_096)
def _unpack(signature: bytes) -> tuple[bytes, int, frozenset[int], frozenset[int], int, int]:
    equality, size, count, pair_count = _HEADER.unpack_from(signature)
    values = np.frombuffer(signature, dtype="<u4", offset=_HEADER.size).tolist()
    return equality, size, frozenset(values[:count]), frozenset(values[count:]), count, pair_count


def _text_similarity(one: bytes, two: bytes) -> float:
    equality, size, single, pairs, _, _ = _unpack(one)
    other_equality, other_size, other_single, other_pairs, _, _ = _unpack(two)
    if equality == other_equality:
        return 1.0
    if not single or not other_single:
        return 0.0
    replaced = _jaccard(single, other_single)
    if not pairs or not other_pairs:  # tables
        return replaced if bool(pairs) == bool(other_pairs) else 0.0
    pair_jaccard = _jaccard(pairs, other_pairs)
    kept = math.sqrt(2 * pair_jaccard / (1 + pair_jaccard))
    likeness = (replaced + kept / (2 - kept)) / 2
    small, large = sorted((size, other_size))
    if large <= small * (1 + _MAX_PADDING):
        # |A∩B| from J and the sizes. What is added costs one pair, that of the end it stands at.
        common = pair_jaccard * (small + large) / (1 + pair_jaccard)
        contained = min(1.0, common / (small - 1))
        likeness = max(likeness, contained**2 * (0.8 + 0.2 * small / large))
    return min(likeness, 0.999)


def _jaccard(one: frozenset[int], two: frozenset[int]) -> float:
    """Estimated from two bottom-k sketches; exact where both hold their whole set."""
    both = one & two
    union = one | two
    if len(one) < SKETCH and len(two) < SKETCH:
        return len(both) / len(union)
    sample = sorted(union)[:SKETCH]
    return sum(value in both for value in sample) / len(sample)


# Images


def _image(perceptual: bytes) -> Fingerprint:
    if len(perceptual) != HASH_BYTES + COLOUR_BYTES:  # a flat image is like every other flat image
        return Fingerprint("image", b"", ())
    width = HASH_BYTES // _IMAGE_BANDS
    keys = tuple(
        _signed(xxhash.xxh3_64_digest(b"image %d:" % band + perceptual[band * width : (band + 1) * width]))
        for band in range(_IMAGE_BANDS)
    )
    return Fingerprint("image", perceptual, keys)


def _image_similarity(one: bytes, two: bytes) -> float:
    differing = (int.from_bytes(one[:HASH_BYTES], "big") ^ int.from_bytes(two[:HASH_BYTES], "big")).bit_count()
    colours, others = (np.frombuffer(item, dtype=np.uint8, offset=HASH_BYTES).astype(np.int16) for item in (one, two))
    if float(np.abs(colours - others).mean()) > _COLOUR_TOLERANCE:
        return 0.0
    return max(0.0, 1.0 - differing / (_UNLIKE * HASH_BITS))
