"""Several scorers judge together; where they disagree too much, a person decides."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from statistics import median

from actors.errors import ActorsError, ScorerError, ScorerUnavailableError
from actors.verification.models import Brief, Content, Criterion, Mark, Score
from actors.verification.scorers.base import Scorer
from storage.errors import HyvveError


class VoteScorer:
    """The median of its members' totals and marks, with what each of them said.

    Confidence is the members' median, or 0 where the totals lie more than `max_disagreement` points apart, where as
    many failed as judged, or where fewer than half of all could judge: then a person decides. A failed member is named
    in the reasoning, and such a score is `partial`; where all fail it is an error, one that is worth another try if any
    member's was.
    """

    name = "vote"

    def __init__(self, members: Sequence[Scorer], *, max_disagreement: float) -> None:
        if len(members) < 2:
            raise ActorsError("a vote needs at least two members: set the scorer's members", subject=self.name)
        self._members = tuple(members)
        self._max_disagreement = max_disagreement
        told = "|".join([*(f"{member.name}:{member.version}" for member in members), f"{max_disagreement:g}"])
        self.version = f"{len(members)}/{hashlib.sha256(told.encode()).hexdigest()[:10]}"

    async def score_many(self, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:
        """One entry per content, in order; the members judge at the same time."""
        columns = await asyncio.gather(*(_safely(member, brief, contents) for member in self._members))
        return [self._count(outcomes) for outcomes in zip(*columns, strict=True)]

    async def close(self) -> None:
        await asyncio.gather(*(member.close() for member in self._members))

    def _count(self, outcomes: Sequence[Score | HyvveError]) -> Score | HyvveError:
        named = list(zip((member.name for member in self._members), outcomes, strict=True))
        # A member that had no marks to give (an image, text only) abstains.
        scores = [outcome for outcome in outcomes if isinstance(outcome, Score) and outcome.marks]
        failed = [f"{name} failed ({error.code}): {error}" for name, error in named if isinstance(error, HyvveError)]
        abstained = [outcome for outcome in outcomes if isinstance(outcome, Score) and not outcome.marks]
        if not scores and not abstained:
            return self._all_failed(named, failed)
        totals = sorted(score.total for score in scores)
        said = [f"{score.scorer} {score.total:g}: {score.reasoning}" for score in (*scores, *abstained)] + failed
        confidence = median(score.confidence for score in scores) if scores else 0.0
        if scores and (spread := totals[-1] - totals[0]) > self._max_disagreement:
            confidence = 0.0
            said.insert(0, f"The scorers disagree by {spread:g} points ({totals[0]:g} to {totals[-1]:g}).")
        elif len(scores) <= len(failed) or len(scores) * 2 < len(outcomes):
            confidence = 0.0
            said.insert(0, f"Only {len(scores)} of {len(outcomes)} scorers could judge.")
        return Score(
            marks=_median_marks(scores),
            total=round(median(totals), 2) if totals else 0.0,
            confidence=confidence,
            reasoning=" ".join(said),
            scorer=self.name,
            scorer_version=self.version,
            usage=_sum([*scores, *abstained]),
            partial=bool(failed),
        )

    def _all_failed(self, named: Sequence[tuple[str, Score | HyvveError]], failed: Sequence[str]) -> ScorerError:
        errors = [error for _, error in named if isinstance(error, HyvveError)]
        # Unavailable is what may pass, so it decides the class.
        kinds = [type(error) for error in errors if isinstance(error, ScorerError)]
        passing = [kind for kind in kinds if issubclass(kind, ScorerUnavailableError)]
        kind = ScorerUnavailableError if passing else kinds[0] if kinds and len(set(kinds)) == 1 else ScorerError
        return kind("every scorer of the vote failed. " + " ".join(failed), subject=self.name)


async def _safely(member: Scorer, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:
    """A member that breaks its promise and raises is one failed vote, not the end of the chunk."""
    try:
        outcomes = await member.score_many(brief, contents)
    except Exception as error:  # noqa: BLE001
        return [ScorerError(f"{type(error).__name__}: {error}", subject=member.name)] * len(contents)
    if len(outcomes) != len(contents):
        wrong = ScorerError(f"answered {len(outcomes)} of {len(contents)} contents", subject=member.name)
        return [wrong] * len(contents)
    return outcomes


def _median_marks(scores: Sequence[Score]) -> tuple[Mark, ...]:
    """Per criterion the median of the values, with the reason of the mark nearest to it."""
    marks = []
    for criterion in Criterion:
        given = [mark for score in scores for mark in score.marks if mark.criterion == criterion]
        if given:
            value = median(mark.value for mark in given)
            nearest = min(given, key=lambda mark: abs(mark.value - value))
            marks.append(Mark(criterion, round(value, 2), nearest.reason))
    return tuple(marks)


def _sum(scores: Sequence[Score]) -> dict[str, int]:
    usage: dict[str, int] = {}
    for score in scores:
        for unit, count in score.usage.items():
            usage[unit] = usage.get(unit, 0) + count
    return usage
