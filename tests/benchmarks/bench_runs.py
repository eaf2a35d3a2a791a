"""`make bench-runs`: what durable steps cost, by engine.

One run, one machine, one embedded PostgreSQL with `fsync` on. The contenders, each in a process of its own, take turns
with the same ten trivial steps; ratios are taken within a round, and their medians count:

- the LangGraph graph without a checkpointer;
- the same with a checkpointer that keeps nothing, which shows what LangGraph itself spends on one;
- the same with `GroupCommitSaver`;
- the same with LangGraph's own AsyncPostgresSaver on a pool;
- the same steps as a dbos workflow.

All are synchronous: a step begins when the one before it is on disk. Exits 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from sqlalchemy import make_url

from cluster.embedded import start_postgres, stop_postgres
from tests.benchmarks.run_engines import STEPS

_AT_ONCE = 100
# Targets.
_MIN_OF_NONE = 0.7
_MIN_OF_LANGGRAPH = 3.0
_MIN_OF_DBOS = 5.0
_MAX_LATENCY_OF_LANGGRAPH = 1.5

_TITLES = {
    "none": "no checkpointer", "nothing": "one that keeps nothing", "ours": "GroupCommitSaver", "langgraph": "AsyncPostgresSaver", "dbos": "dbos",
}  # fmt: skip
# Slower ones get fewer runs, so that everybody's turn is about as long.
_SHARE = {"none": 1.0, "nothing": 1.0, "ours": 1.0, "langgraph": 0.25, "dbos": 0.25}


@dataclass
class Contender:
    process: subprocess.Popen[str]
    rates: list[float] = field(default_factory=list)  # steps/s, 100 runs at once
    latencies: list[float] = field(default_factory=list)  # ms per step of a run alone

    def seconds(self, runs: int, at_once: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{runs} {at_once}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a contender ended early; what it said stands above")
        return float(answer)


@contextmanager
def postgres() -> Iterator[str]:
    """URL of an embedded PostgreSQL, by libpq's scheme."""
    directory = Path(tempfile.mkdtemp(prefix="hyb", dir="/tmp"))
    directory.chmod(0o755)
    try:
        url = make_url(start_postgres(directory)).set(drivername="postgresql")
        yield url.render_as_string(hide_password=False)
    finally:
        stop_postgres(directory)
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def contenders(database_url: str) -> Iterator[dict[str, Contender]]:
    """All of them, warm."""
    started: dict[str, Contender] = {}
    try:
        for name, title in _TITLES.items():
            command = [sys.executable, "-m", "tests.benchmarks.run_engines", name, database_url]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            started[name] = Contender(process)
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"{title} did not start; what it said stands above")
        yield started
    finally:
        for contender in started.values():
            if contender.process.stdin is not None:
                contender.process.stdin.close()
        for contender in started.values():
            try:
                contender.process.wait(20)
            except subprocess.TimeoutExpired:
                contender.process.kill()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--runs", type=int, default=300, help="of each round, of the faster contenders")
    arguments.add_argument("--quick", action="store_true", help="five rounds")
    given = arguments.parse_args()
    rounds = 5 if given.quick else given.rounds
    with postgres() as url, contenders(url) as all_:
        for number in range(rounds):
            for name, contender in all_.items():
                count = max(int(given.runs * _SHARE[name]), _AT_ONCE)
                contender.rates.append(count * STEPS / contender.seconds(count, _AT_ONCE))
                contender.latencies.append(contender.seconds(20, 1) / 20 / STEPS * 1000)
            row = ", ".join(f"{_TITLES[name]} {each.rates[-1]:.0f}" for name, each in all_.items())
            print(f"round {number + 1}, steps/s: {row}", flush=True)
        return report(all_)


def report(all_: dict[str, Contender]) -> int:
    print(f"\n{STEPS} trivial steps, {_AT_ONCE} runs at once, {os.cpu_count()} cores, medians")
    for name, each in all_.items():
        print(
            f"  {_TITLES[name]:<22} {median(each.rates):>7.0f} steps/s   alone {median(each.latencies):5.2f} ms a step"
        )  # fmt: skip
    ours = all_["ours"]
    checks = [
        ("no checkpointer, steps/s", _ratio(ours.rates, all_["none"].rates), ">=", _MIN_OF_NONE),
        ("AsyncPostgresSaver, steps/s", _ratio(ours.rates, all_["langgraph"].rates), ">=", _MIN_OF_LANGGRAPH),
        ("dbos, steps/s", _ratio(ours.rates, all_["dbos"].rates), ">=", _MIN_OF_DBOS),
        (
            "AsyncPostgresSaver, alone", _ratio(ours.latencies, all_["langgraph"].latencies),
            "<=", _MAX_LATENCY_OF_LANGGRAPH,
        ),
    ]  # fmt: skip
    print(f"  one that keeps nothing / no checkpointer   {_ratio(all_['nothing'].rates, all_['none'].rates):>6.2f}")
    missed = False
    for title, value, relation, target in checks:
        met = value >= target if relation == ">=" else value <= target
        missed |= not met
        print(f"  ours / {title:<28} {value:>6.2f}   target {relation} {target}   {'met' if met else 'MISSED'}")
    return 1 if missed else 0


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of neighbours in time: a machine's slow minute slows both."""
    return median(our / their for our, their in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    sys.exit(main())
