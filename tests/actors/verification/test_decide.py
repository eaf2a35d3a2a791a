"""Verdicts: what a creator pays for, what not, what a person looks at, and why in words."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ScorerUnavailableError
from actors.settings import VerificationSettings
from actors.verification.decide import CERTAIN_NEAR, decide
from actors.verification.models import Brief, Criterion, Decision, Duplicate, Mark, Score, Verdict
from storage.errors import HyvveError

SETTINGS = VerificationSettings(fairness_bound=0.0)
BRIEF = Brief(title="t", description="d", data_requirements=("a",), quality_criteria=("b",), required_score=70.0)
ORIGINAL = UUID(int=7)


def score(total: float, confidence: float = 0.9, *, marks: bool = True) -> Score:
    return Score(
        marks=(Mark(Criterion.RELEVANCE, total, "it is on topic"),) if marks else (), total=total, confidence=confidence,
        reasoning="on topic, well written", scorer="local", scorer_version="1",
    )  # fmt: skip


def copy(kind: Any, similarity: float) -> Duplicate:
    return Duplicate(contribution_id=ORIGINAL, contributor="0xfirst", kind=kind, similarity=similarity)


def judged(outcome: Score | HyvveError, duplicate: Duplicate | None = None, **changes: Any) -> Decision:
    settings = SETTINGS.model_copy(update=changes)
    return decide(BRIEF, outcome, content_hash="abc", duplicate=duplicate, settings=settings)


@pytest.mark.parametrize(
    ("total", "verdict"),
    [
        (100, Verdict.ACCEPT), (75, Verdict.ACCEPT), (74.9, Verdict.REVIEW), (70, Verdict.REVIEW),
        (65.1, Verdict.REVIEW), (65, Verdict.REJECT), (0, Verdict.REJECT),
    ],
)  # fmt: skip
def test_the_required_score_decides_and_close_calls_go_to_a_person(total: float, verdict: Verdict) -> None:
    decision = judged(score(total))
    assert decision.verdict is verdict
    assert decision.score == decision.raw_score == total
    assert "70" in decision.reasoning
    assert "On topic, well written." in decision.reasoning


def test_an_unsure_scorer_never_decides_alone() -> None:
    decision = judged(score(99, confidence=0.49))
    assert decision.verdict is Verdict.REVIEW
    assert "49 % sure" in decision.reasoning


@pytest.mark.parametrize("total", [99, 5])
def test_a_score_nobody_is_sure_of_goes_to_a_person_whatever_is_configured(total: float) -> None:
    decision = judged(score(total, confidence=0.0), min_confidence=0.0)  # a vote that disagrees says so
    assert decision.verdict is Verdict.REVIEW
    assert decision.score == total
    assert "not sure of it" in decision.reasoning


def test_what_nothing_can_judge_goes_to_a_person_without_a_score() -> None:
    decision = judged(score(0, confidence=0.0, marks=False))
    assert decision.verdict is Verdict.REVIEW
    assert decision.score is None
    assert decision.raw_score is None


def test_an_error_is_never_a_score() -> None:
    decision = judged(ScorerUnavailableError("the provider did not answer"))
    assert (decision.verdict, decision.score, decision.raw_score) == (Verdict.ERROR, None, None)
    assert decision.error_code == "scorer_unavailable"
    assert "The provider did not answer." in decision.reasoning


@pytest.mark.parametrize("outcome", [score(100), ScorerUnavailableError("down"), score(0, 0, marks=False)])
def test_an_equal_copy_is_rejected_and_the_original_named(outcome: Score | HyvveError) -> None:
    decision = judged(outcome, copy("exact", 1.0))
    assert decision.verdict is Verdict.REJECT
    assert str(ORIGINAL) in decision.reasoning
    assert "0xfirst" in decision.reasoning
    assert decision.error_code is None


def test_a_near_copy_is_rejected_where_certain_and_looked_at_where_not() -> None:
    assert judged(score(95), copy("near", CERTAIN_NEAR)).verdict is Verdict.REJECT
    doubtful = judged(score(95), copy("near", 0.83))
    assert doubtful.verdict is Verdict.REVIEW
    assert "83 % like" in doubtful.reasoning
    assert str(ORIGINAL) in doubtful.reasoning


def test_a_near_copy_that_fails_anyway_needs_no_person() -> None:
    decision = judged(score(20), copy("near", 0.83))
    assert decision.verdict is Verdict.REJECT
    assert "below the required" in decision.reasoning
    assert "83 % like" in decision.reasoning


@pytest.mark.parametrize("total", [float("nan"), float("inf"), -1.0, 101.0])
def test_a_total_off_the_scale_is_an_error_not_a_verdict(total: float) -> None:
    decision = judged(score(total))
    assert decision.verdict is Verdict.ERROR
    assert decision.score is None
    assert decision.error_code == "scorer_answer"


def test_the_fairness_adjustment_is_stored_beside_the_raw_score() -> None:
    decision = judged(score(90), fairness_bound=1.0)
    assert decision.score is not None
    assert decision.adjustment is not None
    assert decision.raw_score == 90
    assert decision.score == pytest.approx(90 + decision.adjustment)
    assert 0 < abs(decision.adjustment) <= 1


_SCORES = st.builds(
    score, st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True), marks=st.booleans()
)
_DUPLICATES = st.none() | st.builds(copy, st.sampled_from(["exact", "near"]), st.floats(0, 1))


@given(
    outcome=_SCORES | st.builds(HyvveError, st.text()),
    duplicate=_DUPLICATES,
    content_hash=st.none() | st.text(),
    required=st.floats(0, 100),
    bound=st.floats(0, 5),
)
def test_any_outcome_gives_a_verdict_and_a_reason(
    outcome: Score | HyvveError, duplicate: Duplicate | None, content_hash: str | None, required: float, bound: float
) -> None:
    brief = Brief(title="", description="", data_requirements=(), quality_criteria=(), required_score=required)
    settings = SETTINGS.model_copy(update={"fairness_bound": bound})
    decision = decide(brief, outcome, content_hash=content_hash, duplicate=duplicate, settings=settings)
    assert decision.reasoning
    assert (decision.error_code is not None) == (decision.verdict is Verdict.ERROR)
    if decision.verdict is Verdict.ERROR:
        assert decision.score is None
    if decision.score is not None:
        assert 0 <= decision.score <= 100
        assert decision.raw_score is not None
        assert abs(decision.score - decision.raw_score) <= bound + 1e-9
    if decision.verdict is Verdict.ACCEPT:
        assert decision.score is not None
        assert decision.score >= required
        assert duplicate is None
