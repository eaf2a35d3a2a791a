"""How long `hyvve up` takes to its first 200, against a bare script that starts Ray and one trivial Serve app.

Both run in the same mode (HAProxy, throughput), in turn, each on a directory of its own; each `hyvve up` therefore also
creates a PostgreSQL and its schema. Exit code 1 where the ratio of medians is above the limit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from cluster.directory import DataDirectory
from cluster.ports import free_ports
from serve.ray_environment import SERVE_ENVIRONMENT

# A shell starts background jobs with interrupts ignored, and children inherit that: they would not end.
signal.signal(signal.SIGINT, signal.default_int_handler)

LIMIT = 1.3
TIMEOUT_S = 300.0

BARE = """
import sys, time
import ray
import ray.serve
from fastapi import FastAPI

app = FastAPI()

@app.get("/healthz")
async def health():
    return {"status": "ok"}

@ray.serve.deployment
@ray.serve.ingress(app)
class Trivial:
    pass

ray.init(address="local", log_to_driver=False, _temp_dir=sys.argv[2])
ray.serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
ray.serve.run(Trivial.bind())
while True:
    time.sleep(1)
"""


def bare(directory: Path, port: int) -> subprocess.Popen[bytes]:
    statistics_port, metrics_port, fallback_port = free_ports(3)
    mode = {key: SERVE_ENVIRONMENT[key] for key in ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED")}
    return subprocess.Popen(
        [sys.executable, "-c", BARE, str(port), str(directory)],
        env={
            **_clean_environment(), **mode,
            "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics_port),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port),
        },
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def hyvve_up(directory: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("hyvve")), "up", "--data-dir", str(directory), "--port", str(port)],
        env=_clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def seconds_to_first_200(start: Callable[[Path, int], subprocess.Popen[bytes]]) -> float:
    directory = Path(tempfile.mkdtemp(prefix="hyb", dir="/tmp"))
    (port,) = free_ports(1)
    began = time.perf_counter()
    process = start(directory, port)
    try:
        while not _answers(port):
            if process.poll() is not None:
                raise SystemExit(f"{start.__name__} ended with {process.returncode} before it answered")
            if time.perf_counter() - began > TIMEOUT_S:
                raise SystemExit(f"{start.__name__} did not answer within {TIMEOUT_S:.0f} s")
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        shutil.rmtree(DataDirectory.at(directory).runtime, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _clean_environment() -> dict[str, str]:
    ours = ("HYVVE_", "SQLALCHEMY_", "REDIS_", "RAY_", "_HYVVE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {"bare": [], "hyvve up": []}
    for number in range(rounds):
        # Whichever comes second finds warmer caches: take turns at that, too.
        order = [("bare", bare), ("hyvve up", hyvve_up)]
        for name, start in order if number % 2 == 0 else reversed(order):
            times[name].append(seconds_to_first_200(start))
            print(f"round {number + 1}: {name:<9} {times[name][-1]:6.2f} s", flush=True)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["hyvve up"] / medians["bare"]
    print(f"\nbare Ray and Serve script: {medians['bare']:.2f} s to the first 200 (median of {rounds})")
    print(f"hyvve up:                  {medians['hyvve up']:.2f} s")
    print(f"ratio: {ratio:.2f} (limit {LIMIT})  {'ok' if ratio <= LIMIT else 'TOO SLOW'}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
