"""What a process loads before the first request. `hyvve up` waits for each second of it, in three processes."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("loaded", "unneeded"),
    [
        pytest.param("serve.ingress", "fastapi pydantic sqlalchemy serve.app", id="a proxy loads no API"),
        pytest.param("serve.deployment", "serve.app sqlalchemy langgraph", id="who deploys loads no API"),
        pytest.param(
            "serve.app, actors.verification.actor",
            "langgraph langchain_core langsmith torch transformers",
            id="a replica drives no graphs and asks no models",
        ),
    ],
)
def test_a_process_loads_what_it_needs(loaded: str, unneeded: str) -> None:
    code = f"import sys, {loaded}\nprint([name for name in {unneeded.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
