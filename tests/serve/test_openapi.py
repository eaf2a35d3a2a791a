"""The OpenAPI document tells the truth: whatever it allows or forbids, a real server answers as documented, never 5xx."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from actors.runs.service import Runs
from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.inprocess import InProcessVerification
from actors.verification.workplace import Setup
from serve.app import build_app
from serve.settings import ServeSettings
from storage import runs
from storage.clock import now
from storage.engine import Database
from storage.run_events import RunEvent
from storage.settings import StorageSettings
from tests.actors.verification.population import put
from tests.serve.blind_scorer import BlindScorer
from tests.serve.bodies import campaign_body, contribution_body
from tests.serve.length_verification import LengthVerification

CAMPAIGN = "campaign_1740392301784"
_SETTINGS = VerificationSettings(scorer=ScorerSettings(kind="openai"))
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(params=["length"])
def server(request: pytest.FixtureRequest, storage_settings: StorageSettings) -> Iterator[str]:
    """The address of the app under a real uvicorn, on a loop of its own; "real" is over the real verification."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        database = Database(storage_settings.database_url)
        judging = InProcessVerification(
            Setup(storage=storage_settings, verification=_SETTINGS, open_scorer=BlindScorer)
        )
        app = build_app(
            database=database, storage_settings=storage_settings, serve_settings=ServeSettings(run_wait_s=0),
            verification_settings=_SETTINGS,
            verification=judging if request.param == "real" else LengthVerification(database),
        )  # fmt: skip
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
        found["server"] = server
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        found["port"] = server.servers[0].sockets[0].getsockname()[1]
        ready.set()
        await running
        await judging.close()
        await database.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    yield f"http://127.0.0.1:{found['port']}"
    found["server"].should_exit = True
    thread.join(60)


def test_every_error_is_documented_as_a_problem(server: str) -> None:
    document = httpx.get(f"{server}/openapi.json", timeout=60).json()
    for path, operations in document["paths"].items():
        if path in {"/healthz", "/readyz"}:
            continue
        for method, operation in operations.items():
            responses = operation["responses"]
            assert {"400", "401", "413", "422", "500", "503"} <= set(responses), (method, path)
            for status, response in responses.items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"], (method, path, status)
    assert "Problem" in document["components"]["schemas"]


def test_no_request_that_schemathesis_makes_is_a_5xx_or_undocumented(
    server: str, storage_settings: StorageSettings
) -> None:
    with httpx.Client(base_url=server, timeout=60) as client:
        assert client.post("/campaigns/create-campaigns", json=campaign_body()).status_code == 201
        submitted = client.post("/campaigns/submit-contributions", json=contribution_body()).json()
        batch = client.post("/agent-workflows/verify-campaign-dataset", json={"onchain_campaign_id": CAMPAIGN}).json()
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    # Random ids name nothing: half of the requests name what exists, so that they get further.
    existing = {
        "onchain_campaign_id": CAMPAIGN, "campaign_id": CAMPAIGN, "batch_id": batch["batch_id"],
        "contribution_id": submitted["contribution_id"], "wallet": "0xc", "wallet_address": "0xa",
        "run_id": asyncio.run(ended_run(storage_settings)),
        # One that no request can remove.
        "workflow_id_api": "AIDatasetContributionVerifier_SystemDefault",
    }  # fmt: skip
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) >= 29
    outcomes = fuzz(server, operations, existing, examples=12)
    assert {200, 202, 404, 422} <= set(outcomes), "the requests did not get anywhere"


async def ended_run(storage: StorageSettings) -> str:
    """A run of the system's that has ended, for a stream of another would not end."""
    database = Database(storage.database_url)
    service = Runs(database, redis_url=storage.redis_url)
    run_id = (await service.start("counting", {}, {})).run_id
    async with database.begin() as session:
        run = await runs.locked(session, run_id)
        run.status, run.event_seq, run.ended_at, run.output = "completed", 2, now(), {}
        session.add(RunEvent(run_id=run_id, seq=2, type="run.completed", step=None, data={}))
    await service.close()
    await database.close()
    return str(run_id)


@pytest.mark.parametrize("server", ["real"], indirect=True)
def test_no_file_that_is_really_verified_is_a_5xx_or_undocumented(
    server: str, storage_settings: StorageSettings
) -> None:
    known = b"a story about the sea, mark 95"
    # None that makes the scorer fail: that is a 503 to older clients, and no file's fault (test_older_clients.py).
    files = st.sampled_from(
        [known, b"another story, mark 72", b"a thin one, mark 20", b"mark 100", b"PK\x03\x04\x00", b"%PDF-1.7", b""]
    ) | st.sampled_from([_picture((5, 5)), _picture((300, 200)), _picture((300, 200))[:60]]) | st.binary(max_size=200)  # fmt: skip
    with httpx.Client(base_url=server, timeout=60) as client:
        assert client.post("/campaigns/create-campaigns", json=campaign_body()).status_code == 201
        body = contribution_body(data_url=put(storage_settings, known))
        submitted = client.post("/campaigns/submit-contributions", json=body).json()
        named = {"contribution_id": submitted["contribution_id"]}
        judged = client.post("/agent-workflows/verify-contribution", json=named).json()
        assert judged["decision"] == "ACCEPT", judged
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    existing = {"onchain_campaign_id": CAMPAIGN, "wallet_address": "0xa", **named}
    operations = [
        operation for found in schema.get_all_operations() if isinstance(found, Ok)
        if (operation := found.ok()).path.startswith(("/ai-verification/", "/agent-workflows/"))
    ]  # fmt: skip
    assert len(operations) >= 5
    outcomes = fuzz(server, operations, existing, examples=20, files=files)
    assert {200, 404, 415, 422} <= set(outcomes), "the requests did not get anywhere"


def fuzz(
    server: str,
    operations: list[Any],
    existing: dict[str, str],
    *,
    examples: int,
    files: st.SearchStrategy[bytes] | None = None,
) -> Counter[int]:
    """Ask every operation in every way; fails on the first answer that is a 5xx or is not as documented."""
    outcomes: Counter[int] = Counter()
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(
                case=operation.as_strategy(generation_mode=mode),
                named=st.booleans(),
                file=st.none() if files is None else files,
            )
            def ask(case: Any, named: bool, file: bytes | None) -> None:
                if named:
                    for part in (case.path_parameters, case.body):
                        if isinstance(part, dict):
                            part.update({name: value for name, value in existing.items() if name in part})
                            part.update({name: file for name in ("file", "submission_file") if file and name in part})
                response = case.call(base_url=server, timeout=60)
                outcomes[response.status_code] += 1
                case.validate_response(response, checks=_CHECKS)

            try:
                ask()
            except Exception as error:
                # Where a document forbids nothing (no parameters), there is nothing wrong to be sent.
                if "Unsatisfiable" not in type(error).__name__:
                    raise
    return outcomes


def _picture(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").resize(size).save(file, "PNG")
    return file.getvalue()
