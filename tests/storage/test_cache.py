"""The Redis client: what it keeps, for how long, and what is said when Redis is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
import redis

from storage.cache import Cache
from storage.errors import CacheUnavailableError


async def test_values_come_back_in_order_and_die_in_time(redis_url: str) -> None:
    cache = Cache(redis_url)
    await cache.put_many({"a": b"1", "b": b"2"}, ttl_s=60)
    await cache.put_many({"short": b"3"}, ttl_s=0.2)
    await cache.put_many({}, ttl_s=1)
    assert await cache.get_many(["b", "none", "a"]) == [b"2", None, b"1"]
    await asyncio.sleep(0.3)
    assert await cache.get_many(["a", "short"]) == [b"1", None]
    await cache.close()


async def test_a_longer_life_is_never_cut_short(redis_url: str) -> None:
    cache = Cache(redis_url)
    await cache.put_longest("pause", 50)
    await cache.put_longest("pause", 5)
    with redis.Redis.from_url(redis_url) as client:
        assert client.ttl("pause") > 40
        await cache.put_longest("pause", 90)
        assert client.ttl("pause") > 80
    await cache.close()


async def test_a_script_runs_again_after_redis_forgot_it(redis_url: str) -> None:
    cache = Cache(redis_url)
    assert await cache.script("return ARGV[1] + 1", [], [41]) == 42
    with redis.Redis.from_url(redis_url) as client:
        client.script_flush()
    assert await cache.script("return ARGV[1] + 1", [], [1]) == 2
    await cache.close()


@pytest.mark.parametrize(
    "ask",
    [
        lambda cache: cache.ping(),
        lambda cache: cache.get_many(["a"]),
        lambda cache: cache.put_many({"a": b""}, ttl_s=1),
        lambda cache: cache.script("return 1", [], []),
    ],
)
async def test_a_redis_that_is_gone_is_one_named_error_and_soon(ask: Callable[[Cache], Awaitable[object]]) -> None:
    cache = Cache("redis://127.0.0.1:1/0")
    began = time.monotonic()
    with pytest.raises(CacheUnavailableError, match=r"Redis does not answer.*check REDIS_URL"):
        await ask(cache)
    assert time.monotonic() - began < 20
    await cache.close()
