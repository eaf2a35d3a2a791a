"""What a process loads before the first request. `hyvve up` waits for each second of it, in three processes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route

from actors.agents.state_keys import STATE_KEYS
from actors.agents.workflow_state import WorkflowState

# As `cluster.ray_cluster` deploys it and Serve builds it; nothing is connected to before the first request. Then a
# fork, whose input is checked on the event loop of all requests.
_REPLICA = """
import asyncio
from pathlib import Path
from actors.errors import RunInputError
from actors.forks import FORKS
from actors.kind_names import WORKFLOW
from actors.settings import AgentsSettings, ProviderSettings, ReviewSettings, RunSettings, VerificationSettings
import actors.verification.actor
from actors.verification.opening import open_on_cluster
from serve.deployment import Api
from serve.settings import ServeSettings
from storage.settings import StorageSettings

nowhere = StorageSettings(database_url="postgresql://127.0.0.1:9/x", redis_url="redis://127.0.0.1:9", data_dir=Path())
replica = Api(
    nowhere, ServeSettings(), VerificationSettings(), open_on_cluster, RunSettings(), agents_settings=AgentsSettings(),
    provider_settings=ProviderSettings(), review_settings=ReviewSettings(),
)
assert asyncio.run(replica.__serve_build_asgi_app__()).router.routes
try:
    FORKS[WORKFLOW](None, {"scratchpad": {}})
except RunInputError as refused:
    assert "workflow_scratchpad" in refused.message
"""


@pytest.mark.parametrize(
    ("loading", "unneeded"),
    [
        pytest.param("import serve.ingress", "fastapi pydantic sqlalchemy serve.app", id="a proxy loads no API"),
        pytest.param("import serve.deployment", "serve.app sqlalchemy langgraph", id="who deploys loads no API"),
        pytest.param(
            _REPLICA,
            "langgraph langchain_core langsmith torch transformers",
            id="a replica drives no graphs and asks no models",
        ),
    ],
)
def test_a_process_loads_what_it_needs(loading: str, unneeded: str) -> None:
    code = f"import sys\n{loading}\nprint([name for name in {unneeded.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_keys_of_a_workflows_state_are_those_that_forks_may_give() -> None:
    assert tuple(WorkflowState.__annotations__) == STATE_KEYS


def test_the_first_request_makes_no_route_again(app: FastAPI) -> None:
    """A router that is included is another kind of route, which makes each of its own anew when one is first asked."""
    assert [each for each in app.router.routes if not isinstance(each, APIRoute | Route | Mount)] == []
    assert len(app.router.routes) > 50
