"""Redis, for what may be lost: cached answers and shared limits. Every failure to reach it is one named error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from storage.errors import CacheUnavailableError

# A cache that is slower than this is no help.
_TIMEOUT_S = 2.0


class Cache:
    """A client of the Redis at `url`; connects on first use and belongs to the event loop of that use.

    Every method raises `CacheUnavailableError` while Redis does not answer.
    """

    def __init__(self, url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            # One retry, at once: a connection that the server closed while idle. Waiting is not the cache's to decide.
            retry=Retry(NoBackoff(), 1),
        )
        self._scripts: dict[str, AsyncScript] = {}

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of `keys` in order, `None` where there is none."""
        if not keys:
            return []
        try:
            return cast(list[bytes | None], await self._redis.mget(keys))
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def put_many(self, values: Mapping[str, bytes], *, ttl_s: float) -> None:
        """Keep each value for `ttl_s` seconds."""
        if not values:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, value in values.items():
                    pipeline.set(key, value, px=max(1, round(ttl_s * 1000)))
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def put_longest(self, key: str, ttl_s: float) -> None:
        """Make `key` exist for at least `ttl_s` seconds from now; a longer life it has already is kept."""
        await self.script(_PUT_LONGEST, [key], [max(1, round(ttl_s * 1000))])

    async def script(self, lua: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """The answer of a Lua script, run atomically and sent whole only once."""
        script = self._scripts.get(lua)
        if script is None:
            script = self._scripts[lua] = self._redis.register_script(lua)
        try:
            return await script(keys=list(keys), args=list(arguments))
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def ping(self) -> None:
        """Raises `CacheUnavailableError` unless the server answers."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        await self._redis.aclose()


_PUT_LONGEST = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return 0
"""


def _unavailable(error: Exception) -> CacheUnavailableError:
    return CacheUnavailableError(f"Redis does not answer ({type(error).__name__}: {error}); check REDIS_URL")
