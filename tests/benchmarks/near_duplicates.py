"""Precision and recall of near-duplicate detection on pairs made here: `python -m tests.benchmarks.near_duplicates`.

Positive pairs are a text or image and an edited copy; negative pairs are all pairs of different originals, and texts
cut from one template with a quarter of their words changed. A pair counts as found where the index would bring the two
together (a common band key) and their similarity reaches the threshold.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from actors.settings import ReadLimits, VerificationSettings
from actors.verification.duplicates import Fingerprint, fingerprint, similarity
from actors.verification.models import Content
from actors.verification.read import read

THRESHOLD = VerificationSettings().near_duplicate
LENGTHS = (10, 25, 60, 200, 1_000)
PER_LENGTH = 40
IMAGES = 40
# Share of words that a paraphrase swaps; at least one. At 10 words that is one in ten, where the threshold lies.
SWAPPED = 0.07

# ruff: noqa: SIM905  # words read better in a row than one string literal each
_COMMON = (
    "the a to of and in is it you that was for on are with as they be at one have this from or had by but some what "
    "there we can out other were all your when up use how said an each she which do their time if will way about many "
    "then them would like so these her long make thing see him two has look more day could go come did my no most who "
    "over know than call first people down side been now find any new work part take get place made live where after"
).split()
_ONSETS = "b br c ch cl d dr f fl g gr h j k l m n p pl pr r s sh sl st t th tr v w".split()
_VOWELS = "a e i o u ai ea ee oa ou".split()
_CODAS = "ck d ft g l ll m n nd ng nt p r rd rn s st t tch x".split()


def _vocabulary(chance: random.Random, size: int = 2_500) -> list[str]:
    def syllable() -> str:
        return chance.choice(_ONSETS) + chance.choice(_VOWELS)

    found: dict[str, None] = {}
    while len(found) < size:
        found["".join(syllable() for _ in range(chance.randint(1, 2))) + chance.choice(_CODAS)] = None
    return list(found)


class Texts:
    """Makes texts whose words are spread as in English: half of them from a hundred common ones."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.rare = _vocabulary(chance)
        self._weights = [1 / (rank + 3) for rank in range(len(self.rare))]

    def word(self) -> str:
        if self.chance.random() < 0.5:
            return self.chance.choice(_COMMON)
        return self.chance.choices(self.rare, self._weights)[0]

    def words(self, count: int) -> list[str]:
        return [self.word() for _ in range(count)]

    def prose(self, words: list[str]) -> str:
        """The words as sentences of about ten, paragraphs of about sixty."""
        out: list[str] = []
        for number, word in enumerate(words):
            first = number % 10 == 0
            end = "." if number % 10 == 9 or number == len(words) - 1 else "," if number % 10 == 4 else ""
            out.append((word.capitalize() if first else word) + end + ("\n\n" if number % 60 == 59 else ""))
        return " ".join(out)


