"""/readyz says of each dependency whether it answers, and in a sentence what to do where it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from actors.errors import ClusterUnavailableError
from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.actor import RayVerification, ensure_runner, stop_actors
from actors.verification.workplace import Setup
from serve.app import build_app
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings, WalrusSettings
from tests.actors.verification.scripted_scorer import ScriptedScorer
from tests.conftest import RayCluster
from tests.serve.length_verification import LengthVerification
from tests.stubs.http import Reply, StubServer


class Unready(LengthVerification):
    async def ready(self) -> None:
        raise ClusterUnavailableError("the cluster's batch runner does not answer")


class Silent(LengthVerification):
    async def ready(self) -> None:
        await asyncio.Event().wait()


async def asked(
    database: Database, storage: StorageSettings, verification: LengthVerification, **settings: Any
) -> tuple[int, dict[str, Any]]:
    app = build_app(
        database=database, storage_settings=storage, serve_settings=ServeSettings(**settings),
        verification_settings=VerificationSettings(), verification=verification,
    )  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hyvve.test") as client:
        answer = await client.get("/readyz")
    return answer.status_code, answer.json()["checks"]


@pytest.mark.timed
@pytest.mark.parametrize("kind", [Unready, Silent])
async def test_a_cluster_that_drives_no_batches_is_named(
    database: Database, storage_settings: StorageSettings, kind: type[LengthVerification]
) -> None:
    status, checks = await asked(database, storage_settings, kind(database), dependency_timeout_s=1.5)
    assert status == 503
    assert {name: check["status"] for name, check in checks.items()} == {
        "postgresql": "ok", "redis": "ok", "blob_store": "ok", "cluster": "down",
    }  # fmt: skip
    assert "batch runner does not answer" in checks["cluster"]["message"]
    assert checks["cluster"]["milliseconds"] < 20_000


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_walrus_is_reachable_whatever_its_aggregator_answers(
    database: Database, storage_settings: StorageSettings, status: int
) -> None:
    async with StubServer(lambda _: Reply(b"", status)) as stub:
        status, checks = await asked(database, on_walrus(storage_settings, stub.port), LengthVerification(database))
        assert (status, checks["blob_store"]["status"]) == (200, "ok")
    status, checks = await asked(database, on_walrus(storage_settings, stub.port), LengthVerification(database))
    assert (status, checks["blob_store"]["status"]) == (503, "down")
    assert "WALRUS_AGGREGATOR_URL" in checks["blob_store"]["message"]
    assert str(stub.port) not in checks["blob_store"]["message"]


def on_walrus(storage: StorageSettings, port: int) -> StorageSettings:
    url = f"http://127.0.0.1:{port}"
    walrus = WalrusSettings(publisher_url=url, aggregator_url=url)
    return storage.model_copy(update={"blob_store": "walrus", "walrus": walrus})


async def test_a_data_directory_that_is_gone_is_named(database: Database, storage_settings: StorageSettings) -> None:
    gone = storage_settings.model_copy(update={"data_dir": storage_settings.data_dir / "gone"})
    status, checks = await asked(database, gone, LengthVerification(database))
    assert (status, checks["blob_store"]["status"]) == (503, "down")
    assert "data directory" in checks["blob_store"]["message"]


@pytest.mark.cluster
async def test_the_runner_on_a_cluster_is_asked_started_and_never_ended(
    ray_cluster: RayCluster, database: Database, storage_settings: StorageSettings
) -> None:
    settings = VerificationSettings(scorer=ScorerSettings(kind="openai"))
    setup = Setup(storage=storage_settings, verification=settings, open_scorer=ScriptedScorer)
    service = RayVerification(database, storage_settings, settings, open_scorer=ScriptedScorer)
    runner = await asyncio.to_thread(ensure_runner, setup)
    await service.ready()
    other = RayVerification(database, storage_settings, VerificationSettings(), open_scorer=ScriptedScorer)
    with pytest.raises(ClusterUnavailableError, match="other settings"):
        await other.ready()
    assert await runner.has.remote(setup), "being asked for, it was replaced"
    await asyncio.to_thread(stop_actors, setup)
    for _ in range(60):  # it starts one; the first question may not wait for that
        try:
            await service.ready()
        except ClusterUnavailableError:
            await asyncio.sleep(0.5)
        else:
            break
    await service.ready()
    await asyncio.to_thread(stop_actors, setup)
