"""What the running Hyvve says of itself: which part is wrong, which settings it judges by, how it does now."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from cluster import judging
from cluster.health import Batch, Health
from cluster.launch import Status
from cluster.locks import HeldLock, is_held
from cluster.screen import LiveStatus, print_status
from cluster.settings import Settings
from cluster.state import State
from cluster.watch import ANEW_AFTER_S, SAID_AFTER_S, Watch


class Api:
    """Answers every GET with its status; 0 hangs up instead."""

    def __init__(self) -> None:
        self.status = 200
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if api.status:
                    self.send_response(api.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    yield api
    api.server.shutdown()
    api.server.server_close()


class Clock:
    """Stands still until it is told otherwise, so that the tests need not wait for minutes."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watch(ray_address: str, api: Api, clock: Clock) -> Watch:
    return Watch(ray_address=ray_address, own=False, api_url=f"http://{api.address}", clock=clock)


@pytest.mark.parametrize("status", [0, 503])
def test_a_silent_api_is_said_then_begun_anew_and_one_that_returns_is_neither(
    api: Api, clock: Clock, status: int
) -> None:
    looked = watch(api.address, api, clock)
    assert looked.look().troubles == {}
    api.status = status
    assert looked.look().troubles == {}  # Serve replaces a replica in a moment
    clock.now += SAID_AFTER_S
    found = looked.look()
    assert "has not answered" in found.troubles["API"]
    assert found.anew is None
    api.status = 200
    assert looked.look().troubles == {}
    api.status = status
    looked.look()
    clock.now += ANEW_AFTER_S
    assert "API" in (looked.look().anew or "")


def test_a_joined_ray_that_is_away_is_waited_for(api: Api, clock: Clock) -> None:
    looked = watch("127.0.0.1:1", api, clock)
    api.status = 0
    looked.look()
    clock.now += ANEW_AFTER_S
    found = looked.look()
    assert set(found.troubles) == {"Ray", "API"}
    assert found.anew is None


def test_a_lock_is_held_over_the_change_of_programs_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import os, sys; from pathlib import Path; from cluster.locks import HeldLock; lock = HeldLock(Path(sys.argv[1]))\n"
        "if len(sys.argv) == 2:\n"
        "    assert lock.acquire()\n"
        "    os.execv(sys.executable, [sys.executable, '-c', os.environ['PROGRAM'], sys.argv[1], str(lock.hand_on())])\n"
        "lock.adopt(int(sys.argv[2])); print('held', flush=True); sys.stdin.read(1); lock.release()\n"
        "print('released', flush=True); sys.stdin.read(1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], env={"PROGRAM": program, "PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "held\n"
    assert is_held(path)
    process.stdin.write("..")
    process.stdin.flush()
    assert process.stdout.readline() == "released\n"
    assert HeldLock(path).acquire()
    process.communicate(timeout=60)


def state(**changes: object) -> State:
    return State(phase="ready", pid=1, create_time=1.0, started_at="x", api_url="http://x").model_copy(update=changes)


READY = {"status": "ready", "checks": {"redis": {"status": "ok", "milliseconds": 1.0}}}
DOWN = {"status": "not_ready", "checks": {"redis": {"status": "down", "message": "no answer within 3 s"}}}


def test_status_has_what_the_supervisor_found_and_what_readyz_says() -> None:
    assert Status("running", state(), ready=READY).troubles == {}
    assert Status("running", state(), ready=DOWN).troubles == {"redis": "no answer within 3 s"}
    assert Status("running", state()).troubles == {"API": "it does not answer /readyz"}
    troubled = state(troubles={"Ray": "its raylet ended"})
    assert Status("running", troubled, ready=READY).troubles == {"Ray": "its raylet ended"}
    assert Status("running", state(api_url=None)).troubles == {}  # of a `hyvve verify`, which has no API
    assert Status("stopped", troubled).troubles == {}


