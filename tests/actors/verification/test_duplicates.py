"""Fingerprints: an edited copy is near its original, and what merely looks alike is not."""

import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from actors.settings import ReadLimits
from actors.verification.duplicates import Fingerprint, fingerprint, similarity, words
from actors.verification.models import Content
from actors.verification.read import read
from tests.actors.verification.documents import encoded, noise, pdf
from tests.benchmarks import near_duplicates

THRESHOLD = 0.8
RICE = "please boil two cups of rice with a pinch of salt"


def of(text: str, media_type: str = "text/plain") -> Fingerprint:
    return fingerprint(Content(content_hash="", kind="text", media_type=media_type, size=len(text), text=text))


async def of_file(data: bytes, name: str | None = None) -> Fingerprint:
    return fingerprint(await read(data, ReadLimits(), file_name=name))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (RICE, "  Please: boil TWO cups of rice,\n\nwith a pinch of “salt”!"),
        ("Straße und Café", "STRASSE und CAFE\u0301"),
        ("soft\u00adware in a full\u200bwidth\u200b box", "software in a fullwidth box"),
        ("１２ ｃｕｐｓ", "12 cups"),
        ("混合面粉和水。", "混合面粉，和水"),
    ],
)
def test_case_punctuation_spaces_and_width_do_not_make_another_text(one: str, two: str) -> None:
    assert similarity(of(one), of(two)) == 1.0
    assert of(one).band_keys[0] == of(two).band_keys[0]


BUTTER = "The side of the pan that is as hot as this has to have a café’s best butter, naïve as it is"
SUGAR = "Смешайте сахар, муку и какао, добавьте корицу и оставьте тесто на час в тепле, а потом раскатайте его"
# Letters that look alike, of two scripts.
TO_CYRILLIC = str.maketrans("aeopcyxijsdhABEKMHOPCTX", "аеорсухіјѕԁһАВЕКМНОРСТХ")
TO_BOTH = {**TO_CYRILLIC, **str.maketrans("tkvNZ", "τκνΝΖ")}
TO_LATIN = {cyrillic: latin for latin, cyrillic in TO_CYRILLIC.items()}


@pytest.mark.parametrize("text", [RICE, BUTTER, SUGAR])
@pytest.mark.parametrize(
    "mark", ["\u034f", "\ufe0f", "\ufe01", "\u00ad", "\u200d", "\u115f", "\u1160", "\u180b", "\U000e0120"]
)
def test_invisible_characters_in_every_word_do_not_hide_a_copy(text: str, mark: str) -> None:
    decomposed = unicodedata.normalize("NFD", text)
    for copy in (mark.join(text), mark.join(decomposed), text.replace(" ", f"{mark} {mark}")):
        assert similarity(of(copy), of(text)) == 1.0
        assert of(copy).band_keys[0] == of(text).band_keys[0]


@pytest.mark.parametrize("blank", ["\u2800", "\u3164", "\uffa0"])
def test_blanks_that_are_no_spaces_do_not_hide_a_copy(blank: str) -> None:
    assert similarity(of(RICE.replace(" ", blank)), of(RICE)) == 1.0
    assert similarity(of(RICE.replace(" ", f" {blank}")), of(RICE)) == 1.0


@pytest.mark.parametrize(
    ("text", "disguise"), [(RICE, TO_CYRILLIC), (RICE, TO_BOTH), (BUTTER, TO_CYRILLIC), (BUTTER, TO_BOTH), (SUGAR, TO_LATIN)]
)  # fmt: skip
def test_letters_that_look_alike_do_not_hide_a_copy(text: str, disguise: dict[int, int]) -> None:
    for copy in (text.translate(disguise), text.upper().translate(disguise)):
        assert near_duplicates.found(of(text), of(copy))
    everywhere = " ".join(word[:1] + word[1:].translate(disguise) for word in text.split())
    assert near_duplicates.found(of(text), of(everywhere))


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("Хорошо, а Сара и Оса — это какао", ["хорошо", "а", "сара", "и", "оса", "это", "какао"]),
        ("Ура", ["ура"]), ("Και το αρνί", ["και", "το", "αρνί"]), ("Wi-Fi в Сочи и IT", ["wi", "fi", "в", "сочи", "и", "it"]),
        ("10 kΩ and 5 μm", ["10", "kω", "and", "5", "μm"]), ("α, ρ and χ² of a", ["α", "ρ", "and", "χ2", "of", "a"]),
        ("नमस्ते क्‍ष", ["नमस्ते", "क्ष"]), ("می‌خواهم", ["میخواهم"]), ("naïve Œuvre İstanbul", ["naïve", "œuvre", "i̇stanbul"]),
    ],
)  # fmt: skip
def test_other_scripts_keep_their_letters(text: str, normalised: list[str]) -> None:
    assert words(text) == normalised


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("it costs 1.5 dollars", "it costs 15 dollars"), ("it is -3 outside", "it is 3 outside"),
        ("yes", "no"), ("a", "b"), ("play jazz", "play rock"), ("C++", "C"), ("😀", "😡"), ("???", "!!!"), ("1/2", "12"),
    ],
)  # fmt: skip
def test_very_short_texts_and_numbers_are_equal_or_nothing(one: str, two: str) -> None:
    assert similarity(of(one), of(two)) < THRESHOLD
    assert similarity(of(one), of(one)) == 1.0