def text_edits(texts: Texts) -> dict[str, Callable[[list[str]], str]]:
    """Ways in which one text is handed in again."""
    chance = texts.chance

    def swapped(words: list[str]) -> str:
        words = list(words)
        for place in chance.sample(range(len(words)), max(1, int(len(words) * SWAPPED))):
            words[place] = chance.choice(texts.rare)
        return texts.prose(words)

    def moved(words: list[str]) -> str:
        words = list(words)
        for _ in range(max(1, len(words) // 50)):
            one, two = chance.sample(range(len(words)), 2)
            words[one], words[two] = words[two], words[one]
        return texts.prose(words)

    return {
        "case, punctuation, white space": lambda words: "  ".join(words).upper().replace("  ", "\t", 3) + " !!",
        "words swapped for others": swapped,
        "words exchanged": moved,
        "sentence appended": lambda words: texts.prose(words) + " " + texts.prose(texts.words(8)),
        "sentence put in front": lambda words: texts.prose(texts.words(8)) + " " + texts.prose(words),
    }


def picture(chance: random.Random) -> Image.Image:
    """A picture with a soft background and a handful of shapes, as unlike the next as photographs are."""
    width, height = chance.randint(300, 640), chance.randint(300, 640)
    small = Image.new("RGB", (4, 4))
    for place in itertools.product(range(4), range(4)):
        small.putpixel(place, (chance.randrange(256), chance.randrange(256), chance.randrange(256)))
    image = small.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(chance.randint(5, 14)):
        left, top = chance.randrange(width), chance.randrange(height)
        box = (left, top, left + chance.randint(15, width // 2), top + chance.randint(15, height // 2))
        colour = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
        chance.choice((draw.ellipse, draw.rectangle))(box, fill=colour)
    return image.filter(ImageFilter.GaussianBlur(0.6))


def encoded(image: Image.Image, format_name: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def image_edits() -> dict[str, Callable[[Image.Image], bytes]]:
    return {
        "JPEG, quality 40": lambda image: encoded(image, "JPEG", quality=40),
        "WebP, quality 50": lambda image: encoded(image, "WEBP", quality=50),
        "half the size": lambda image: encoded(image.resize((image.width // 2, image.height // 2))),
        "twice the size, JPEG": lambda image: encoded(image.resize((image.width * 2, image.height * 2)), "JPEG"),
        "96 pixels wide": lambda image: encoded(image.resize((96, 96 * image.height // image.width))),
        "a little brighter": lambda image: encoded(image.point(lambda value: min(255, int(value * 1.06) + 4))),
        "slightly blurred": lambda image: encoded(image.filter(ImageFilter.GaussianBlur(1.5))),
    }


def _of_text(text: str) -> Fingerprint:
    return fingerprint(Content(content_hash="", kind="text", media_type="text/plain", size=len(text), text=text))


def _of_image(data: bytes) -> Fingerprint:
    return fingerprint(asyncio.run(read(data, ReadLimits())))


def found(one: Fingerprint, two: Fingerprint) -> bool:
    """Whether the index brings the two together and the threshold calls them near."""
    return bool(set(one.band_keys) & set(two.band_keys)) and similarity(one, two) >= THRESHOLD


def _hard_negatives(texts: Texts, length: int) -> Iterator[tuple[str, str]]:
    for _ in range(PER_LENGTH):
        words = texts.words(length)
        other = list(words)
        for place in texts.chance.sample(range(length), max(2, length // 4)):
            other[place] = texts.chance.choice(texts.rare)
        yield texts.prose(words), texts.prose(other)


def measure() -> dict[str, Any]:
    """`{"text": …, "image": …}`, each with `precision`, `recall`, `pairs`, `false` and `recall_by_edit`; and costs."""
    started = time.perf_counter()
    report: dict[str, Any] = {"threshold": THRESHOLD, "text": _texts(), "image": _images()}
    texts = Texts(random.Random(3))
    fifty = [texts.prose(texts.words(50)) for _ in range(400)]
    begun = time.perf_counter()
    for text in fifty:
        _of_text(text)
    report["fingerprint_ms_50_words"] = (time.perf_counter() - begun) / len(fifty) * 1e3
    report["real"] = _real()
    report["seconds"] = time.perf_counter() - started
    return report


def _texts() -> dict[str, Any]:
    texts = Texts(random.Random(7))
    hits: dict[str, list[bool]] = {}
    originals: list[Fingerprint] = []
    false = negatives = 0
    for length in LENGTHS:
        for _ in range(PER_LENGTH):
            words = texts.words(length)
            original = _of_text(texts.prose(words))
            originals.append(original)
            for name, edit in text_edits(texts).items():
                hits.setdefault(f"{name}, {length} words", []).append(found(original, _of_text(edit(words))))
        for one, two in _hard_negatives(texts, length):
            negatives += 1
            false += found(_of_text(one), _of_text(two))
    return _figures(hits, originals, false, negatives)


def _images() -> dict[str, Any]:
    chance = random.Random(11)
    hits: dict[str, list[bool]] = {}
    originals: list[Fingerprint] = []
    for _ in range(IMAGES):
        image = picture(chance)
        original = _of_image(encoded(image))
        originals.append(original)
        for name, edit in image_edits().items():
            hits.setdefault(name, []).append(found(original, _of_image(edit(image))))
    return _figures(hits, originals, 0, 0)


def _figures(hits: dict[str, list[bool]], originals: list[Fingerprint], false: int, negatives: int) -> dict[str, Any]:
    for one, two in itertools.combinations(originals, 2):
        negatives += 1
        false += found(one, two)
    true = sum(map(sum, hits.values()))
    pairs = sum(map(len, hits.values()))
    return {
        "precision": true / (true + false),
        "recall": true / pairs,
        "pairs": pairs,
        "negatives": negatives,
        "false": false,
        "recall_by_edit": {name: sum(each) / len(each) for name, each in hits.items()},
    }


def _real() -> dict[str, Any] | None:
    """How many of 5,600 real short requests are flagged; real repetitions, mostly. `None` where the file is not."""
    path = Path(__file__).parents[3] / "shared/data/clinc150_three_domains.csv"
    if not path.exists():
        return None
    import csv  # noqa: PLC0415  # only where the file is

    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(dict.fromkeys(line["text"] for line in csv.DictReader(lines)))
    index: dict[int, list[int]] = {}
    made: list[Fingerprint] = []
    flagged = 0
    for number, text in enumerate(rows):
        one = _of_text(text)
        candidates = {other for key in one.band_keys for other in index.get(key, ())}
        flagged += any(similarity(one, made[other]) >= THRESHOLD for other in candidates)
        made.append(one)
        for key in one.band_keys:
            index.setdefault(key, []).append(number)
    return {"texts": len(rows), "flagged": flagged}


def main() -> None:
    """Print the figures."""
    report = measure()
    print(f"near duplicates at similarity {report['threshold']:g}")
    for kind in ("text", "image"):
        figures = report[kind]
        print(
            f"  {kind}: precision {figures['precision']:.4f} ({figures['false']} false of {figures['negatives']:,} "
            f"unlike pairs), recall {figures['recall']:.4f} over {figures['pairs']:,} pairs"
        )
        for name, recall in figures["recall_by_edit"].items():
            print(f"    {recall:6.3f}  {name}")
    print(f"  fingerprint of a 50-word text: {report['fingerprint_ms_50_words']:.3f} ms")
    if report["real"]:
        print(f"  flagged among {report['real']['texts']:,} real short requests: {report['real']['flagged']}")


if __name__ == "__main__":
    main()
