"""A real PostgreSQL 18 and a real Redis, from wheels, in the data directory. Unix sockets only: no ports.

They outlive the process that started them, so a launcher that is killed loses nothing: the next start joins them, or
cleans up after a power loss and recovers.
"""

from __future__ import annotations

from pathlib import Path

from cluster.directory import DataDirectory
from cluster.embedded_postgres import EmbeddedPostgres
from cluster.embedded_redis import EmbeddedRedis


def postgres(data_dir: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(DataDirectory.at(data_dir))


def redis(data_dir: Path) -> EmbeddedRedis:
    return EmbeddedRedis(DataDirectory.at(data_dir))


def start_postgres(data_dir: Path) -> str:
    """Start (or join) the PostgreSQL of this data directory; answers its URL. Stop it with `stop_postgres`."""
    return postgres(data_dir).start()


def stop_postgres(data_dir: Path) -> None:
    """Stop the PostgreSQL of this data directory, if it runs."""
    postgres(data_dir).stop()


def start_redis(data_dir: Path) -> str:
    """Start (or join) the Redis of this data directory; answers its URL. Stop it with `stop_redis`."""
    return redis(data_dir).start()


def stop_redis(data_dir: Path) -> None:
    """Stop the Redis of this data directory, if it runs."""
    redis(data_dir).stop()
