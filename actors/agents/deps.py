"""What AthenaV2 and the agents' tools work with. What judges is the very function that the fan-out runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Self

from actors.agents.search.base import Search
from actors.errors import UnexpectedItemError
from actors.settings import ReadLimits, ToolSettings, VerificationSettings
from actors.verification.decide import decide
from actors.verification.models import Brief, Content, Decision, Duplicate, Score
from actors.verification.pipeline import score_one
from actors.verification.read import Extract, read
from actors.verification.scorers.base import Scorer
from actors.verification.workplace import Workplace
from storage.blobs.base import BlobStore
from storage.engine import Database
from storage.errors import HyvveError
from storage.fetch import ContentFetcher


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToolContext:
    """What a tool call is given: for whom it acts, and what it may act on.

    `wallet` is whose rights the call has; `None` is nobody in particular, who sees what everybody sees and changes
    nothing. `scratchpad` is the workflow's as it stands, for reading. `idempotency_key` names this very call across
    restarts: a tool that writes does so once per key.
    """

    wallet: str | None
    verification: AthenaDeps
    database: Database
    store: BlobStore
    fetcher: ContentFetcher
    search: Search
    limits: ToolSettings
    scratchpad: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None

    @classmethod
    def at(
        cls,
        workplace: Workplace,
        *,
        wallet: str | None,
        search: Search,
        limits: ToolSettings,
        scratchpad: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Self:
        """With what this process has open. Scores go through the score cache, as they do in a batch."""

        async def score(brief: Brief, content: Content, contributor: str) -> Score | HyvveError:
            return await score_one(workplace, brief, content, contributor)

        return cls(
            wallet=wallet,
            verification=AthenaDeps(settings=workplace.settings, score=score),
            database=workplace.database,
            store=workplace.store,
            fetcher=workplace.fetcher,
            search=search,
            limits=limits,
            scratchpad=scratchpad or {},
            idempotency_key=idempotency_key,
        )


async def _score_by(scorer: Scorer, brief: Brief, content: Content, contributor: str) -> Score | HyvveError:  # noqa: ARG001 - `ScoreOne`; a score is about the content, not about who sent it
    outcomes = await scorer.score_many(brief, [content])
    if len(outcomes) != 1:
        return UnexpectedItemError(f"{scorer.name} gave {len(outcomes)} answers to one content")
    return outcomes[0]
