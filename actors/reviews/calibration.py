"""What reviewers' decisions say about a campaign's thresholds: a proposal, and what it would change.

The rules, on decisions about scores (a copy, or content that the scorer could not mark, says nothing of a threshold):

- Required score: the one that disagrees with the fewest decisions, taking approval to mean "high enough". Of equal ones
  the nearest to the present. It lies between scores that people decided on. Its interval holds every score whose
  disagreements are within one standard error of the fewest.
- Review margin: the smallest that leaves outside of it decisions of which `AGREEMENT` agree with the proposed score.
- Least confidence: the lowest at which those decisions that were asked for want of it agree so too.

A margin or a confidence that too few decisions speak for stays as it is, and with too few decisions, or with none of
one kind, nothing is proposed. Margins and confidences are only ever lowered: of what the machine decided alone nobody
was asked, so nothing is known of it.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from actors.verification.decide import CERTAIN_NEAR, zone
from actors.verification.models import Thresholds, Verdict

# Decisions, and of each kind, without which nothing is proposed.
LEAST, LEAST_OF_A_KIND = 20, 3
# Decisions without which a margin or a confidence stays.
LEAST_OUTSIDE = 10
# Share of decisions that the machine must agree with to decide alone.
AGREEMENT = 0.95


@dataclass(frozen=True, slots=True)
class Judged:
    """A result of the machine, and what people decided on it: whether they approved, or `None`.

    `similarity` is to an earlier contribution that it is near to.
    """

    verdict: str
    score: float | None
    confidence: float | None
    marked: bool = True
    similarity: float | None = None
    approved: bool | None = None

    @property
    def by_score(self) -> bool:
        """Whether thresholds alone decide on it."""
        scored = self.score is not None and self.confidence is not None and self.marked
        return scored and self.similarity is None and self.verdict != Verdict.ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """`proposed` is `None` where nothing is, and `reason` says why; else what speaks for it.

    `interval` is of the required score. `disagreements` are decisions that the required score alone contradicts, at
    present and as proposed. `changes` counts results without a decision by (verdict now, verdict then); `alone` are the
    REVIEWs among them that would be decided without a person, `asked` the verdicts that would be left to one. Of past
    decisions the machine would have made `past_alone` by itself, and `past_agreed` of those as people did.
    """

    present: Thresholds
    proposed: Thresholds | None
    reason: str
    decisions: int
    approved: int
    interval: tuple[float, float] | None = None
    disagreements: tuple[int, int] | None = None
    changes: tuple[tuple[str, str, int], ...] = ()
    alone: int = 0
    asked: int = 0
    past_alone: int = 0
    past_agreed: int = 0

    def document(self) -> dict[str, Any]:
        """As it is shown and kept."""
        return {
            "present": _limits(self.present),
            "proposed": None if self.proposed is None else _limits(self.proposed),
            "reason": self.reason,
            "decisions": self.decisions,
            "approved": self.approved,
            "interval": None if self.interval is None else list(self.interval),
            "disagreements": None
            if self.disagreements is None
            else {"present": self.disagreements[0], "proposed": self.disagreements[1]},
            "effect": {
                "changes": [{"now": now, "then": then, "count": count} for now, then, count in self.changes],
                "decided_alone": self.alone,
                "left_to_people": self.asked,
                "past_decided_alone": self.past_alone,
                "past_agreed": self.past_agreed,
            },
        }

    @property
    def digest(self) -> str:
        """Of all that is shown: whoever applies it names what they saw."""
        return hashlib.sha256(orjson.dumps(self.document(), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _limits(limits: Thresholds) -> dict[str, float]:
    return {
        "required_score": limits.required_score,
        "review_margin": limits.review_margin,
        "min_confidence": limits.min_confidence,
    }


def calibrated(present: Thresholds, results: Iterable[Judged]) -> Calibration:
    """The proposal that follows from these results, which are a campaign's: the newest of each contribution, and those
    that people decided on. The same for the same results in any order.
    """
    known = list(results)
    decided = [each for each in known if each.approved is not None and each.by_score]
    approved = sum(each.approved is True for each in decided)

    def none(reason: str) -> Calibration:
        return Calibration(present=present, proposed=None, reason=reason, decisions=len(decided), approved=approved)

    if len(decided) < LEAST:
        return none(f"{len(decided)} decisions on scores are too few: at least {LEAST} are needed")
    fewer = min(approved, len(decided) - approved)
    if fewer < LEAST_OF_A_KIND:
        return none(
            f"of {len(decided)} decisions {approved} approve: at least {LEAST_OF_A_KIND} approvals and as many "
            "rejections are needed"
        )
    required, interval, fewest = _required(decided, present.required_score)
    margin = _margin(decided, required, present)
    confidence = _confidence(decided, required, margin, present)
    proposed = Thresholds(required_score=required, review_margin=margin, min_confidence=confidence)
    if proposed == present:
        return none("the present thresholds are those that the decisions speak for")
    return _with_effect(present, proposed, known, decided, interval=interval, fewest=fewest, approved=approved)


def _score(each: Judged) -> float:
    assert each.score is not None
    return each.score


def _disagreements(decided: Sequence[Judged], required: float) -> int:
    return sum((_score(each) >= required) is not each.approved for each in decided)


def _required(decided: Sequence[Judged], present: float) -> tuple[float, tuple[float, float], int]:
    """`(required score, its interval, disagreements)`."""
    in_order = sorted(decided, key=_score)
    scores = [_score(each) for each in in_order]
    # Between two scores any threshold does the same: a round one, and the present one where it stands there.
    candidates = {_between(low, high) for low, high in itertools.pairwise(sorted(set(scores)))}
    candidates |= {_floor(scores[0]), present} if scores[0] <= present <= scores[-1] else {_floor(scores[0])}
    approved = [0, *itertools.accumulate(each.approved is True for each in in_order)]
    # Approvals below it, and rejections from it on.
    counted = {
        each: approved[(below := bisect.bisect_left(scores, each))]
        + (len(scores) - below)
        - (approved[-1] - approved[below])
        for each in candidates
    }
    fewest = min(counted.values())
    best = min((each for each in counted if counted[each] == fewest), key=lambda each: (abs(each - present), each))
    # Of a share that is estimated with one more of each, so that no disagreement at all is not taken for certainty.
    count = len(decided)
    share = (fewest + 1) / (count + 2)
    near = [each for each in counted if counted[each] <= fewest + math.sqrt(count * share * (1 - share))]
    return best, (min(near), max(near)), fewest


def _between(low: float, high: float) -> float:
    """A threshold above `low` and not above `high`, with as few digits as lie between them."""
    for digits in range(3):
        step = 10.0**-digits
        found = round(math.floor((low + high) / 2 / step + 0.5) * step, digits)
        if low < found <= high:
            return found
    return high


def _floor(score: float) -> float:
    """A threshold that the score reaches."""
    return math.floor(score * 10) / 10


def _margin(decided: Sequence[Judged], required: float, present: Thresholds) -> float:
    """The smallest margin that the decisions allow, in half points."""
    sure = [each for each in decided if zone(present, _score(each), each.confidence or 0.0) != "unsure"]
    steps = math.ceil(present.review_margin * 2)
    for half_points in range(steps):
        outside = [each for each in sure if abs(_score(each) - required) >= half_points / 2]
        if len(outside) < LEAST_OUTSIDE:
            break
        if _agreed(outside, required) >= AGREEMENT:
            return half_points / 2
    return present.review_margin


def _confidence(decided: Sequence[Judged], required: float, margin: float, present: Thresholds) -> float:
    """The lowest confidence that the decisions allow, in hundredths."""
    unsure = [
        each
        for each in decided
        if 0 < (each.confidence or 0.0) < present.min_confidence and abs(_score(each) - required) >= margin
    ]
    for confidence in sorted({math.floor((each.confidence or 0.0) * 100) / 100 for each in unsure}):
        at_least = [each for each in unsure if (each.confidence or 0.0) >= confidence]
        if len(at_least) < LEAST_OUTSIDE:
            break
        if confidence > 0 and _agreed(at_least, required) >= AGREEMENT:
            return confidence
    return present.min_confidence


def _agreed(decided: Sequence[Judged], required: float) -> float:
    return 1 - _disagreements(decided, required) / len(decided)


def verdict_under(limits: Thresholds, each: Judged) -> str:
    """What verification would say of the result by these thresholds."""
    if each.score is None or each.confidence is None or each.verdict == Verdict.ERROR:
        return each.verdict
    if not each.marked and each.confidence == 0:
        return Verdict.REVIEW.value
    found = {"above": Verdict.ACCEPT, "below": Verdict.REJECT}.get(zone(limits, each.score, each.confidence))
    verdict = found or Verdict.REVIEW
    if each.similarity is None or verdict is Verdict.REJECT:
        return verdict.value
    return (Verdict.REJECT if each.similarity >= CERTAIN_NEAR else Verdict.REVIEW).value


def _with_effect(
    present: Thresholds,
    proposed: Thresholds,
    known: Sequence[Judged],
    decided: Sequence[Judged],
    *,
    interval: tuple[float, float],
    fewest: int,
    approved: int,
) -> Calibration:
    changes: Counter[tuple[str, str]] = Counter()
    asked = 0
    for each in known:
        if each.approved is not None:
            continue
        then = verdict_under(proposed, each)
        asked += then == Verdict.REVIEW
        if then != each.verdict:
            changes[each.verdict, then] += 1
    past = [(each, verdict_under(proposed, each)) for each in decided]
    alone = [(each, verdict) for each, verdict in past if verdict != Verdict.REVIEW]
    return Calibration(
        present=present,
        proposed=proposed,
        reason=f"{len(decided)} decisions on scores, {approved} of them approvals",
        decisions=len(decided),
        approved=approved,
        interval=interval,
        disagreements=(_disagreements(decided, present.required_score), fewest),
        changes=tuple((now, then, count) for (now, then), count in sorted(changes.items())),
        alone=sum(count for (now, then), count in changes.items() if now == Verdict.REVIEW),
        asked=asked,
        past_alone=len(alone),
        past_agreed=sum((verdict == Verdict.ACCEPT) is each.approved for each, verdict in alone),
    )
