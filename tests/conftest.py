"""Real services for every test: one embedded PostgreSQL and Redis, one Ray cluster, per pytest process."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import psycopg
import pytest
import redis
from sqlalchemy import make_url

from actors.verification.ray_environment import CHUNK_ENVIRONMENT
from cluster.embedded import start_postgres, start_redis, stop_postgres, stop_redis
from storage.engine import Database
from storage.migrations import schema

# On a slow or busy machine one example may take any time, and what a change is judged by is the same each time.
hypothesis.settings.register_profile(
    "hyvve", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("hyvve")


# How many databases stand ready for tests to come.
_DATABASES_AHEAD = 2

# A console takes its width from it when it is made, and tests that give one of their own come too late for that.
os.environ.pop("COLUMNS", None)

# A shell starts background jobs with interrupts ignored, and children inherit that: tests of Ctrl-C would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def services_dir() -> Iterator[Path]:
    """The data directory of this process's services; short, for Unix sockets allow 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="hyv", dir="/tmp"))
    directory.chmod(0o755)  # PostgreSQL runs as a user of its own where we are root
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(services_dir: Path) -> Iterator[str]:
    """URL of a server whose database `template_hyvve` is migrated; tests copy it (see `database_url`)."""
    url = start_postgres(services_dir)
    # Tests kill servers and never the machine; waiting for the disk is most of what a database of each test's own costs.
    _execute(url, "ALTER SYSTEM SET fsync = off")
    _execute(url, "SELECT pg_reload_conf()")
    _execute(url, "CREATE DATABASE template_hyvve")
    schema.upgrade(_named(url, "template_hyvve"))
    yield url
    stop_postgres(services_dir)


@contextlib.contextmanager
def database_from_template(postgres: str, name: str) -> Iterator[str]:
    """A migrated, empty database of that name, for as long as the block lasts."""
    _execute(postgres, f"CREATE DATABASE {name} TEMPLATE template_hyvve")
    yield _named(postgres, name)
    _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


class Databases:
    """Migrated, empty databases, made ahead of the tests that take them: PostgreSQL writes hundreds of files for each.
    What a test gives back is dropped, and nobody gets it again.
    """

    def __init__(self, postgres: str) -> None:
        self._postgres = postgres
        self._used: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()
        self._wanted = threading.Semaphore(_DATABASES_AHEAD)
        self._closed = False
        self._thread = threading.Thread(target=self._make, name="databases", daemon=True)
        self._thread.start()

    def take(self) -> str:
        """The name of a database that is the caller's alone."""
        found = self._ready.get(timeout=120)
        self._wanted.release()
        if isinstance(found, Exception):
            raise found
        return found

    def give_back(self, name: str) -> None:
        self._used.put(name)

    def close(self) -> None:
        self._closed = True
        self._wanted.release()
        self._thread.join()

    def _make(self) -> None:
        for number in itertools.count():
            self._wanted.acquire()
            if self._closed:
                return
            try:
                _execute(self._postgres, f"CREATE DATABASE test_{number} TEMPLATE template_hyvve")
                self._ready.put(f"test_{number}")
                while not self._used.empty():
                    _execute(self._postgres, f"DROP DATABASE {self._used.get()} WITH (FORCE)")
            except Exception as error:  # the test that asks for a database is told
                self._ready.put(error)


@pytest.fixture(scope="session")
def databases(postgres: str) -> Iterator[Databases]:
    databases = Databases(postgres)
    yield databases
    databases.close()


@pytest.fixture
def database_url(postgres: str, databases: Databases) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    name = databases.take()
    yield _named(postgres, name)
    databases.give_back(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def redis_server(services_dir: Path) -> Iterator[str]:
    yield start_redis(services_dir)
    stop_redis(services_dir)


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """An empty Redis; it is this process's alone, so it is emptied before each test that asks for it."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


class RayCluster:
    """A Ray cluster of this pytest process's own: one node of two CPUs, and more while a test asks for them."""

    def __init__(self, directory: Path) -> None:
        # Half a second that only tests on a cluster should cost.
        import ray  # noqa: PLC0415
        from ray.cluster_utils import Cluster  # noqa: PLC0415

        self._ray = ray
        os.environ.update(CHUNK_ENVIRONMENT)  # as `hyvve up` does
        # A busy machine takes longer than Serve's five seconds to start a proxy.
        os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"
        # Ray gives a node 30 seconds to start, which a busy machine may take to read it from its disk.
        for tries_left in (2, 1, 0):
            before = psutil.Process().children()
            try:
                self._init(directory)
                break
            except Exception:
                for process in set(psutil.Process().children()) - set(before):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                if not tries_left:
                    raise
        self._nodes = Cluster()
        self._nodes.head_node = ray._private.worker._global_node

    def _init(self, directory: Path) -> None:
        self._ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=256 * 1024 * 1024,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            namespace="tests",
            _temp_dir=str(directory),
            # A killed node is missed in three seconds instead of fifteen; a busy one is not missed.
            _system_config={"health_check_period_ms": 500, "health_check_failure_threshold": 6},
        )

    def add_node(self, num_cpus: int = 2) -> Any:
        """A second raylet on this machine, ready for work."""
        return self._nodes.add_node(num_cpus=num_cpus)

    def kill_node(self, node: Any) -> None:
        """SIGKILL to the node's raylet and to every worker on it, as if the machine had lost its power."""
        for process in (self._raylet(node), *self._raylet(node).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._nodes.remove_node(node, allow_graceful=False)

    def worker_running(self, name: str, *, on: Any = None, timeout_s: float = 60.0) -> psutil.Process:
        """A process that is running the task or actor of this name, as soon as there is one, on any node or that one."""
        deadline = time.monotonic() + timeout_s
        raylets = [self._raylet(each) for each in ([on] if on else [self._nodes.head_node, *self._nodes.worker_nodes])]
        while time.monotonic() < deadline:
            for process in itertools.chain.from_iterable(raylet.children(recursive=True) for raylet in raylets):
                with contextlib.suppress(psutil.Error):
                    # Ray writes what a worker runs into its title.
                    if "".join(process.cmdline()[:1]).startswith(f"ray::{name}"):
                        return process
            time.sleep(0.02)
        raise AssertionError(f"nothing runs {name} on the cluster")

    def _raylet(self, node: Any) -> psutil.Process:
        return psutil.Process(node.all_processes["raylet"][0].process.pid)

    def stop(self) -> None:
        for node in list(self._nodes.worker_nodes):
            self._nodes.remove_node(node)
        self._ray.shutdown()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """Started when the first test asks for it; joins no other. Its detached actors end with it."""
    directory = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    # Without it `ray.init` would look at a cluster that is none of ours.
    before = os.environ.pop("RAY_ADDRESS", None)
    cluster = RayCluster(directory)
    yield cluster
    cluster.stop()
    if before is not None:
        os.environ["RAY_ADDRESS"] = before
    shutil.rmtree(directory, ignore_errors=True)


def _named(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _execute(url: str, statement: str) -> None:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement.encode())
