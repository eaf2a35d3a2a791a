"""What a process needs to verify: database, content, scorer and score cache, opened once and used by all its chunks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.models import Brief, Content, Score
from actors.verification.score_cache import ScoreCache
from actors.verification.scorers.base import Scorer
from actors.verification.scorers.registry import open_scorer
from storage.blobs.open import open_store
from storage.engine import Database
from storage.errors import HyvveError
from storage.fetch import ContentFetcher
from storage.settings import StorageSettings

log = logging.getLogger(__name__)

# A worker runs one chunk at a time and a chunk uses one connection at a time; the agents' graph may use another.
WORKER_POOL = 2

ScorerFactory = Callable[..., Scorer]
"""Called as `open_scorer(settings, redis_url=...)`; pickled by name where it travels to workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """All that a worker must be told to set up its `Workplace`."""

    storage: StorageSettings
    verification: VerificationSettings
    open_scorer: ScorerFactory = open_scorer


class Workplace:
    """Belongs to one event loop. Nothing heavy is opened before it is used: reading alone never loads a model."""

    def __init__(self, setup: Setup, *, pool_size: int = WORKER_POOL) -> None:
        self.setup = setup
        self.settings = setup.verification
        self.database = Database(setup.storage.database_url, pool_size=pool_size)
        self.store = open_store(setup.storage)
        self.fetcher = ContentFetcher(setup.storage, self.store)
        self.score_cache = ScoreCache(setup.storage.redis_url, setup.verification.score_cache_ttl_s)
        self._scorer: Scorer | None = None

    @property
    def scorer(self) -> Scorer:
        """The scorer of the settings; where it cannot be opened, one that gives every content the reason why."""
        if self._scorer is None:
            try:
                self._scorer = self.setup.open_scorer(self.settings.scorer, redis_url=self.setup.storage.redis_url)
            except HyvveError as error:
                # Not kept: a key or an extra may be there on the next chunk.
                log.warning("no scorer: %s", error)
                return UnableScorer(self.settings.scorer, error)
        return self._scorer

    async def close(self) -> None:
        if self._scorer is not None:
            await self._scorer.close()
        await self.score_cache.close()
        await self.fetcher.close()
        await self.store.close()
        await self.database.close()


class UnableScorer:
    """Stands in for a scorer that could not be opened: its reason becomes every content's error, never a score."""

    version = "none"

    def __init__(self, settings: ScorerSettings, error: HyvveError) -> None:
        self.name: str = settings.kind
        self._error = error

    async def score_many(self, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:  # noqa: ARG002
        return [self._error] * len(contents)

    async def close(self) -> None: ...
