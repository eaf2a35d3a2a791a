"""Flags: what must not leave unseen is found, and a harmless text does not wake a reviewer."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.reviews.personal_data import luhn
from actors.reviews.safety import CATEGORIES, KINDS, MAX_CHARS, WordDetector, from_provider, is_flag, scanned
from tests.actors.reviews.safety_texts import CLEAN, FLAGGED


def kinds(value: Any) -> set[str]:
    return {flag.kind for flag in scanned(value).flags}


@pytest.mark.parametrize(("kind", "text"), FLAGGED)
def test_what_must_be_seen_is_found_as_what_it_is(kind: str, text: str) -> None:
    assert kinds(text) == {kind}


@pytest.mark.parametrize("text", CLEAN)
def test_what_only_looks_like_it_is_let_pass(text: str) -> None:
    assert scanned(text).flags == ()


def test_a_flag_says_where_it_is_and_the_record_does_not_repeat_it() -> None:
    scan = scanned({"prompt": "a cat", "messages": [{"content": "I am jana.novak@firma-brno.cz"}]})
    (flag,) = scan.flags
    assert (flag.path, flag.start, flag.end) == ("$.messages[0].content", 5, 29)
    assert "novak" not in scan.model_dump_json()


def test_a_card_written_as_a_number_is_one() -> None:
    assert kinds({"n": 4111111111111111}) == {"card"}
    assert kinds({"n": True, "m": 5, "o": None, "p": 1.5}) == set()


async def test_the_same_value_gives_the_same_flags_in_the_order_of_its_texts() -> None:
    value = {"b": "nude", "a": ["© 2020", {"c": "415-555-2671"}]}
    detector = WordDetector()
    assert await detector.scan(value) == await detector.scan(value) == scanned(value)
    assert [flag.path for flag in scanned(value).flags] == ["$.b", "$.a[0]", "$.a[1].c"]


def test_what_is_too_long_to_read_is_said_to_be_unread() -> None:
    assert not scanned("x" * (MAX_CHARS + 1)).complete
    assert not scanned(["nude"] * 1000).complete
    deep: Any = "nude"
    for _ in range(100_000):
        deep = [deep]
    assert not scanned(deep).complete


@pytest.mark.timed
@pytest.mark.parametrize(
    "text",
    [
        "a@" * 60_000,
        "1 " * 80_000,
        "+1" * 80_000,
        "0" * 180_000,
        "A1 " * 60_000,
        "x." * 80_000 + "@",
        "a-" * 80_000,
    ],
)
def test_a_hostile_text_costs_time_in_line_with_its_length(text: str) -> None:
    began = time.process_time()
    scanned(text)
    assert time.process_time() - began < 5


def test_a_providers_own_marks_stand_in_the_detectors_place() -> None:
    scan = from_provider("openai-moderation", ("violence", "violence", "hate"))
    assert [flag.kind for flag in scan.flags] == ["provider:violence", "provider:hate"]
    assert all(is_flag(name) for name in (*CATEGORIES, *KINDS, "provider:hate"))
    assert not is_flag("nswf")


@given(st.text(alphabet="0123456789", min_size=12, max_size=15))
def test_one_wrong_digit_is_never_a_card(digits: str) -> None:
    check = next(last for last in "0123456789" if luhn(digits + last))
    assert sum(luhn(digits + last) for last in "0123456789") == 1
    changed = str((int(digits[3]) + 1) % 10)
    assert not luhn(digits[:3] + changed + digits[4:] + check)


@given(st.recursive(st.text(max_size=20) | st.integers() | st.none() | st.floats(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)))  # fmt: skip
def test_any_value_can_be_scanned(value: Any) -> None:
    for flag in scanned(value).flags:
        assert flag.start <= flag.end
