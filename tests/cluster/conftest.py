"""A data directory of a test's own, and the `hyvve` command as a user runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster import embedded
from cluster.directory import DataDirectory

OURS = ("HYVVE_", "SQLALCHEMY_", "REDIS_", "RAY_", "WALRUS_", "OPENAI_", "GOOGLE_", "ATOMA", "_HYVVE")
Hyvve = Callable[..., subprocess.CompletedProcess[str]]


def clean_environment(**given: str) -> dict[str, str]:
    """This process's environment without anything that Hyvve reads, and with what is given."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(OURS)}, **given}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Removed at the end, with whatever embedded service a test left running in it."""
    directory = Path(tempfile.mkdtemp(prefix="hyc", dir="/tmp"))
    yield directory / "data"
    if (directory / "data").is_dir():
        embedded.stop_redis(directory / "data")
        embedded.stop_postgres(directory / "data")
    shutil.rmtree(DataDirectory.at(directory / "data").runtime, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def hyvve(data_dir: Path) -> Hyvve:
    """`hyvve(*arguments, NAME=value…)` runs the command in this data directory and answers what it printed."""

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("hyvve")), *arguments],
            env=clean_environment(HYVVE_DATA_DIR=str(data_dir), COLUMNS="200") | environ,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    return run
