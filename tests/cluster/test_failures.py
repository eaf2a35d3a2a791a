"""What a user sees when `hyvve up` cannot start: one sentence that names the fault and the way out, no traceback."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cluster import embedded, processes, services
from cluster.errors import ClusterError
from cluster.ray_cluster import cannot_start
from cluster.settings import Settings
from storage.errors import DatabaseUnavailableError, MigrationError
from storage.migrations import schema
from tests.cluster.conftest import Hyvve


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sentence_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_taken_port_is_named_with_its_holder_and_the_setting(hyvve: Hyvve, taken_port: int, data_dir: Path) -> None:
    sentence = sentence_of(hyvve("up", "--detach", HYVVE_PORT=str(taken_port)))
    assert f"Port {taken_port} is taken by" in sentence
    assert f"(pid {os.getpid()})" in sentence
    assert "HYVVE_PORT" in sentence
    # Nothing was left behind, and the failure is remembered.
    found = hyvve("status", "--json")
    assert found.returncode == 3
    document = json.loads(found.stdout)
    assert document["phase"] == "stopped"
    assert str(taken_port) in document["error"]
    assert hyvve("down").returncode == 0


def test_a_taken_dashboard_port_is_named_with_its_setting(hyvve: Hyvve, taken_port: int, free_port: int) -> None:
    sentence = sentence_of(hyvve("up", HYVVE_PORT=str(free_port), HYVVE_DASHBOARD_PORT=str(taken_port)))
    assert str(taken_port) in sentence
    assert "HYVVE_DASHBOARD_PORT" in sentence


def test_an_unknown_setting_is_told_before_anything_starts(hyvve: Hyvve, data_dir: Path) -> None:
    assert "did you mean HYVVE_PORT?" in sentence_of(hyvve("up", HYVVE_PROT="1"))
    assert not data_dir.exists()


def test_debug_shows_the_traceback(hyvve: Hyvve, taken_port: int) -> None:
    done = hyvve("up", "--debug", HYVVE_PORT=str(taken_port))
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_an_unreachable_database_is_told_without_its_password(hyvve: Hyvve, free_port: int) -> None:
    url = f"postgresql://me:hunter2@127.0.0.1:{free_port}/hyvve"
    sentence = sentence_of(hyvve("up", HYVVE_PORT=str(free_port), SQLALCHEMY_DATABASE_URL=url))
    assert "127.0.0.1" in sentence
    assert "SQLALCHEMY_DATABASE_URL" in sentence
    assert "hunter2" not in sentence


def test_a_ray_that_does_not_answer_is_told(hyvve: Hyvve, free_port: int) -> None:
    sentence = sentence_of(hyvve("up", HYVVE_PORT=str(free_port), RAY_ADDRESS=f"127.0.0.1:{free_port}"))
    assert f"no Ray answers at RAY_ADDRESS=127.0.0.1:{free_port}" in sentence.replace("No Ray", "no Ray")


def test_a_missing_key_of_the_scorer_is_told(hyvve: Hyvve, free_port: int) -> None:
    sentence = sentence_of(hyvve("up", HYVVE_PORT=str(free_port), HYVVE_SCORER="atoma"))
    assert "ATOMASDK_BEARER_AUTH" in sentence


def test_a_data_directory_that_cannot_be_made_is_told(hyvve: Hyvve, data_dir: Path) -> None:
    data_dir.write_text("in the way")
    assert "HYVVE_DATA_DIR" in sentence_of(hyvve("up"))
    data_dir.unlink()


def test_status_and_down_where_nothing_ever_ran(hyvve: Hyvve, data_dir: Path) -> None:
    found = hyvve("status")
    assert found.returncode == 3
    assert "not running" in found.stdout
    done = hyvve("down")
    assert done.returncode == 0
    assert "Nothing was running" in done.stdout
    assert not data_dir.exists()


def given(database_url: str, redis_url: str, data_dir: Path) -> Settings:
    return Settings.from_environment(
        {"SQLALCHEMY_DATABASE_URL": database_url, "REDIS_URL": redis_url, "HYVVE_DATA_DIR": str(data_dir)}
    )


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement.encode())


def test_a_given_database_is_only_migrated_when_told(
    database_url: str, redis_url: str, data_dir: Path, hyvve: Hyvve
) -> None:
    execute(database_url, "DROP SCHEMA public CASCADE")
    execute(database_url, "CREATE SCHEMA public")
    settings = given(database_url, redis_url, data_dir)
    with pytest.raises(MigrationError, match="hyvve migrate"):
        services.start(settings, migrate=False)
    done = hyvve("migrate", SQLALCHEMY_DATABASE_URL=database_url)
    assert done.returncode == 0, done.stderr
    assert schema.head() in done.stdout
    services.start(settings, migrate=False)


def test_a_database_of_a_newer_version_is_refused(database_url: str, redis_url: str, data_dir: Path) -> None:
    execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationError, match="newer"):
        services.start(given(database_url, redis_url, data_dir), migrate=True)


def test_a_database_that_does_not_exist_is_told(database_url: str, redis_url: str, data_dir: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match="does not exist"):
        services.start(given(database_url.replace("/test_", "/absent_"), redis_url, data_dir), migrate=True)


def test_an_unreachable_redis_is_told(database_url: str, free_port: int, data_dir: Path) -> None:
    with pytest.raises(ClusterError, match="REDIS_URL"):
        services.start(given(database_url, f"redis://127.0.0.1:{free_port}", data_dir), migrate=True)


class OldPostgres(socketserver.BaseRequestHandler):
    """Greets as a server of version 13 does (https://www.postgresql.org/docs/13/protocol-flow.html), and no more."""

    def handle(self) -> None:
        def message(kind: bytes, body: bytes) -> bytes:
            return kind + (len(body) + 4).to_bytes(4, "big") + body

        while (size := int.from_bytes(self.request.recv(4), "big")) == 8:  # a wish for encryption
            self.request.recv(4)
            self.request.sendall(b"N")
        self.request.recv(size - 4)
        self.request.sendall(
            message(b"R", bytes(4)) + message(b"S", b"server_version\x0013.4\x00")
            + message(b"S", b"client_encoding\x00UTF8\x00") + message(b"Z", b"I")
        )  # fmt: skip
        self.request.recv(100)


class OldRedis(socketserver.StreamRequestHandler):
    """Agrees to everything but what version 6 brought, and says that it is version 5."""

    def handle(self) -> None:
        while head := self.rfile.readline():
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2).strip() for _ in range(int(head[1:]))]
            info = b"redis_version:5.0.7\r\n"
            known = {b"HELLO": b"-ERR unknown command `HELLO`\r\n", b"INFO": b"$%d\r\n%b\r\n" % (len(info), info)}
            self.wfile.write(known.get(words[0].upper(), b"+OK\r\n"))


