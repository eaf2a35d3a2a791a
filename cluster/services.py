"""PostgreSQL, Redis and the schema: started where embedded, checked where given."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from sqlalchemy import make_url

from cluster.embedded_postgres import EmbeddedPostgres
from cluster.embedded_redis import EmbeddedRedis
from cluster.errors import ClusterError
from cluster.settings import Settings
from storage.errors import DatabaseUnavailableError
from storage.migrations import schema

# 13 and older are no longer maintained, and nothing of ours is tested on them.
OLDEST_POSTGRES = 14
OLDEST_REDIS = 6
_CONNECT_TIMEOUT_S = 5


def start(settings: Settings, *, migrate: bool, tell: Callable[[str, str], None] = lambda _step, _what: None) -> None:
    """PostgreSQL, with the schema this version needs, and Redis answer. `tell(step, what)` hears how far it is.

    An embedded database is always migrated; a given one only with `migrate`, because others may be using it. Raises
    `DatabaseUnavailableError`, `MigrationError` or `ClusterError`.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="redis") as pool:
        redis = pool.submit(_start_redis, settings, tell)
        _start_postgres(settings, tell)
        tell("Schema", "checking")
        if migrate or settings.cluster.embedded_postgres:
            schema.upgrade(settings.storage.database_url)
        else:
            schema.check(settings.storage.database_url)
        tell("Schema", f"at revision {schema.head()}")
        redis.result()


def stop(settings: Settings) -> None:
    """Stop what is embedded; what was given is left alone."""
    if settings.cluster.embedded_redis:
        EmbeddedRedis(settings.directory).stop()
    if settings.cluster.embedded_postgres:
        EmbeddedPostgres(settings.directory).stop()


def revive(settings: Settings) -> list[str]:
    """Start again what is embedded and has died; answers its names."""
    revived = []
    postgres, redis = EmbeddedPostgres(settings.directory), EmbeddedRedis(settings.directory)
    if settings.cluster.embedded_postgres and postgres.process() is None:
        postgres.start()
        revived.append("PostgreSQL")
    if settings.cluster.embedded_redis and redis.process() is None:
        redis.start()
        revived.append("Redis")
    return revived


def _start_postgres(settings: Settings, tell: Callable[[str, str], None]) -> None:
    if settings.cluster.embedded_postgres:
        tell("PostgreSQL", "starting")
        EmbeddedPostgres(settings.directory).start()
        tell("PostgreSQL", f"embedded, {settings.directory.postgres}")
        return
    tell("PostgreSQL", "connecting")
    url = make_url(settings.storage.database_url)
    where = f"{url.host or url.query.get('host', 'the local socket')}, database {url.database}"
    try:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, connect_timeout=_CONNECT_TIMEOUT_S) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise DatabaseUnavailableError(
            f"PostgreSQL at {where} is not reachable ({reason}); check SQLALCHEMY_DATABASE_URL and that the server "
            "runs, or unset it to use the embedded one",
            subject="SQLALCHEMY_DATABASE_URL",
        ) from error
    if version < OLDEST_POSTGRES:
        raise ClusterError(
            f"PostgreSQL at {where} is version {version}; Hyvve needs {OLDEST_POSTGRES} or newer: upgrade it, or unset "
            "SQLALCHEMY_DATABASE_URL to use the embedded one",
            subject="SQLALCHEMY_DATABASE_URL", found=version, needed=OLDEST_POSTGRES,
        )  # fmt: skip
    tell("PostgreSQL", f"{version} at {where}")


def _start_redis(settings: Settings, tell: Callable[[str, str], None]) -> None:
    if settings.cluster.embedded_redis:
        tell("Redis", "starting")
        EmbeddedRedis(settings.directory).start()
        tell("Redis", f"embedded, {settings.directory.redis}")
        return
    tell("Redis", "connecting")
    try:
        # Protocol 2, for a server that is too old for 3 is to say which version it is.
        with Redis.from_url(
            settings.storage.redis_url, protocol=2,
            socket_connect_timeout=_CONNECT_TIMEOUT_S, socket_timeout=_CONNECT_TIMEOUT_S,
        ) as client:  # fmt: skip
            version = str(client.info("server")["redis_version"])
    except AuthenticationError as error:
        raise ClusterError(
            "Redis refuses the password or user in REDIS_URL; correct it", subject="REDIS_URL"
        ) from error
    except (RedisError, OSError, ValueError) as error:
        raise ClusterError(
            f"Redis is not reachable ({error}); check REDIS_URL and that the server runs, or unset it to use the "
            "embedded one",
            subject="REDIS_URL",
        ) from error
    if int(version.partition(".")[0]) < OLDEST_REDIS:
        raise ClusterError(
            f"Redis at REDIS_URL is version {version}; Hyvve needs {OLDEST_REDIS} or newer: upgrade it, or unset "
            "REDIS_URL to use the embedded one",
            subject="REDIS_URL", found=version, needed=OLDEST_REDIS,
        )  # fmt: skip
    tell("Redis", f"{version} at REDIS_URL")
