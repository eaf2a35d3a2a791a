"""The process behind `hyvve up`: starts everything of one data directory, watches it, mends it, stops it.

It runs in a session of its own, so that neither a terminal's Ctrl-C nor its end reaches Ray's processes; the command
that started it shows its progress from the state file. A signal, or the end of its standard input where it was
started to be watched, stops it.

A Ray that died, or an API that stays silent, is started anew by the same process executing its program again, because
Ray keeps state in a process that has used it: same pid, same lock, same input; PostgreSQL and Redis go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import Generic, TypeVar

import psutil

from cluster import ports, processes, ray_cluster
from cluster.directory import DataDirectory
from cluster.errors import AlreadyRunningError, RayError
from cluster.judging import described
from cluster.locks import HeldLock
from cluster.settings import Settings
from cluster.state import ALREADY_RUNNING, LET_GO, Phase, State
from cluster.watch import Watch
from storage.clock import now
from storage.errors import HyvveError

T = TypeVar("T")

_WATCH_INTERVAL_S = 1.0
_RAY_GRACE_S = 5.0
_ACTOR_GRACE_S = 15.0
_LOOK_INTERVAL_S = 5.0
# Starting anew is given up after so many in a row that did not last this long.
_RESTARTS, _LASTED_S = 3, 600.0


class StopRequestedError(BaseException):
    """A signal asked the supervisor to stop."""


class StartAnewError(BaseException):
    """Ray or the API is beyond mending."""


class Supervisor:
    def __init__(
        self, settings: Settings, *, migrate: bool, api: bool = True, restarts: int = 0, lock: int | None = None
    ) -> None:
        """`restarts` and `lock` are what the program before, in this same process, hands on."""
        self._settings = settings
        # `hyvve verify` needs no API, and so no port.
        self._api = api
        self._directory: DataDirectory = settings.directory
        self._migrate = migrate
        self._lock = HeldLock(self._directory.lock)
        self._adopted = lock
        self._steps: dict[str, str] = {}
        self._state_lock = threading.Lock()
        self._ray_started = False
        self._actors: list[_Beside[None]] = []
        self._watched: Watch
        process = psutil.Process()
        self._state = State(
            phase="starting",
            pid=process.pid,
            create_time=process.create_time(),
            started_at=now().isoformat(),
            restarts=restarts,
            joined=settings.cluster.ray_address is not None,
            embedded_postgres=settings.cluster.embedded_postgres,
            embedded_redis=settings.cluster.embedded_redis,
        )

    def run(self) -> int:
        """Start, watch until asked to stop, stop. Answers the exit code; what went wrong stands in the state file.

        Raises `StartAnewError` where only a fresh process helps; then nothing is stopped yet.
        """
        self._directory.create()
        if self._adopted is not None:
            self._lock.adopt(self._adopted)
        elif not self._lock.acquire():
            raise AlreadyRunningError(
                f"Hyvve runs in {self._directory.root} already: see `hyvve status`, or stop it with `hyvve down`",
                subject=str(self._directory.root),
            )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _request_stop)
        failure: BaseException | None = None
        try:
            self._start()
            self._watch()
        except (StopRequestedError, SystemExit):
            pass
        except StartAnewError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, what was started is stopped and it is told
            failure = error
        for number in (signal.SIGTERM, signal.SIGINT):  # once is enough; the stop itself is not interrupted
            signal.signal(number, signal.SIG_IGN)
        self._stop()
        return self._finish(failure)

    def _start(self) -> None:
        self._publish("starting")
        processes.end(processes.leftovers(self._directory.root), grace_s=2)
        _reap()
        serve, cluster = self._settings.serve, self._settings.cluster
        if self._api:
            ports.require_free(serve.host, serve.port, setting="HYVVE_PORT")
        if cluster.dashboard_port is not None and cluster.ray_address is None:
            ports.require_free("127.0.0.1", cluster.dashboard_port, setting="HYVVE_DASHBOARD_PORT")
        ray_cluster.prepare_environment(self._settings)

        # Beside Ray, which takes longer. Ray itself stays on this thread: its processes end with the one that began it.
        self._tell("Ray", "starting")
        services = _Beside(self._start_services)
        scorer = _Beside(self._check_scorer)
        import ray  # noqa: F401, PLC0415 - half a second, while the services start

        imported = _Beside(ray_cluster.import_serve) if self._api else None
        if not (cluster.embedded_postgres and cluster.embedded_redis):
            services.result()  # what is given may be wrong, and that is told before Ray is started for nothing
        services.raise_failure()
        scorer.raise_failure()
        if cluster.ray_address is None:
            self._ray_started = True
            node = ray_cluster.start(self._settings)
        else:
            node = ray_cluster.join(self._settings)
            self._ray_started = True
            # Machines may join later, by the cluster's own autoscaler too: it is told, and not refused.
            if reason := ray_cluster.lacking(self._settings):
                _log(reason)
        for number in (signal.SIGTERM, signal.SIGINT):  # Ray took them
            signal.signal(number, _request_stop)
        self._tell("Ray", f"{'joined' if cluster.ray_address else 'own'}, {node.address}")
        self._publish("starting", ray_address=node.address, dashboard_url=node.dashboard_url, ray_logs=node.logs)
        services.result()
        scorer.result()

        url = None
        if imported is not None:
            self._tell("API", "deploying")
            imported.result()
            api = ray_cluster.application(self._settings, dashboard_url=node.dashboard_url)
            ray_cluster.deploy(self._settings, api)
            url = f"http://{_reachable(serve.host)}:{serve.port}"
            ray_cluster.wait_for_api(url)
            self._tell("API", url)
        # Each is a process that imports for seconds: side by side.
        parts: list[tuple[str, Callable[[Settings], None], str]] = [
            ("Verification", ray_cluster.start_runner, f"scorer {self._settings.actors.verification.scorer.kind}"),
        ]
        if self._api:  # `hyvve verify` is over too soon for periodic work, and begins no runs
            parts += [
                ("Runs", ray_cluster.start_hosts, f"{self._settings.actors.runs.hosts} hosts"),
                ("Schedules", ray_cluster.start_scheduler, "running"),
            ]
        for name, start, _ in parts:
            self._tell(name, "starting")
            self._actors.append(_Beside(partial(start, self._settings)))
        for (name, _, what), part in zip(parts, self._actors, strict=True):
            part.result()
            self._tell(name, what)
        self._publish("ready", api_url=url, judges_by=described(self._settings))
        self._watched = Watch(ray_address=node.address, own=cluster.ray_address is None, api_url=url)

    def _start_services(self) -> None:
        from cluster import services  # noqa: PLC0415 - SQLAlchemy and Alembic load while Ray starts

        services.start(self._settings, migrate=self._migrate, tell=self._tell)

    def _check_scorer(self) -> None:
        """A missing extra or key is told now, and not by the first contribution."""
        from actors.verification.scorers.registry import open_scorer  # noqa: PLC0415

        asyncio.run(open_scorer(self._settings.actors.verification.scorer, redis_url=None).close())

    def _watch(self) -> None:
        from cluster import services  # noqa: PLC0415

        began = looked = time.monotonic()
        while True:
            time.sleep(_WATCH_INTERVAL_S)
            for name in services.revive(self._settings):
                _log(f"the embedded {name} had died and was started again")
            if time.monotonic() - looked < _LOOK_INTERVAL_S:
                continue
            finding = self._watched.look()
            looked = time.monotonic()
            if finding.troubles != self._state.troubles:
                for part, trouble in finding.troubles.items():
                    _log(f"{part}: {trouble}")
                if not finding.troubles:
                    _log("all answers again")
                self._publish("ready", troubles=finding.troubles)
            if finding.anew is not None:
                if looked - began > _LASTED_S:
                    self._state = self._state.model_copy(update={"restarts": 0})
                if self._state.restarts >= _RESTARTS:
                    raise RayError(
                        f"{finding.anew}; {_RESTARTS} new starts did not last, see {self._state.ray_logs} and "
                        f"{self._directory.logs / 'up.log'}"
                    )
                raise StartAnewError(finding.anew)

    def hand_on(self) -> list[str]:
        """The arguments by which the program that takes our place goes on."""
        return [f"--restarts={self._state.restarts + 1}", f"--lock={self._lock.hand_on()}"]

    def _stop(self) -> None:
        self._publish("stopping")
        for part in self._actors:  # one that is made after we took our leave would stay
            part.wait(_ACTOR_GRACE_S)
        if self._ray_started:
            try:
                ray_cluster.stop(self._settings, deployed=self._api)
            except Exception as error:  # noqa: BLE001 - its processes are ended below, whatever it says
                _log(f"Ray did not stop by itself: {error}")
        if left := processes.end(processes.leftovers(self._directory.root), grace_s=_RAY_GRACE_S):
            _log(f"these would not end: {left}")
        from cluster import services  # noqa: PLC0415

        services.stop(self._settings)

    def _finish(self, failure: BaseException | None) -> int:
        if failure is None:
            self._publish("stopped")
            self._lock.release()
            return 0
        text = "".join(traceback.format_exception(failure))
        sentence = str(failure) if isinstance(failure, HyvveError) else f"{type(failure).__name__}: {failure}"
        _log(text)
        self._publish("failed", error=sentence, traceback=text)
        self._lock.release()
        return 1

    def _tell(self, step: str, what: str) -> None:
        with self._state_lock:
            self._steps[step] = what
            self._write()
        _log(f"{step}: {what}")

    def _publish(self, phase: Phase, **changes: str | dict[str, str] | None) -> None:
        with self._state_lock:
            self._state = self._state.model_copy(update={"phase": phase, **changes})
            self._write()
        _log(phase)

    def _write(self) -> None:
        self._state = self._state.model_copy(update={"steps": dict(self._steps)})
        self._state.write(self._directory.state)


class _Beside(Generic[T]):
    """Work on another thread, whose result, or failure, is handed over where it is asked for."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - carried to the other thread
            self._failure = error

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def result(self) -> T:
        self._thread.join()
        self.raise_failure()
        return self._results[0]


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _request_stop(_number: int, _frame: FrameType | None) -> None:
    raise StopRequestedError


