"""`hyvve up`, `status` and `down` seen from the command's side: a supervisor is started, watched, asked, ended."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Literal

from cluster import processes
from cluster.directory import DataDirectory
from cluster.embedded_postgres import EmbeddedPostgres
from cluster.embedded_redis import EmbeddedRedis
from cluster.errors import AlreadyRunningError, ClusterError
from cluster.health import dependencies_down, readiness
from cluster.locks import is_held
from cluster.ray_cluster import withdraw_from
from cluster.settings import Settings
from cluster.state import ALREADY_RUNNING, LET_GO, State

# Long enough for a supervisor that waits for Ray, PostgreSQL's checkpoint and Redis in turn.
_STOP_TIMEOUT_S = 90.0
_LOG_LIMIT = 5 * 1024 * 1024


class Launch:
    """A supervisor that this process started."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], *, migrate: bool, api: bool = True) -> None:
        """Start it, with the API or only what verifies batches. Its life is tied to this process's until `let_go`.

        Raises `AlreadyRunningError`, or `ClusterError` for a data directory that cannot be used.
        """
        self.directory = settings.directory
        self.directory.create()
        if is_held(self.directory.lock):
            raise already_running(self.directory)
        flags = [*(["--migrate"] if migrate else []), *([] if api else ["--no-api"])]
        command = [sys.executable, "-P", "-m", "cluster.supervisor", *flags]
        with self._open_log() as log:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                command,
                stdin=subprocess.PIPE,  # its end tells the supervisor that we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environ, "HYVVE_DATA_DIR": str(self.directory.root)},
                start_new_session=True,
            )

    def progress(self) -> Iterator[State]:
        """The supervisor's state, about ten times a second, until it has ended. Raises `ClusterError` if it failed."""
        while self._process.poll() is None:
            if state := self._state():
                yield state
            time.sleep(0.1)
        if self._process.returncode == ALREADY_RUNNING:
            raise already_running(self.directory)
        state = self._state()
        if self._process.returncode != 0:
            sentence = state.error if state and state.error else "the supervisor ended unexpectedly"
            raise ClusterError(
                sentence, traceback=state.traceback if state else None, log=str(self.directory.logs / "up.log")
            )

    def let_go(self) -> None:
        """From here on it outlives this process and its terminal."""
        assert self._process.stdin is not None
        self._process.stdin.write(LET_GO)
        self._process.stdin.close()

    def stop(self) -> None:
        """Ask it to stop; `progress` tells when it has."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def _state(self) -> State | None:
        state = State.read(self.directory.state)
        return state if state and state.pid == self._process.pid else None

    def _open_log(self) -> IO[bytes]:
        path = self.directory.logs / "up.log"
        if path.exists() and path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")


def already_running(directory: DataDirectory) -> AlreadyRunningError:
    state = State.read(directory.state)
    where = f" at {state.api_url}" if state and state.api_url else ""
    return AlreadyRunningError(
        f"Hyvve runs in {directory.root} already{where}: see `hyvve status`, or stop it with `hyvve down`",
        subject=str(directory.root),
    )


@dataclass(frozen=True, slots=True)
class Status:
    """`running`: the lock says so. `broken`: no supervisor, and yet something that it started still runs."""

    phase: Literal["running", "starting", "stopping", "stopped", "broken"]
    state: State | None
    leftovers: tuple[str, ...] = ()
    # What /readyz says of each dependency; None where the API does not answer.
    ready: dict[str, Any] | None = None

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong while it runs, by part: what the supervisor found, and what /readyz says now."""
        if self.phase != "running" or self.state is None:
            return {}
        found = dict(self.state.troubles)
        if self.state.api_url is not None and self.ready is None:
            found.setdefault("API", "it does not answer /readyz")
        return found | dependencies_down(self.ready)


def status(directory: DataDirectory) -> Status:
    """What runs in this data directory now."""
    state = State.read(directory.state)
    if is_held(directory.lock):
        phase = state.phase if state and state.phase in ("starting", "stopping") else "running"
        ready = readiness(state.api_url) if state and state.api_url else None
        return Status(phase=phase, state=state, ready=ready)
    left = _left_behind(directory, state)
    return Status(phase="broken" if left else "stopped", state=state, leftovers=tuple(left))


def down(settings: Settings) -> bool:
    """End exactly what `up` started in this data directory, also after its supervisor was killed. False: nothing ran.

    Raises `ClusterError` for processes that will not end.
    """
    directory = settings.directory
    ran = is_held(directory.lock)
    state = State.read(directory.state)
    if ran and state is not None:
        supervisor = processes.same_process(state.pid, state.create_time)
        if supervisor is not None:
            supervisor.terminate()
            if processes.wait_gone([supervisor], _STOP_TIMEOUT_S):
                supervisor.kill()
                processes.wait_gone([supervisor], 5)
        state = State.read(directory.state)
    left = _left_behind(directory, state)
    if left:
        ran = True
        if stubborn := processes.end(processes.leftovers(directory.root), grace_s=5):
            raise ClusterError(f"these processes do not end: {', '.join(str(each.pid) for each in stubborn)}")
        EmbeddedRedis(directory).stop()
        EmbeddedPostgres(directory).stop()
    if state is not None and state.phase not in ("stopped", "failed"):
        if state.joined and left:
            withdraw_from(state.ray_address, settings)
        state.model_copy(update={"phase": "stopped"}).write(directory.state)
    return ran


def _left_behind(directory: DataDirectory, state: State | None) -> list[str]:
    """What an `up` started and did not stop, because it was killed."""
    left = [f"{each.name()} (pid {each.pid})" for each in processes.leftovers(directory.root)]
    if state is not None and state.phase in ("starting", "ready", "stopping"):
        for name, embedded, server in (
            ("PostgreSQL", state.embedded_postgres, EmbeddedPostgres(directory)),
            ("Redis", state.embedded_redis, EmbeddedRedis(directory)),
        ):
            if embedded and (process := server.process()):
                left.append(f"{name} (pid {process.pid})")
        if state.joined and state.api_url:
            left.append(f"the application on the Ray cluster {state.ray_address}")
    return left
