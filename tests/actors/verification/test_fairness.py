"""The fairness adjustment is small, repeatable and nobody's to choose."""

import hashlib
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.verification.fairness import apply_fairness_adjustment


@given(st.floats(0, 100), st.text(), st.floats(0, 5))
def test_it_never_moves_a_score_past_its_bound_or_off_the_scale(score: float, content_hash: str, bound: float) -> None:
    adjusted, adjustment = apply_fairness_adjustment(score, content_hash, bound=bound)
    assert 0 <= adjusted <= 100
    assert abs(adjustment) <= bound + 1e-9
    assert adjusted == pytest.approx(score + adjustment, abs=1e-9)
    assert (adjusted, adjustment) == apply_fairness_adjustment(score, content_hash, bound=bound)


def test_it_is_the_same_on_every_machine() -> None:
    adjusted, adjustment = apply_fairness_adjustment(70.0, hashlib.sha256(b"x").hexdigest(), bound=1.0)
    assert (adjusted, round(adjustment, 4)) == (70.499, 0.499)


def test_equal_scores_are_told_apart_and_nobody_is_favoured_on_the_whole() -> None:
    hashes = [hashlib.sha256(b"%d" % n).hexdigest() for n in range(4_000)]
    adjusted = [apply_fairness_adjustment(80.0, each, bound=1.0)[0] for each in hashes]
    assert len(set(adjusted)) > 3_000
    assert abs(statistics.fmean(adjusted) - 80) < 0.05


def test_no_bound_no_adjustment() -> None:
    assert apply_fairness_adjustment(64.25, "abc", bound=0.0) == (64.25, 0.0)


@pytest.mark.parametrize("score", [-0.1, 100.1, float("nan"), float("inf")])
def test_what_is_no_score_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        apply_fairness_adjustment(score, "abc", bound=1.0)