_let_go = threading.Event()


def _stop_when_unwatched() -> None:
    """The command that started us holds the other end of our input: when it ends, however it ends, and did not let us
    go first, we stop.
    """
    heard = b""
    while received := os.read(0, 64):
        heard += received
        if heard == LET_GO:
            _let_go.set()
    if not _let_go.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _reap() -> None:
    """Take note of the ended children of the program before us; nobody else will."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _log(text: str) -> None:
    sys.stdout.write(f"{now().isoformat()} {text}\n")
    sys.stdout.flush()


def main(environ: Mapping[str, str], arguments: list[str]) -> int:
    """Run the supervisor of the data directory that `environ` names."""
    begun_with = dict(environ)
    given = dict(each.removeprefix("--").partition("=")[::2] for each in arguments)
    if "let-go" in given:
        _let_go.set()
    else:
        threading.Thread(target=_stop_when_unwatched, daemon=True).start()
    supervisor = Supervisor(
        Settings.from_environment(environ), migrate="migrate" in given, api="no-api" not in given,
        restarts=int(given.get("restarts", 0)), lock=int(given["lock"]) if "lock" in given else None,
    )  # fmt: skip
    try:
        return supervisor.run()
    except AlreadyRunningError as error:  # another `up` was faster; the state file is its own
        _log(str(error))
        return ALREADY_RUNNING
    except StartAnewError as error:
        _log(f"{error}; Ray and the API are started anew")
        # Ended by the next program's start, as what a killed supervisor left.
        kept = [each for each in arguments if each in ("--migrate", "--no-api", "--let-go")]
        if _let_go.is_set() and "--let-go" not in kept:
            kept.append("--let-go")
        program = [sys.executable, "-P", "-m", "cluster.supervisor", *kept, *supervisor.hand_on()]
        os.execve(sys.executable, program, begun_with)  # noqa: S606 - ourselves, without a shell


if __name__ == "__main__":
    code = main(os.environ, sys.argv[1:])
    sys.stdout.flush()
    # A thread that asked something of Ray when Ray was stopped is never answered, turns for ever, and would keep us.
    os._exit(code)