def test_what_is_shown_while_it_runs_is_the_state_of_each_part_and_the_batches() -> None:
    text = io.StringIO()
    with LiveStatus(Console(file=text, width=200)) as live:
        live.show(state(), Health(READY, 0))
        live.show(state(), Health(READY, 1, (Batch("running", 40, 100),)))
        live.show(state(), Health(DOWN, None))
        live.show(state(), Health(READY, 0))
    lines = [line.partition(" ")[2] for line in text.getvalue().splitlines()]
    assert lines == [
        "all ready",
        "Redis: no answer within 3 s; Batches: unknown, PostgreSQL does not answer",
        "all ready",
    ]
    text = io.StringIO()
    console = Console(file=text, width=200, force_terminal=True)
    with LiveStatus(console) as live:
        live.show(state(troubles={"Ray": "its raylet ended"}), Health(READY, 1, (Batch("running", 40, 100),)))
    assert "1 under way: running 40 of 100" in text.getvalue()
    assert "its raylet ended" in text.getvalue()


def test_whoever_starts_it_sees_every_part_come_up_and_where_to_go() -> None:
    def shown(found: State) -> str:
        text = io.StringIO()
        print_status(Console(file=text, width=200), Status("running", found, ready=READY))
        return text.getvalue()

    # As `supervisor.py` tells them; what it tells and nobody shows looks like a start that hangs.
    steps = dict.fromkeys(("PostgreSQL", "Redis", "Schema", "Ray", "API", "Verification", "Runs", "Schedules"), "up")
    text = shown(state(steps=steps))
    assert all(step in text for step in steps)
    assert {"http://x", "http://x/docs", "http://x/console/"} <= set(text.split())
    # A `hyvve verify` waits for no API.
    text = shown(state(steps={"Ray": "own", "Verification": "scorer local"}, api_url=None))
    assert "waiting" not in text
    assert "Schedules" not in text


RUNNING = {"HYVVE_DATA_DIR": "/tmp/x", "HYVVE_SCORER": "vote", "HYVVE_SCORER_MEMBERS": "local,openai:gpt-4o-mini"}


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({}, []),
        ({"HYVVE_SCORER_MEMBERS": "local,openai:gpt-4o"}, ["HYVVE_SCORER_MEMBERS"]),
        ({"HYVVE_SCORER_MAX_DISAGREEMENT": "10"}, ["HYVVE_SCORER_MAX_DISAGREEMENT"]),
        (
            {"HYVVE_MIN_CONFIDENCE": "0.9", "HYVVE_NEAR_DUPLICATE": "0.7"},
            ["HYVVE_MIN_CONFIDENCE", "HYVVE_NEAR_DUPLICATE"],
        ),
        ({"HYVVE_MAX_UPLOAD_MB": "3"}, ["HYVVE_MAX_UPLOAD_MB"]),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, ["HYVVE_SCORER_MEMBERS"]),
        ({"SQLALCHEMY_DATABASE_URL": "postgresql://a:b@db/x"}, ["SQLALCHEMY_DATABASE_URL"]),
        # How fast it goes is the running Hyvve's affair.
        ({"HYVVE_CHUNK_SIZE": "3", "HYVVE_SCORER_CONCURRENCY": "2", "HYVVE_WORKER_CPUS": "2"}, []),
    ],
)
def test_settings_that_would_judge_otherwise_are_named(changes: dict[str, str], differ: list[str]) -> None:
    running = judging.described(Settings.from_environment(RUNNING))
    asked = judging.described(Settings.from_environment(RUNNING | changes))
    assert [name for name, _, _ in judging.differences(running, asked)] == differ


@pytest.mark.parametrize(
    ("scorer", "address"),
    [("openai", "OPENAI_BASE_URL"), ("gemini", "GOOGLE_GEMINI_BASE_URL"), ("atoma", "ATOMA_BASE_URL")],
)
def test_the_same_model_at_another_address_judges_otherwise(scorer: str, address: str) -> None:
    here, there = (
        judging.described(
            Settings.from_environment(
                {"HYVVE_DATA_DIR": "/tmp/x", "HYVVE_SCORER": scorer, address: f"https://{name}.example"}
            )
        )
        for name in ("here", "there")
    )
    assert [name for name, _, _ in judging.differences(there, here)] == [address]


def test_no_secret_is_written_down() -> None:
    secrets = {
        "SQLALCHEMY_DATABASE_URL": "postgresql://a:hunter2@db/x", "REDIS_URL": "redis://:hunter2@cache:1/0",
        "OPENAI_API_KEY": "hunter2", "WALRUS_JWT_SECRET": "hunter2",
    }  # fmt: skip
    found = judging.described(Settings.from_environment(RUNNING | secrets))
    assert "hunter2" not in str(found)
    assert found["SQLALCHEMY_DATABASE_URL"] == "postgresql://db/x"
