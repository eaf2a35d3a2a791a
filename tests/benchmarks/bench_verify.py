"""`make bench-verify`: how fast contributions are verified, and where the time goes.

(a) a provider that answers in 200 ms, 64 calls at once: at least 90 % of the ideal 320 contributions a second;
(b) a provider that answers at once: at least 300 contributions a second and core, over the whole path (blob, hash,
    duplicates, prompt, call, decision, rows). "A core" is a CPU-second of our own Python processes: the chunk workers,
    the batch runner and this process, from the batch's start to its end, threads included. PostgreSQL, Redis, Ray's
    daemons and the stub are counted apart and printed;
(c) the local scorer against bare `SentenceTransformer.encode` (see bench_local.py);
(d) 20,000 contributions: the rate of the last fifth at least 0.9 of the first fifth's, the runner's memory flat.

(b) and (d) are one run. Contributions are texts of 120 random words (about 850 bytes), no two alike, in the local blob
store. Exits 1 on a miss. `--quick` is a tenth of the size.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import psutil
import ray
import typer
from sqlalchemy import text

from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.actor import ensure_runner, stop_actors
from actors.verification.ray_environment import CHUNK_ENVIRONMENT
from actors.verification.worker import new_event_loop
from actors.verification.workplace import Setup
from cluster.directory import DataDirectory
from cluster.embedded import start_postgres, start_redis, stop_postgres, stop_redis
from cluster.embedded_postgres import EmbeddedPostgres
from cluster.embedded_redis import EmbeddedRedis
from storage import verifications
from storage.engine import Database
from storage.migrations import schema
from storage.settings import StorageSettings
from tests.actors.verification.population import Population, distinct, open_batch, populate
from tests.benchmarks.verdict_reviews import asking_people
from tests.benchmarks.verify_profile import profile
from tests.benchmarks.yardstick import core_speed

WORDS = 120
LATENCY_S = 0.2
# Enough that every worker process has imported what it needs.
WARM_UP = 2560
CONCURRENCY = 64
IDEAL = CONCURRENCY / LATENCY_S


@dataclass
class Misses:
    found: list[str] = field(default_factory=list)

    def check(self, what: str, value: float, limit: str, *, ok: bool) -> None:
        print(f"  {'ok  ' if ok else 'MISS'}  {what}: {value:.3g} ({limit})")
        if not ok:
            self.found.append(what)


@dataclass(frozen=True)
class Run:
    """One batch from its wake to its end."""

    count: int
    seconds: float
    fifths: list[float]  # contributions a second, by the rows' own times
    cpu: dict[str, float]  # seconds by kind of process
    memory: list[float]  # MiB of the runner, over time

    @property
    def ours(self) -> float:
        return self.cpu["workers"] + self.cpu["runner"] + self.cpu["this process"]


def main(
    quick: Annotated[bool, typer.Option(help="A tenth of the size, for CI.")] = False,
    parts: Annotated[str, typer.Option(help="Which of a, b (with d) and c to run.")] = "abcd",
) -> None:
    """Run the benchmark and print every figure."""
    misses = Misses()
    with services() as storage:
        if set("abd") & set(parts):
            os.environ.update(CHUNK_ENVIRONMENT)  # as `hyvve up` does
            ray.init(
                address="local", include_dashboard=False, log_to_driver=False, logging_level=30, namespace="bench",
                _temp_dir=str(storage.data_dir / "ray"),
            )  # fmt: skip
            try:
                asyncio.run(on_ray(storage, misses, quick=quick, parts=parts))
            finally:
                ray.shutdown()
        if set("bd") & set(parts):
            print("\nWhere the time goes, one process, the same path without Ray:")
            with asyncio.Runner(loop_factory=new_event_loop) as loop:  # as in the workers
                loop.run(profile_path(storage, 500 if quick else 2000))
                print("\nA person asked about every verdict, against nobody asked about any:")
                ratio = loop.run(asked_path(storage, 1_100 if quick else 4_400))
            misses.check("CPU-seconds, asking / not asking", ratio, "at most 1.15", ok=quick or ratio <= 1.15)
    if "c" in parts:
        print("\n(c) the local scorer", flush=True)
        # In a process of its own, for its threads are counted.
        command = [sys.executable, "-m", "tests.benchmarks.bench_local", *(["--quick"] if quick else [])]
        if subprocess.run(command, check=False).returncode != 0:
            misses.found.append("local scorer")
    if misses.found:
        print(f"\nmissed: {', '.join(misses.found)}")
        sys.exit(1)
    print("\nall limits held")


async def on_ray(storage: StorageSettings, misses: Misses, *, quick: bool, parts: str) -> None:
    database = Database(storage.database_url)
    load = os.getloadavg()[0]
    speed = f"{core_speed():.1f} million turns of a Python loop a second each"
    print(
        f"{os.cpu_count()} cores, {speed}, load {load:.1f} before the start, {WORDS} words a contribution", flush=True
    )
    if "a" in parts:
        count = 640 if quick else 9600
        with stub(LATENCY_S) as base_url:
            run = await verify(database, storage, base_url, count, "a", concurrency=CONCURRENCY)
        rate = count / run.seconds
        print(f"\n(a) {count:,} contributions, provider answers in {LATENCY_S * 1000:.0f} ms, {CONCURRENCY} at once")
        report(run)
        limit = 0.5 if quick else 0.9  # a short run is mostly its beginning and its end
        misses.check("share of the ideal rate", rate / IDEAL, f"at least {limit}", ok=rate >= limit * IDEAL)
    if set("bd") & set(parts):
        count = 2_000 if quick else 20_000
        with stub(0.0) as base_url:
            run = await verify(database, storage, base_url, count, "b", concurrency=CONCURRENCY)
        print(f"\n(b) and (d) {count:,} contributions, provider answers at once")
        report(run)
        rate = count / run.ours
        misses.check("contributions per CPU-second of ours", rate, "at least 300", ok=rate >= 300)
        ratio = run.fifths[-1] / run.fifths[0]
        misses.check("last fifth's rate / first's", ratio, "at least 0.9: it gets no slower", ok=quick or ratio >= 0.9)
        grown = run.memory[-1] - run.memory[len(run.memory) // 5]
        misses.check("runner's memory grown by, MiB", grown, "at most 16", ok=grown <= 16)
    await database.close()


async def verify(
    database: Database, storage: StorageSettings, base_url: str, count: int, name: str, *, concurrency: int
) -> Run:
    """Verify `count` contributions with workers that are warm."""
    settings = VerificationSettings(
        scorer=ScorerSettings(kind="openai", base_url=base_url, model="stub", concurrency=concurrency)
    )
    setup = Setup(storage=storage, verification=settings)
    runner = await asyncio.to_thread(ensure_runner, setup)
    texts = distinct(count + WARM_UP, words=WORDS, asking="", salt=name)
    warm = await populate(database, storage, texts[:WARM_UP], onchain_id=f"warm {name}")
    await finish(database, runner, await open_batch(database, warm.campaign_id))
    measured = await populate(database, storage, texts[WARM_UP:], onchain_id=f"measured {name}")
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE"))
    batch_id = await open_batch(database, measured.campaign_id)
    memory: list[float] = []
    meter, started = Meter(storage.data_dir), time.perf_counter()
    with sampled(memory, meter):
        await finish(database, runner, batch_id)
        seconds = time.perf_counter() - started
    await asyncio.to_thread(stop_actors, setup)
    await check(database, batch_id, measured)
    return Run(
        count=count,
        seconds=seconds,
        fifths=await fifths(database, batch_id, count),
        cpu=meter.spent(),
        memory=memory,
    )


async def finish(database: Database, runner: Any, batch_id: UUID) -> None:
    await runner.wake.remote(batch_id)
    while True:
        async with database.read() as session:
            state = (await verifications.batch(session, batch_id)).state
        if state not in verifications.UNFINISHED:
            assert state == "completed", state
            return
        await asyncio.sleep(0.1)


async def check(database: Database, batch_id: UUID, measured: Population) -> None:
    """A fast batch that judged nothing would be no feat."""
    async with database.read() as session:
        found = await verifications.progress(session, batch_id)
    assert found.verdicts == {"ACCEPT": len(measured.contribution_ids)}, found


async def fifths(database: Database, batch_id: UUID, count: int) -> list[float]:
    """Rates of the five fifths of a batch's rows, in the order they were written."""
    query = text(
        "SELECT created_at FROM verification_results WHERE batch_id = :batch_id ORDER BY created_at, result_id"
    )
    async with database.read() as session:
        moments = [row[0].timestamp() for row in await session.execute(query, {"batch_id": batch_id})]
    # The first chunks come out together; rates are taken between the same places of a chunk's rhythm.
    edges = [moments[0], *(moments[count * part // 5 - 1] for part in range(1, 6))]
    return [count / 5 / max(1e-9, edges[part + 1] - edges[part]) for part in range(5)]


def report(run: Run) -> None:
    print(f"  {run.count / run.seconds:.0f} contributions/s over {run.seconds:.1f} s, wall")
    print("  by fifths: " + ", ".join(f"{rate:.0f}/s" for rate in run.fifths))
    print("  CPU-seconds: " + ", ".join(f"{kind} {seconds:.1f}" for kind, seconds in sorted(run.cpu.items())))
    cost = run.ours / run.count * 1000
    print(f"  {run.count / run.ours:.0f} contributions per CPU-second of our processes ({cost:.2f} ms each)")
    print(f"  runner's memory: {run.memory[0]:.0f} MiB at the start, {run.memory[-1]:.0f} MiB at the end")


class Meter:
    """CPU-seconds by kind of process since it was made; those of processes that ended meanwhile included."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._first: dict[tuple[int, float], float] = {}
        self._last: dict[tuple[int, float], tuple[str, float]] = {}
        self._made = time.time()
        self.look()

    def look(self) -> None:
        """Note where every process stands; what one spends after its last look and before its end is missed."""
        me = psutil.Process()
        for process in [me, *me.children(recursive=True), *_servers(self._data_dir)]:
            try:
                key, kind, times = (process.pid, process.create_time()), _kind(process), process.cpu_times()
            except psutil.Error:
                continue
            spent = times.user + times.system
            # One that began later spent all of it here.
            self._first.setdefault(key, 0.0 if key[1] > self._made else spent)
            # A worker's title changes with its task.
            self._last[key] = (kind, spent)

    def spent(self) -> dict[str, float]:
        totals: dict[str, float] = {"workers": 0.0, "runner": 0.0, "this process": 0.0}
        for key, (kind, seconds) in self._last.items():
            totals[kind] = totals.get(kind, 0.0) + seconds - self._first[key]
        return totals


def _servers(data_dir: Path) -> list[psutil.Process]:
    """PostgreSQL and Redis, which outlive whoever starts them and so are nobody's children."""
    found = []
    for server in (EmbeddedPostgres(DataDirectory.at(data_dir)), EmbeddedRedis(DataDirectory.at(data_dir))):
        if (process := server.process()) is not None:
            found += [process, *process.children(recursive=True)]
    return found


def _kind(process: psutil.Process) -> str:
    if process.pid == os.getpid():
        return "this process"
    title = " ".join(process.cmdline())
    if title.startswith("ray::RunnerActor"):
        return "runner"
    if title.startswith("ray::"):
        return "workers"
    for name, kind in (("tests.stubs.openai", "stub"), ("postgres", "PostgreSQL"), ("redis", "Redis")):
        if name in title or name in process.name():
            return kind
    return "Ray's daemons"


@contextmanager
def sampled(memory: list[float], meter: Meter) -> Iterator[None]:
    """Collect the runner's resident memory, and look at the meter, each second."""
    done = threading.Event()
    runner = next(
        process for process in psutil.Process().children(recursive=True)
        if "".join(process.cmdline()[:1]).startswith("ray::RunnerActor")
    )  # fmt: skip

    def sample() -> None:
        while True:
            memory.append(runner.memory_info().rss / 2**20)
            ended = done.wait(1.0)
            meter.look()
            if ended:
                return

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


async def profile_path(storage: StorageSettings, count: int) -> None:
    with stub(0.0) as base_url:
        await profile(storage, base_url, distinct(count, words=WORDS, asking="", salt="profile"))


async def asked_path(storage: StorageSettings, count: int) -> float:
    with stub(0.0) as base_url:
        return await asking_people(storage, base_url, distinct(count, words=WORDS, asking="", salt="asked"))


@contextmanager
def stub(latency_s: float) -> Iterator[str]:
    """The provider, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stubs.openai", "--latency", str(latency_s)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


@contextmanager
def services() -> Iterator[StorageSettings]:
    """PostgreSQL and Redis of this run's own."""
    directory = Path(tempfile.mkdtemp(prefix="hyvb", dir="/tmp"))
    directory.chmod(0o755)
    try:
        url = start_postgres(directory)
        schema.upgrade(url)
        yield StorageSettings(database_url=url, redis_url=start_redis(directory), data_dir=directory)
    finally:
        stop_redis(directory)
        stop_postgres(directory)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
