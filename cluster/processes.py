"""Processes by pid: which are ours, and ending exactly those."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

Process = psutil.Process

# Stands in the environment of everything `up` starts (Ray's processes inherit it), so that what a killed launcher
# left behind is found again, and nothing else is.
MARKER = "_HYVVE_RUNS_IN"


def process_of_pidfile(pidfile: Path, *, working_directory: Path, name: str) -> psutil.Process | None:
    """The live process whose pid stands first in `pidfile`, if it is the server that works in `working_directory`.

    After a reboot a pid may belong to anything, so its working directory and name are looked at too.
    """
    try:
        process = psutil.Process(int(pidfile.read_text().split()[0]))
        if process.status() == psutil.STATUS_ZOMBIE or name not in process.name():
            return None
        if Path(process.cwd()) == working_directory.resolve():
            return process
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None
    except psutil.AccessDenied:
        return None
    return None


def same_process(pid: int, create_time: float) -> psutil.Process | None:
    """The process with this pid, if it is still the one that began at `create_time` (seconds since the epoch)."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - create_time) < 1 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except psutil.NoSuchProcess:
        pass
    return None


def named_in_a_command(path: Path) -> bool:
    """Whether some live process's command line has this path."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if any(str(path) in argument for argument in process.cmdline()):
                return True
    return False


def leftovers(data_dir: Path) -> list[psutil.Process]:
    """Every process, this one excepted, that an `up` in `data_dir` started and that still runs."""
    found = []
    own = psutil.Process().pid
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != own and process.environ().get(MARKER) == str(data_dir):
                found.append(process)
    return found


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until they have ended; answers those that have not in time. A zombie has ended."""
    alive = [process for process in processes if _runs(process)]
    deadline = time.monotonic() + timeout_s
    while alive and time.monotonic() < deadline:
        time.sleep(0.01)
        alive = [process for process in alive if _runs(process)]
    return alive


def end(processes: Iterable[psutil.Process], *, grace_s: float) -> list[psutil.Process]:
    """Ask them to end, and after `grace_s` seconds make them; answers those that even then live on."""
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    alive = wait_gone(processes, grace_s)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return wait_gone(alive, 5)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