def test_one_word_in_ten_is_a_copy_and_one_in_seven_is_not() -> None:
    assert similarity(of(RICE), of(RICE.replace("pinch", "spoon"))) >= THRESHOLD
    assert similarity(of("how do i say hello in french"), of("how do i say hello in italian")) < THRESHOLD


def test_padding_does_not_hide_a_copy_but_a_quotation_is_none() -> None:
    padded = RICE + ", and then leave it alone on the stove"
    assert THRESHOLD <= similarity(of(RICE), of(padded)) < 0.999
    essay = " ".join(f"sentence number {n} speaks of harbours, boats and weather" for n in range(30))
    assert similarity(of(RICE), of(f"{essay} {RICE} {essay[::-1]}")) < THRESHOLD


def test_the_same_words_in_another_order_are_another_text() -> None:
    words = [f"word{n}" for n in range(40)]
    assert similarity(of(" ".join(words)), of(" ".join(words[::-1]))) < THRESHOLD


def test_tables_compare_by_rows_not_by_their_recurring_cells() -> None:
    def table(rows: list[str]) -> Fingerprint:
        return of("\n".join(["id | answer | mark", *rows]), "text/csv")

    one = [f"{n} | {'yes' if n % 3 else 'no'} | {n % 5}" for n in range(60)]
    other = [f"{n} | {'no' if n % 3 else 'yes'} | {(n + 2) % 5}" for n in range(60)]
    assert similarity(table(one), table(one[::-1])) >= THRESHOLD
    assert similarity(table(one), table([*one[:56], "a | b | c"])) >= THRESHOLD
    assert similarity(table(one), table(other)) < THRESHOLD


async def test_a_text_handed_in_as_pdf_is_still_the_same_text() -> None:
    text = RICE + ". " + "Then wait ten minutes and stir it once."
    assert similarity(await of_file(pdf([text])), await of_file(text.encode(), "a.txt")) == 1.0


async def test_equal_shapes_in_other_colours_and_flat_images_are_no_copies() -> None:
    def circle(colour: str) -> bytes:
        image = Image.new("RGB", (300, 300), "white")
        ImageDraw.Draw(image).ellipse((40, 40, 260, 260), fill=colour)
        return encoded(image)

    red, blue, again = [await of_file(circle(colour)) for colour in ("red", "blue", "red")]
    assert similarity(red, again) == 1.0
    assert similarity(red, blue) < THRESHOLD
    white, black = [await of_file(encoded(Image.new("RGB", (200, 200), colour))) for colour in ("white", "black")]
    assert similarity(white, black) == 0.0
    assert not set(white.band_keys) & set(black.band_keys)


async def test_a_resized_and_recompressed_image_is_found() -> None:
    image = near_duplicates.picture(random.Random(1))
    original = await of_file(encoded(image))
    copy = await of_file(encoded(image.resize((image.width // 2, image.height // 2)), "JPEG", quality=50))
    other = await of_file(encoded(noise()))
    assert near_duplicates.found(original, copy)
    assert not near_duplicates.found(original, other)


def test_texts_and_images_never_meet() -> None:
    assert similarity(of(RICE), Fingerprint("image", of(RICE).signature, ())) == 0.0


@given(st.text(max_size=200))
def test_any_text_has_a_stable_fingerprint_that_fits_the_index(text: str) -> None:
    first = of(text)
    assert first == of(text)
    assert similarity(first, first) == 1.0
    assert all(-(2**63) <= key < 2**63 for key in first.band_keys)


@given(st.text(max_size=120), st.text(max_size=120))
def test_similarity_is_symmetric_and_a_share(one: str, two: str) -> None:
    likeness = similarity(of(one), of(two))
    assert 0.0 <= likeness <= 1.0
    assert likeness == similarity(of(two), of(one))


def test_near_duplicates_are_found_and_nothing_else_on_the_made_pairs() -> None:
    """The bench's text part on a smaller sample, so that a change that loses copies fails here first."""
    chance = random.Random(23)
    texts = near_duplicates.Texts(chance)
    originals: list[Fingerprint] = []
    hits: list[bool] = []
    for length in (10, 40, 300):
        for _ in range(15):
            words = texts.words(length)
            originals.append(of(texts.prose(words)))
            hits += [
                near_duplicates.found(originals[-1], of(edit(words)))
                for edit in near_duplicates.text_edits(texts).values()
            ]
    assert sum(hits) / len(hits) >= 0.95
    assert not any(near_duplicates.found(one, two) for n, one in enumerate(originals) for two in originals[:n])


def test_few_real_requests_are_called_copies() -> None:
    path = Path(__file__).parents[4] / "shared/data/clinc150_three_domains.csv"
    if not path.exists():
        pytest.skip("needs ../shared/data/clinc150_three_domains.csv, which is not part of the repository")
    real = near_duplicates._real()
    assert real is not None
    assert real["flagged"] / real["texts"] < 0.12
