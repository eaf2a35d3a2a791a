"""Scores kept in Redis, so that the same content is not paid for twice. Losing it costs calls, never a judgement."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence

import orjson

from actors.verification.models import Criterion, Mark, Score
from storage.cache import Cache
from storage.errors import CacheUnavailableError

log = logging.getLogger(__name__)

# A change of the format below makes old entries misses.
_FORMAT = 1


def key(
    content_hash: str, wallet: str, brief_digest: str, scorer_name: str, scorer_version: str, *, media_type: str
) -> str:
    """The cache key of one judgement: another wallet, brief or scorer version is another judgement.

    So is another `media_type`, as what the content was read: the same bytes show otherwise as a text than as a table.
    """
    parts = f"{content_hash}\x1f{media_type}\x1f{wallet}\x1f{brief_digest}\x1f{scorer_name}\x1f{scorer_version}"
    return f"hyvve:score:{_FORMAT}:{hashlib.sha256(parts.encode('utf-8', 'surrogatepass')).hexdigest()}"


class ScoreCache:
    """Keeps scores for `ttl_s` seconds.

    While Redis does not answer every look-up is a miss and nothing is kept; that is logged once, until it answers
    again. An entry that cannot be read is a miss too.
    """

    def __init__(self, redis_url: str, ttl_s: int) -> None:
        self._cache = Cache(redis_url)
        self._ttl_s = ttl_s
        self._warned = False

    async def get_many(self, keys: Sequence[str]) -> list[Score | None]:
        """The scores of `keys` in order, `None` for a miss. One round trip; never raises."""
        try:
            values = await self._cache.get_many(keys)
        except CacheUnavailableError as error:
            self._warn(error)
            return [None] * len(keys)
        self._warned = False
        return [None if value is None else _load(value) for value in values]

    async def put_many(self, scores: Mapping[str, Score]) -> None:
        """Keep each score under its key. One round trip; never raises."""
        try:
            await self._cache.put_many({name: _dump(score) for name, score in scores.items()}, ttl_s=self._ttl_s)
        except CacheUnavailableError as error:
            self._warn(error)
        else:
            self._warned = False

    async def close(self) -> None:
        await self._cache.close()

    def _warn(self, error: CacheUnavailableError) -> None:
        if not self._warned:
            self._warned = True
            log.warning("scores are not cached until Redis answers: %s", error)


def _dump(score: Score) -> bytes:
    marks = [[mark.criterion.value, mark.value, mark.reason] for mark in score.marks]
    return orjson.dumps(
        [marks, score.total, score.confidence, score.reasoning, score.scorer, score.scorer_version, score.usage]
    )


def _load(value: bytes) -> Score | None:
    try:
        marks, total, confidence, reasoning, scorer, version, usage = orjson.loads(value)
        return Score(
            marks=tuple(Mark(Criterion(name), float(mark), str(reason)) for name, mark, reason in marks),
            total=float(total),
            confidence=float(confidence),
            reasoning=reasoning,
            scorer=scorer,
            scorer_version=version,
            usage=usage,
        )
    except (ValueError, TypeError):
        return None
