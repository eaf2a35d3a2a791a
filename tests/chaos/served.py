"""The API by Ray Serve, for tests that kill its parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ray.serve

from actors.runs.kinds import RunSetup
from actors.settings import VerificationSettings
from serve.deployment import NAME, deployment
from serve.settings import ServeSettings
from tests.chaos.run_kinds import open_verification
from tests.cluster.running import free_port


@contextmanager
def served(setup: RunSetup) -> Iterator[str]:
    """Where the API is served, by one replica, on the cluster that is running."""
    settings = ServeSettings(port=free_port())
    ray.serve.start(
        http_options={"host": settings.host, "port": settings.port}, logging_config={"log_level": "WARNING"}
    )
    app = deployment(
        storage_settings=setup.storage, serve_settings=settings, verification_settings=VerificationSettings(),
        open_verification=open_verification, run_settings=setup.actors.runs,
    )  # fmt: skip
    ray.serve.run(app, name=NAME, route_prefix="/")
    yield f"http://{settings.host}:{settings.port}"
    ray.serve.shutdown()  # type: ignore[no-untyped-call]
