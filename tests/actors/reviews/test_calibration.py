"""Thresholds that reviewers' decisions speak for: proposed where enough speak, with all that they would change."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.reviews.calibration import LEAST, Judged, calibrated, verdict_under
from actors.settings import VerificationSettings
from actors.verification.decide import decide
from actors.verification.models import Brief, Criterion, Duplicate, Mark, Score, Thresholds
from storage.ids import new_id

PRESENT = Thresholds(required_score=70.0, review_margin=5.0, min_confidence=0.5)


def asked(score: float, approved: bool | None, confidence: float = 0.9, **more: object) -> Judged:
    return Judged("REVIEW", score, confidence, approved=approved, **more)  # type: ignore[arg-type]  # its fields


def spread(count: int, low: float = 65.5, high: float = 74.5) -> list[float]:
    return [low + (high - low) * number / (count - 1) for number in range(count)]


def test_people_who_approve_from_a_lower_score_on_lower_it_and_the_effect_is_shown() -> None:
    decided = [asked(score, score >= 67) for score in spread(40)]
    waiting = [asked(66.0, None), asked(68.0, None), asked(72.0, None), asked(71.0, None, 0.2)]
    others = [Judged("ACCEPT", 90.0, 0.9), Judged("REJECT", 30.0, 0.9), Judged("ERROR", None, None)]
    found = calibrated(PRESENT, [*decided, *waiting, *others])
    assert found.proposed == Thresholds(required_score=67.0, review_margin=0.0, min_confidence=0.5)
    assert (found.decisions, found.disagreements) == (40, (13, 0))
    low, high = found.interval or (0, 0)
    assert 66 <= low <= 67 <= high <= 68
    assert found.changes == (("REVIEW", "ACCEPT", 2), ("REVIEW", "REJECT", 1))
    assert (found.alone, found.asked) == (3, 1)
    assert (found.past_alone, found.past_agreed) == (40, 40)


def test_the_score_that_contradicts_fewest_is_found_and_disagreement_keeps_a_margin() -> None:
    decided = [asked(score, score >= 72) for score in spread(60, 66.0, 74.9)]
    noisy = [
        Judged(each.verdict, each.score, each.confidence, approved=not each.approved)
        if abs((each.score or 0) - 72) < 1.6 and number % 2 else each
        for number, each in enumerate(decided)
    ]  # fmt: skip
    found = calibrated(PRESENT, noisy)
    assert found.proposed is not None
    assert 70.4 <= found.proposed.required_score <= 73.6
    assert 0 < found.proposed.review_margin < 5
    assert found.past_agreed >= 0.95 * found.past_alone


def test_low_confidence_is_trusted_where_people_agree_with_it() -> None:
    close = [asked(score, score >= 70) for score in spread(24)]
    unsure = [asked(score, score >= 70, 0.31) for score in (20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 85.0, 90.0, 95.0, 99.0)]
    worse = [asked(score, score < 70, 0.2) for score in (20.0, 30.0, 90.0, 95.0)]
    found = calibrated(PRESENT, [*close, *unsure, *worse])
    assert found.proposed is not None
    assert found.proposed.min_confidence == 0.31


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], "0 decisions"),
        ([asked(70.0, True)] * (LEAST - 1), "too few"),
        ([asked(score, True) for score in spread(40)], "approvals and as many"),
        ([asked(70.0 + n % 2, n % 2 == 1, similarity=0.85) for n in range(60)], "0 decisions"),
        ([asked(70.0 + n % 2, n % 2 == 1, marked=False) for n in range(60)], "0 decisions"),
    ],
)
def test_nothing_is_proposed_where_too_little_is_known(results: list[Judged], said: str) -> None:
    found = calibrated(PRESENT, results)
    assert found.proposed is None
    assert said in found.reason


def test_present_thresholds_that_fit_stay() -> None:
    fitting = Thresholds(required_score=70.0, review_margin=0.0, min_confidence=0.5)
    found = calibrated(fitting, [asked(score, score >= 70) for score in spread(40)])
    assert (found.proposed, found.reason) == (None, "the present thresholds are those that the decisions speak for")


def test_what_is_seen_has_a_digest_that_any_decision_changes_and_no_order_does() -> None:
    decided = [asked(score, score >= 67) for score in spread(40)]
    first = calibrated(PRESENT, decided).digest
    random.Random(7).shuffle(decided)
    assert calibrated(PRESENT, decided).digest == first
    assert calibrated(PRESENT, [*decided, asked(69.0, True)]).digest != first
    assert calibrated(PRESENT, [*decided, asked(69.0, None)]).digest != first


RESULTS = st.builds(
    Judged,
    st.sampled_from(["ACCEPT", "REJECT", "REVIEW", "ERROR"]),
    st.none() | st.floats(0, 100),
    st.none() | st.floats(0, 1),
    marked=st.booleans(),
    similarity=st.none() | st.floats(0.8, 1),
    approved=st.none() | st.booleans(),
)


@given(st.lists(RESULTS, max_size=80))
def test_a_proposal_is_within_bounds_asks_no_more_than_now_and_contradicts_no_more(results: list[Judged]) -> None:
    found = calibrated(PRESENT, results)
    if found.proposed is None:
        return
    assert 0 <= found.proposed.required_score <= 100
    assert 0 <= found.proposed.review_margin <= PRESENT.review_margin
    assert 0 < found.proposed.min_confidence <= PRESENT.min_confidence
    assert found.interval is not None
    assert found.interval[0] <= found.proposed.required_score <= found.interval[1]
    assert found.past_agreed <= found.past_alone <= found.decisions
    before, after = found.disagreements or (0, 1)
    decided = [each.score for each in results if each.approved is not None and each.by_score]
    if min(each or 0 for each in decided) <= PRESENT.required_score <= max(each or 0 for each in decided):
        assert after <= before


@given(st.floats(0, 100), st.floats(0, 1), st.booleans(), st.none() | st.floats(0.8, 0.99))
def test_the_effect_is_what_verification_would_say(
    score: float, confidence: float, marked: bool, similarity: float | None
) -> None:
    limits = Thresholds(required_score=66.0, review_margin=2.5, min_confidence=0.3)
    brief = Brief(title="t", description="d", data_requirements=(), quality_criteria=(), thresholds=limits)
    marks = (Mark(Criterion.ACCURACY, score, "r"),) if marked else ()
    outcome = Score(
        marks=marks, total=score, confidence=confidence, reasoning="", scorer="s", scorer_version="1"
    )  # fmt: skip
    duplicate = (
        None if similarity is None
        else Duplicate(contribution_id=new_id(), contributor="0x1", kind="near", similarity=similarity)
    )  # fmt: skip
    made = decide(brief, outcome, content_hash=None, duplicate=duplicate, settings=VerificationSettings())
    judged = Judged("REVIEW", made.score, made.confidence, marked=marked, similarity=similarity)
    assert verdict_under(limits, judged) == made.verdict
