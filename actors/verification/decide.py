"""Deciding: what a score, an error and a known duplicate make of a contribution, in words its creator understands.

The rules, first match wins:

1. Equal content was submitted earlier in the campaign, by anyone: REJECT, naming the original.
2. An error: ERROR, with its code and sentence. Never a score.
3. Near-equal content was submitted earlier: REJECT from `CERTAIN_NEAR` similarity on. Just over the threshold it may
   be honest work on the same subject: REVIEW, for a person who sees both side by side can tell; unless the score
   alone rejects it.
4. The scorer could not mark it, is not sure at all, or is less sure than `min_confidence`: REVIEW.
5. The adjusted score lies within `review_margin` of the required score: REVIEW.
6. ACCEPT at or above the required score, REJECT below.

The required score, `review_margin` and `min_confidence` are the campaign's calibrated ones where it has them.

An equal duplicate comes before the error because it needs no scorer to be judged; a near one after it, because a
verdict must not hang on what could not be read.
"""

from __future__ import annotations

import math
from typing import Literal

from actors.settings import VerificationSettings
from actors.verification.fairness import apply_fairness_adjustment
from actors.verification.models import Brief, Decision, Duplicate, Score, Thresholds, Verdict
from storage.errors import HyvveError

# Similarity from which a near duplicate is a copy beyond doubt: of twenty words at most one differs.
CERTAIN_NEAR = 0.95
# The scorer's own code for an answer that is no score.
_BAD_SCORE = "scorer_answer"


def decide(
    brief: Brief,
    outcome: Score | HyvveError,
    *,
    content_hash: str | None,
    duplicate: Duplicate | None,
    settings: VerificationSettings,
) -> Decision:
    """The verdict and its reasons. Total: any outcome gives a decision, never an exception."""
    if duplicate is not None and duplicate.kind == "exact":
        return _equal(duplicate, outcome, content_hash, settings)
    if isinstance(outcome, HyvveError):
        return Decision(
            verdict=Verdict.ERROR,
            reasoning=f"Could not be judged: {_sentence(outcome.message)} This is no score; it can be verified again.",
            error_code=outcome.code,
        )
    if not _is_score(outcome):
        return Decision(
            verdict=Verdict.ERROR,
            reasoning=f"Could not be judged: {outcome.scorer} gave the total {outcome.total} with the confidence "
            f"{outcome.confidence}, which is no score. It can be verified again.",
            error_code=_BAD_SCORE,
        )
    adjusted, adjustment = _adjust(outcome.total, content_hash, settings)
    verdict, reason = _judge(thresholds_of(brief, settings), outcome, adjusted, duplicate)
    own_words = f" {_sentence(outcome.reasoning)}" if outcome.reasoning.strip() else ""
    unmarked = not outcome.marks and outcome.confidence == 0
    return Decision(
        verdict=verdict,
        reasoning=reason + own_words,
        # A scorer that marked nothing gave no score: 0 would be a guess.
        score=None if unmarked else adjusted,
        raw_score=None if unmarked else outcome.total,
        adjustment=None if unmarked else adjustment,
        confidence=outcome.confidence,
    )


def thresholds_of(brief: Brief, settings: VerificationSettings) -> Thresholds:
    """What decides here: what was calibrated for the campaign, else the brief's score and the settings."""
    return brief.thresholds or Thresholds(
        required_score=brief.required_score,
        review_margin=settings.review_margin,
        min_confidence=settings.min_confidence,
    )


def _judge(limits: Thresholds, score: Score, adjusted: float, duplicate: Duplicate | None) -> tuple[Verdict, str]:
    verdict, reason = _judge_score(limits, score, adjusted)
    if duplicate is None:
        return verdict, reason
    likeness = (
        f"it is {_percent(duplicate.similarity)} like contribution {duplicate.contribution_id} of "
        f"{duplicate.contributor}, which was submitted earlier"
    )
    if duplicate.similarity >= CERTAIN_NEAR:
        return Verdict.REJECT, f"Rejected as a near copy: {likeness}."
    if verdict is Verdict.REJECT:
        return verdict, f"{reason} Besides, {likeness}."
    return Verdict.REVIEW, f"A person must decide whether this is a copy: {likeness}."


Zone = Literal["unsure", "close", "above", "below"]


def zone(limits: Thresholds, adjusted: float, confidence: float) -> Zone:
    """Where a score that was given stands; `above` and `below` decide alone, the others leave it to a person."""
    # A confidence of 0, as a vote that disagrees has: no setting lets that decide.
    if confidence == 0 or confidence < limits.min_confidence:
        return "unsure"
    if abs(adjusted - limits.required_score) < limits.review_margin:
        return "close"
    return "above" if adjusted >= limits.required_score else "below"


def _judge_score(limits: Thresholds, score: Score, adjusted: float) -> tuple[Verdict, str]:
    required = limits.required_score
    if not score.marks and score.confidence == 0:
        return Verdict.REVIEW, f"A person must decide: {score.scorer} cannot judge this kind of content."
    match zone(limits, adjusted, score.confidence):
        case "unsure" if score.confidence == 0:
            return Verdict.REVIEW, (
                f"A person must decide: {score.scorer} gave {adjusted:.1f} (required: {required:g}) but is not sure "
                "of it."
            )
        case "unsure":
            return Verdict.REVIEW, (
                f"A person must decide: {score.scorer} gave {adjusted:.1f} (required: {required:g}) but is only "
                f"{_percent(score.confidence)} sure; {_percent(limits.min_confidence)} is needed to decide alone."
            )
        case "close":
            return Verdict.REVIEW, (
                f"A person must decide: the score of {adjusted:.1f} is within {limits.review_margin:g} points of the "
                f"required {required:g}, too close to call."
            )
        case "above":
            return Verdict.ACCEPT, f"Accepted: the score of {adjusted:.1f} meets the required {required:g}."
        case "below":
            return Verdict.REJECT, f"Rejected: the score of {adjusted:.1f} is below the required {required:g}."


def _equal(
    duplicate: Duplicate, outcome: Score | HyvveError, content_hash: str | None, settings: VerificationSettings
) -> Decision:
    reasoning = (
        f"Rejected as a copy: its content equals contribution {duplicate.contribution_id} of {duplicate.contributor}, "
        "which was submitted earlier."
    )
    if isinstance(outcome, HyvveError) or not _is_score(outcome) or not outcome.marks:
        return Decision(verdict=Verdict.REJECT, reasoning=reasoning)
    adjusted, adjustment = _adjust(outcome.total, content_hash, settings)
    return Decision(
        verdict=Verdict.REJECT,
        reasoning=reasoning,
        score=adjusted,
        raw_score=outcome.total,
        adjustment=adjustment,
        confidence=outcome.confidence,
    )


def _adjust(total: float, content_hash: str | None, settings: VerificationSettings) -> tuple[float, float]:
    if content_hash is None:
        return total, 0.0
    return apply_fairness_adjustment(total, content_hash, bound=settings.fairness_bound)


def _is_score(score: Score) -> bool:
    return math.isfinite(score.total) and 0 <= score.total <= 100 and 0 <= score.confidence <= 1


def _percent(share: float) -> str:
    # Rounded down: 99.6 % alike is not "100 % like".
    return f"{math.floor(share * 100 + 1e-9)} %"


def _sentence(words: str) -> str:
    words = words.strip()
    if not words:
        return "no reason was given."
    words = words if words[0].isupper() or not words[0].isalpha() else words[0].upper() + words[1:]
    return words if words.endswith((".", "!", "?", "…")) else words + "."
