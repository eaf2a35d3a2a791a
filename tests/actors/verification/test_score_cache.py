"""The score cache saves calls and never costs a judgement."""

from __future__ import annotations

import logging

import pytest
import redis

from actors.verification import score_cache
from actors.verification.models import Criterion, Mark, Score
from actors.verification.score_cache import ScoreCache

SCORE = Score(
    marks=(Mark(Criterion.ACCURACY, 81.5, "weights are right – ½"), Mark(Criterion.LANGUAGE, 0.0, "none")),
    total=71.25,
    confidence=0.9,
    reasoning="Good.",
    scorer="openai",
    scorer_version="m/1",
    usage={"calls": 1, "prompt_tokens": 9},
)
PARTS = ("hash", "0xwallet", "brief", "openai", "m/1", "text/plain")


def key(*parts: str) -> str:
    *rest, media_type = parts
    return score_cache.key(*rest, media_type=media_type)


async def test_a_score_comes_back_as_it_was_kept_and_others_are_misses(redis_url: str) -> None:
    cache = ScoreCache(redis_url, 60)
    await cache.put_many({key(*PARTS): SCORE})
    assert await cache.get_many(["no", key(*PARTS)]) == [None, SCORE]
    assert await cache.get_many([]) == []
    await cache.close()


@pytest.mark.parametrize("at", range(len(PARTS)))
def test_every_part_of_the_key_tells_judgements_apart(at: int) -> None:
    other = [*PARTS]
    other[at] += "x"
    assert key(*other) != key(*PARTS)


def test_a_part_cannot_run_into_the_next() -> None:
    assert key("a", "bc", "d", "e", "f", "g") != key("ab", "c", "d", "e", "f", "g")


async def test_a_score_is_forgotten_after_its_time(redis_url: str) -> None:
    cache = ScoreCache(redis_url, 60)
    await cache.put_many({key(*PARTS): SCORE})
    with redis.Redis.from_url(redis_url) as client:
        assert 50 < client.ttl(key(*PARTS)) <= 60
    await cache.close()


async def test_an_entry_that_cannot_be_read_is_a_miss(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("a", b"\xff")
        client.set("b", b'[[["kindness", 1, "r"]], 1, 1, "", "", "", {}]')
        client.set("c", b"[1]")
    cache = ScoreCache(redis_url, 60)
    assert await cache.get_many(["a", "b", "c"]) == [None] * 3
    await cache.close()


async def test_without_redis_all_are_misses_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    cache = ScoreCache("redis://127.0.0.1:1/0", 60)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await cache.get_many(["a", "b"]) == [None, None]
            await cache.put_many({"a": SCORE})
    await cache.close()
    [record] = [record for record in caplog.records if "cached" in record.getMessage()]
    assert "REDIS_URL" in record.getMessage()
