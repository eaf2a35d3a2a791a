"""`make bench-serve`: what Ray Serve costs the API, and what proving freshness saves the poll.

One run, one machine, one embedded PostgreSQL, one replica each. Three servers take turns in rounds; medians count:

- the app under plain uvicorn (uvloop, httptools);
- the same app under Ray Serve as `hyvve up` runs it;
- the same app under plain uvicorn with its poll read through the ORM on each request.

Exits 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

import psycopg
from sqlalchemy import make_url

from cluster.embedded import start_postgres, start_redis, stop_postgres, stop_redis
from serve.settings import ServeSettings
from storage.migrations import schema
from storage.settings import StorageSettings

_CAMPAIGNS = 50
_CONNECTIONS = 16
# Targets.
_MIN_SERVE_RATE = 0.7
_MAX_SERVE_P99 = 1.5
_MIN_POLL_RATE = 3.0

Sample = dict[str, Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def services() -> Iterator[StorageSettings]:
    """Embedded PostgreSQL and Redis, migrated and with some campaigns in it."""
    directory = Path(tempfile.mkdtemp(prefix="hyb", dir="/tmp"))
    directory.chmod(0o755)
    try:
        database_url, redis_url = start_postgres(directory), start_redis(directory)
        schema.upgrade(database_url)
        plain = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain) as connection:
            connection.execute(
                "INSERT INTO campaigns (campaign_id, onchain_campaign_id, title, description, data_requirements,"
                " quality_criteria, unit_price, total_budget, campaign_type, min_data_count, max_data_count,"
                " expiration, metadata_uri, transaction_hash, platform_fee, creator_wallet_address, is_premium,"
                " required_quality_score, is_active, current_contributions, unique_contributions_count, created_at)"
                " SELECT gen_random_uuid(), 'campaign_' || n, 'Recipes of many kitchens', repeat('Home cooking. ', 20),"
                " 'a dish|||its steps|||its history', 'clear|||complete|||original', 25000000, 1000000000000, 'Text',"
                " 1, 100000, 4000000000, 'ipfs://x', '0x1', 250, '0xc', false, 70, true, 12, 7, now()"
                " FROM generate_series(1, %s) n",
                (_CAMPAIGNS,),
            )
        yield StorageSettings(database_url=database_url, redis_url=redis_url, data_dir=directory, pool_size=16)
    finally:
        stop_redis(directory)
        stop_postgres(directory)
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def uvicorn(which: str, storage: StorageSettings) -> Iterator[int]:
    """Port of a plain uvicorn that serves that app."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.serve_apps", which, str(port), storage.database_url,
         storage.redis_url, str(storage.data_dir)]
    )  # fmt: skip
    try:
        wait_until_answers(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def ray_serve(storage: StorageSettings) -> Iterator[int]:
    """Port of a Ray cluster of this run's own that serves the app in one replica."""
    from serve.ray_environment import SERVE_ENVIRONMENT  # noqa: PLC0415 - before anything of Ray is imported

    port, directory = free_port(), storage.data_dir / "haproxy"
    directory.mkdir()
    os.environ |= SERVE_ENVIRONMENT | {
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(directory / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(directory / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(directory),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(directory / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(directory / "metrics.sock"),
        # A machine at work may take longer than five seconds to start a proxy.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    import ray  # noqa: PLC0415
    import ray.serve  # noqa: PLC0415

    from actors.settings import VerificationSettings  # noqa: PLC0415
    from serve.deployment import NAME, deployment  # noqa: PLC0415
    from tests.benchmarks.serve_apps import open_verification  # noqa: PLC0415

    temporary = tempfile.mkdtemp(prefix="hyr", dir="/tmp")
    root = str(Path(__file__).parents[2])
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, _temp_dir=temporary, log_to_driver=False,
        logging_level=logging.WARNING, runtime_env={"env_vars": {"PYTHONPATH": root}},
    )  # fmt: skip
    try:
        ray.serve.start(http_options={"host": "0.0.0.0", "port": port}, logging_config={"log_level": "WARNING"})
        app = deployment(
            storage_settings=storage,
            serve_settings=ServeSettings(),
            verification_settings=VerificationSettings(),
            open_verification=open_verification,
        )
        ray.serve.run(app, name=NAME, route_prefix="/")
        wait_until_answers(port)
        yield port
    finally:
        ray.serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
        shutil.rmtree(temporary, ignore_errors=True)


def wait_until_answers(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/campaigns/campaign_1", timeout=5) as response:
                assert response.status == 200
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def measure(port: int, seconds: float) -> Sample:
    """One round against one server, from a process of its own."""
    paths = [f"/campaigns/campaign_{number}" for number in range(1, _CAMPAIGNS + 1)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.http_load", str(port), str(seconds), str(_CONNECTIONS), *paths],
        check=True, capture_output=True, text=True, timeout=seconds + 30,
    )  # fmt: skip
    sample: Sample = json.loads(done.stdout)
    if sample["failures"]:
        raise SystemExit(f"answers other than 200 from port {port}: {sample['failures']}")
    return sample


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=4.0, help="of each round")
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    with ExitStack() as stack:
        storage = stack.enter_context(services())
        ports = {
            "uvicorn": stack.enter_context(uvicorn("api", storage)),
            "serve": stack.enter_context(ray_serve(storage)),
            "orm": stack.enter_context(uvicorn("orm", storage)),
        }
        samples: dict[str, list[Sample]] = {name: [] for name in ports}
        for port in ports.values():
            measure(port, 1.0)  # warm
        for number in range(given.rounds):
            for name, port in ports.items():
                samples[name].append(measure(port, given.seconds))
            row = ", ".join(f"{name} {samples[name][-1]['rate']:.0f}/s" for name in ports)
            print(f"round {number + 1}: {row}", flush=True)
    return report(samples)


def report(samples: dict[str, list[Sample]]) -> int:
    def middle(name: str, figure: str) -> float:
        return float(median(sample[figure] for sample in samples[name]))

    titles = {
        "uvicorn": "poll, plain uvicorn", "serve": "poll, Ray Serve", "orm": "ORM row read, plain uvicorn",
    }  # fmt: skip
    print(f"\n{_CONNECTIONS} connections, {_CAMPAIGNS} campaigns, {os.cpu_count()} cores, medians")
    for name, title in titles.items():
        print(
            f"  {title:<28} {middle(name, 'rate'):>8.0f} req/s   p50 {middle(name, 'p50_ms'):6.2f} ms"
            f"   p99 {middle(name, 'p99_ms'):6.2f} ms"
        )
    checks = [
        ("Serve / uvicorn, requests/s", middle("serve", "rate") / middle("uvicorn", "rate"), ">=", _MIN_SERVE_RATE),
        ("Serve / uvicorn, p99", middle("serve", "p99_ms") / middle("uvicorn", "p99_ms"), "<=", _MAX_SERVE_P99),
        ("poll / ORM read, requests/s", middle("uvicorn", "rate") / middle("orm", "rate"), ">=", _MIN_POLL_RATE),
    ]
    missed = False
    for title, value, relation, target in checks:
        met = value >= target if relation == ">=" else value <= target
        missed |= not met
        print(f"  {title:<28} {value:>8.2f}   target {relation} {target}   {'met' if met else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