@contextlib.contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_postgresql_or_redis_that_is_too_old_is_told_with_the_version_it_takes(
    database_url: str, redis_url: str, data_dir: Path
) -> None:
    with serving(OldPostgres) as port:
        old = f"postgresql://me@127.0.0.1:{port}/hyvve"
        with pytest.raises(ClusterError, match=r"is version 13; Hyvve needs 14 or newer: upgrade it") as caught:
            services.start(given(old, redis_url, data_dir), migrate=True)
        assert "SQLALCHEMY_DATABASE_URL" in str(caught.value)
    with serving(OldRedis) as port, pytest.raises(ClusterError, match=r"version 5\.0\.7; Hyvve needs 6 .*REDIS_URL"):
        services.start(given(database_url, f"redis://127.0.0.1:{port}/0", data_dir), migrate=True)


def test_embedded_services_that_died_are_started_again_and_named(data_dir: Path) -> None:
    settings = Settings.from_environment({"HYVVE_DATA_DIR": str(data_dir)})
    services.start(settings, migrate=False)
    assert services.revive(settings) == []
    servers = [embedded.postgres(data_dir).process(), embedded.redis(data_dir).process()]
    for process in servers:
        assert process is not None
        process.kill()
    assert processes.wait_gone([each for each in servers if each], 20) == []
    assert services.revive(settings) == ["PostgreSQL", "Redis"]
    services.start(settings, migrate=False)


def test_a_ray_that_is_too_slow_to_start_says_to_try_again(tmp_path: Path) -> None:
    slow = Exception("The current node timed out during startup. This could happen because the GCS is overloaded.")
    assert "busy with other work: try again" in str(cannot_start(slow, tmp_path))
    other = str(cannot_start(OSError("no space left on device"), tmp_path))
    assert "no space left on device" in other
    assert f"{tmp_path}/session_latest/logs" in other


def test_a_state_file_of_a_supervisor_long_gone_says_stopped(hyvve: Hyvve, data_dir: Path) -> None:
    data_dir.mkdir(parents=True)
    # A power loss leaves this; the pid is by now somebody else's (ours), who must not be signalled.
    (data_dir / "state.json").write_text(
        json.dumps({"phase": "ready", "pid": os.getpid(), "create_time": 1.0, "started_at": "x", "api_url": "http://x"})
    )
    found = hyvve("status", "--json")
    assert json.loads(found.stdout)["phase"] == "stopped"
    assert hyvve("down").returncode == 0


def test_a_damaged_state_file_stops_nobody(hyvve: Hyvve, data_dir: Path) -> None:
    data_dir.mkdir(parents=True)
    (data_dir / "state.json").write_text('{"phase": "rea')
    assert hyvve("status").returncode == 3
    assert hyvve("down").returncode == 0


def test_version(hyvve: Hyvve) -> None:
    assert hyvve("--version").stdout.startswith("hyvve 0.")
