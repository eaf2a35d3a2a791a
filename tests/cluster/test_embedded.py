"""The embedded services keep what they acknowledged, and come up again after anything short of a broken disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psycopg
import pytest
import redis

from cluster import embedded
from cluster.directory import DataDirectory
from cluster.errors import ClusterError, EmbeddedServiceError
from cluster.processes import wait_gone


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_rows_survive_sigkill_and_a_pid_that_now_belongs_to_another(data_dir: Path) -> None:
    url = embedded.start_postgres(data_dir)
    query(url, "CREATE TABLE t AS SELECT 7 AS n")
    server = embedded.postgres(data_dir)
    process = server.process()
    assert process is not None
    process.kill()
    while server.process() is not None:
        time.sleep(0.01)
    # What a reboot does: the pid on record belongs to a living process that is no PostgreSQL.
    lines = server.pidfile.read_text().splitlines()
    server.pidfile.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert embedded.start_postgres(data_dir) == url
    assert query(url, "SELECT n FROM t") == [(7,)]


def test_redis_keeps_what_it_acknowledged_over_sigkill(data_dir: Path) -> None:
    url = embedded.start_redis(data_dir)
    with redis.Redis.from_url(url) as client:
        client.set("k", "v")
    process = embedded.redis(data_dir).process()
    assert process is not None
    process.kill()
    while embedded.redis(data_dir).process() is not None:
        time.sleep(0.01)
    with redis.Redis.from_url(embedded.start_redis(data_dir)) as client:
        assert client.get("k") == b"v"


def test_starting_twice_joins_and_stopping_ends_the_processes(data_dir: Path) -> None:
    url = embedded.start_postgres(data_dir)
    embedded.start_redis(data_dir)
    postgres, cache = embedded.postgres(data_dir).process(), embedded.redis(data_dir).process()
    assert postgres is not None
    assert cache is not None
    assert embedded.start_postgres(data_dir) == url
    again = embedded.postgres(data_dir).process()
    assert again is not None
    assert again.pid == postgres.pid
    embedded.stop_redis(data_dir)
    embedded.stop_postgres(data_dir)
    assert wait_gone([postgres, cache], 1) == []
    assert not DataDirectory.at(data_dir).runtime.exists()


def test_there_is_room_for_many_workers_pools_and_writes_are_durable(data_dir: Path) -> None:
    url = embedded.start_postgres(data_dir)
    assert query(url, "SHOW max_connections") == [("200",)]
    assert query(url, "SHOW fsync") == [("on",)]
    assert query(url, "SHOW listen_addresses") == [("",)]


def test_a_path_far_longer_than_a_socket_allows_works(data_dir: Path) -> None:
    deep = data_dir / ("d" * 100) / ("e" * 100)
    try:
        assert query(embedded.start_postgres(deep), "SELECT 1") == [(1,)]
        embedded.start_redis(deep)
    finally:
        embedded.stop_redis(deep)
        embedded.stop_postgres(deep)


def test_two_projects_run_side_by_side(data_dir: Path) -> None:
    one, two = data_dir / "one", data_dir / "two"
    try:
        urls = [embedded.start_postgres(each) for each in (one, two)]
        caches = [embedded.start_redis(each) for each in (one, two)]
        query(urls[0], "CREATE TABLE only_in_one (n int)")
        assert query(urls[1], "SELECT to_regclass('only_in_one')") == [(None,)]
        with redis.Redis.from_url(caches[0]) as first, redis.Redis.from_url(caches[1]) as second:
            first.set("k", "1")
            assert second.get("k") is None
        embedded.stop_postgres(one)
        assert query(urls[1], "SELECT 1") == [(1,)]
    finally:
        for each in (one, two):
            embedded.stop_redis(each)
            embedded.stop_postgres(each)


def test_files_of_another_postgresql_version_are_left_alone(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServiceError, match=r"written by PostgreSQL 16 .* brings 18"):
        embedded.start_postgres(data_dir)
    assert (data_dir / "postgres" / "PG_VERSION").read_text() == "16\n"


def test_files_that_are_no_database_are_left_alone(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "letter.txt").write_text("dear")
    with pytest.raises(EmbeddedServiceError, match="no PostgreSQL database"):
        embedded.start_postgres(data_dir)
    assert (data_dir / "postgres" / "letter.txt").read_text() == "dear"


def test_a_first_start_that_was_killed_half_way_is_begun_anew(data_dir: Path) -> None:
    half = data_dir / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert query(embedded.start_postgres(data_dir), "SELECT 1") == [(1,)]


def test_a_broken_database_says_why_and_where_its_log_is(data_dir: Path) -> None:
    embedded.start_postgres(data_dir)
    embedded.stop_postgres(data_dir)
    (data_dir / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedServiceError, match=r"postgres\.log") as caught:
        embedded.start_postgres(data_dir)
    assert "control" in caught.value.message


def test_a_broken_redis_file_says_where_its_log_is(data_dir: Path) -> None:
    with redis.Redis.from_url(embedded.start_redis(data_dir)) as client:
        client.set("k", "v")
    embedded.stop_redis(data_dir)
    (data_dir / "redis" / "appendonly.aof").write_bytes(b"this is no append-only file\r\n" * 4)
    with pytest.raises(EmbeddedServiceError, match=r"redis\.log"):
        embedded.start_redis(data_dir)


def test_a_data_directory_that_cannot_be_made_is_named(data_dir: Path) -> None:
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    data_dir.write_text("a file stands in the way")
    with pytest.raises(ClusterError, match="HYVVE_DATA_DIR"):
        embedded.start_redis(data_dir)
    data_dir.unlink()
