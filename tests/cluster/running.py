"""A Hyvve that a test module starts once, by the command, and asks over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster import embedded, processes
from cluster.directory import DataDirectory
from storage.blobs.local import LocalBlobStore
from tests.cluster.conftest import clean_environment

HYVVE = str(Path(sys.executable).with_name("hyvve"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def left(data_dir: Path) -> list[str]:
    """What still runs of this data directory: by the mark that all inherit, and by the servers' pid files."""
    servers = [embedded.postgres(data_dir).process(), embedded.redis(data_dir).process()]
    found = [*processes.leftovers(data_dir), *[each for each in servers if each is not None]]
    return [str(each) for each in processes.wait_gone(found, 20)]


def eventually(condition: Callable[[], object], *, timeout_s: float = 120.0, every_s: float = 0.1) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(every_s)


@dataclass(frozen=True)
class Running:
    """One data directory and port; whether Hyvve runs there is the test's doing."""

    data_dir: Path
    port: int
    environ: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HYVVE, *arguments], env=self.environ | environ, capture_output=True, text=True, timeout=240, check=False,
            cwd=self.data_dir.parent,
        )  # fmt: skip

    def up(self) -> str:
        """`hyvve up --detach`, with pipes for all three of its streams; fails unless it lets go of each of them."""
        process = subprocess.Popen(
            [HYVVE, "up", "--detach"], env=self.environ, cwd=self.data_dir.parent, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        stdin, process.stdin = process.stdin, None  # else `communicate` closes it
        assert stdin is not None
        # Waits for the end of the output: something that was started and holds it would keep it open.
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0, out
        with stdin:
            polled = select.poll()
            polled.register(stdin, select.POLLERR)
            assert polled.poll(20_000), "something that was started reads our standard input"
        return out

    def status(self) -> tuple[int, dict[str, Any]]:
        done = self.command("status", "--json")
        return done.returncode, json.loads(done.stdout)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=90)

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", timeout=20).status_code == 200
        return False

    def store(self, texts: list[str]) -> list[str]:
        """Blob ids of the texts, put where Hyvve keeps its blobs."""

        async def put() -> list[str]:
            store = LocalBlobStore(self.data_dir / "blobs", max_bytes=1_000_000)
            return [await store.put(text.encode()) for text in texts]

        return asyncio.run(put())


@contextlib.contextmanager
def project(**environ: str) -> Iterator[Running]:
    """A data directory and a port of its own; whatever runs there at the end is ended by pid."""
    directory = Path(tempfile.mkdtemp(prefix="hyu", dir="/tmp"))
    data_dir = directory / "data"
    port = free_port()
    given = {"HYVVE_DATA_DIR": str(data_dir), "HYVVE_PORT": str(port), "HYVVE_CPUS": "2", "COLUMNS": "200"}
    running = Running(data_dir, port, clean_environment(**given) | environ)
    try:
        yield running
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.command("down")
        processes.end(processes.leftovers(data_dir), grace_s=2)
        if data_dir.is_dir():
            embedded.stop_redis(data_dir)
            embedded.stop_postgres(data_dir)
        shutil.rmtree(DataDirectory.at(data_dir).runtime, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True)
class RayHead:
    address: str
    directory: Path

    def processes(self) -> set[str]:
        """Names of what runs of it."""
        return {process.name() for process in processes.leftovers(self.directory)}


@contextlib.contextmanager
def ray_head() -> Iterator[RayHead]:
    """A Ray cluster that somebody else started, of one node; ended by pid."""
    directory = Path(tempfile.mkdtemp(prefix="ryh", dir="/tmp"))
    port = free_port()
    environ = clean_environment() | {processes.MARKER: str(directory), "RAY_AUTH_MODE": "token"}
    try:
        with (directory / "out").open("w+") as out:
            done = subprocess.run(
                [str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={port}", "--num-cpus=2",
                 "--include-dashboard=false", f"--temp-dir={directory}", "--disable-usage-stats",
                 "--object-store-memory=200000000", f"--dashboard-port={free_port()}"],
                env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False, timeout=120,
            )  # fmt: skip
            out.seek(0)
            assert done.returncode == 0, out.read()
        yield RayHead(f"127.0.0.1:{port}", directory)
    finally:
        processes.end(processes.leftovers(directory), grace_s=3)
        shutil.rmtree(directory, ignore_errors=True)
