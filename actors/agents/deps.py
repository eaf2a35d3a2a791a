"""What AthenaV2 works with. Each dependency is the very function that the fan-out runs, so both judge alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

from actors.errors import UnexpectedItemError
from actors.settings import ReadLimits, VerificationSettings
from actors.verification.decide import decide
from actors.verification.models import Brief, Content, Decision, Duplicate, Score
from actors.verification.read import Extract, read
from actors.verification.scorers.base import Scorer
from storage.errors import HyvveError


class Read(Protocol):
    async def __call__(
        self,
        data: bytes,
        limits: ReadLimits,
        *,
        file_name: str | None = None,
        declared_type: str | None = None,
        extract: Extract = "full",
    ) -> Content: ...


class Decide(Protocol):
    def __call__(
        self,
        brief: Brief,
        outcome: Score | HyvveError,
        *,
        content_hash: str | None,
        duplicate: Duplicate | None,
        settings: VerificationSettings,
    ) -> Decision: ...


# Brief, content and contributor; the contributor is part of the score cache's key.
ScoreOne = Callable[[Brief, Content, str], Awaitable[Score | HyvveError]]
FindDuplicate = Callable[[Content], Awaitable[Duplicate | None]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AthenaDeps:
    """`find_duplicate` looks for the earlier contribution that a content repeats; `None` where there is no campaign."""

    settings: VerificationSettings
    score: ScoreOne
    read: Read = read
    decide: Decide = decide
    find_duplicate: FindDuplicate | None = None

    @classmethod
    def of(cls, settings: VerificationSettings, scorer: Scorer, *, find_duplicate: FindDuplicate | None = None) -> Self:
        """With this scorer, uncached."""
        return cls(settings=settings, score=partial(_score_by, scorer), find_duplicate=find_duplicate)


async def _score_by(scorer: Scorer, brief: Brief, content: Content, contributor: str) -> Score | HyvveError:  # noqa: ARG001 - `ScoreOne`; a score is about the content, not about who sent it
    outcomes = await scorer.score_many(brief, [content])
    if len(outcomes) != 1:
        return UnexpectedItemError(f"{scorer.name} gave {len(outcomes)} answers to one content")
    return outcomes[0]
