"""Around every route: callers, origins, dependencies that are down, addresses that do not exist."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from actors.settings import VerificationSettings
from serve.app import build_app
from serve.auth import key_name
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.serve.bodies import campaign_body, create
from tests.serve.length_verification import LengthVerification


def asked(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://hyvve.test"
    )


def built(database: Database, storage: StorageSettings, **settings: Any) -> FastAPI:
    return build_app(
        database=database, storage_settings=storage, serve_settings=ServeSettings(**settings),
        verification_settings=VerificationSettings(), verification=LengthVerification(database),
    )  # fmt: skip


async def test_health_needs_no_key_and_names_each_dependency(
    client: httpx.AsyncClient, storage_settings: StorageSettings
) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    ready = await client.get("/readyz")
    assert ready.status_code == 200
    assert {name: check["status"] for name, check in ready.json()["checks"].items()} == {
        "postgresql": "ok", "redis": "ok", "blob_store": "ok", "cluster": "ok",
    }  # fmt: skip


async def test_a_dependency_that_is_down_is_503_with_a_time_to_try_again(tmp_path: Path) -> None:
    nowhere = StorageSettings(
        database_url="postgresql://nobody@127.0.0.1:9/none", redis_url=f"unix://{tmp_path}/none.sock", data_dir=tmp_path
    )
    database = Database(nowhere.database_url)
    async with asked(built(database, nowhere, retry_after_s=7)) as client:
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        checks = ready.json()["checks"]
        assert {name: check["status"] for name, check in checks.items()} == {
            "postgresql": "down", "redis": "down", "blob_store": "ok", "cluster": "ok",
        }  # fmt: skip
        assert "REDIS_URL" in checks["redis"]["message"]
        assert "SQLALCHEMY_DATABASE_URL" in checks["postgresql"]["message"]
        assert (await client.get("/healthz")).status_code == 200
        for response in (
            await client.get("/campaigns/x"),
            await client.get("/campaigns/all"),
            await client.post("/campaigns/create-campaigns", json=campaign_body()),
        ):
            assert response.status_code == 503
            assert response.headers["retry-after"] == "7"
            assert response.headers["content-type"] == "application/problem+json"
            assert "127.0.0.1" not in response.text
    await database.close()


async def test_with_keys_every_call_needs_one_and_none_is_told(
    database: Database, storage_settings: StorageSettings
) -> None:
    app = built(database, storage_settings, api_keys=("s3cret", "other"))
    async with app.router.lifespan_context(app), asked(app) as client:
        for path in ("/campaigns/all", "/campaigns/x", "/campaigns/get-contributions/x", "/verification-batches/x"):
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized"), path
            assert refused.headers["www-authenticate"] == "Bearer"
            wrong = await client.get(path, headers={"X-API-Key": "guess"})
            assert wrong.status_code == 401
            assert "s3cret" not in wrong.text
        assert (await client.get("/campaigns/all", headers={"Authorization": "Bearer s3cret"})).status_code == 200
        assert (await client.get("/campaigns/x", headers={"X-API-Key": "other"})).status_code == 404
        assert (await client.get("/healthz")).status_code == 200


async def test_a_new_key_before_the_others_leaves_each_clients_repeated_writes_its_own(
    database: Database, storage_settings: StorageSettings
) -> None:
    """Keys that were named by their place would swap clients: one's repeat would answer another's, or be done twice."""
    first: dict[str, Any] = {}
    body = {"onchain_campaign_id": "one"}
    for keys in (("ann's", "bob's"), ("new", "bob's", "ann's")):
        app = built(database, storage_settings, api_keys=keys)
        async with app.router.lifespan_context(app), asked(app) as client:
            if not first:
                await client.post(
                    "/campaigns/create-campaigns", json=campaign_body("one"), headers={"X-API-Key": keys[0]}
                )
            for key in keys:
                headers = {"X-API-Key": key, "Idempotency-Key": "1"}
                answer = await client.post("/agent-workflows/verify-campaign-dataset", json=body, headers=headers)
                assert answer.status_code == 202, answer.text
                assert ("idempotency-replayed" in answer.headers) == (key in first)
                assert first.setdefault(key, answer.json()) == answer.json()
    assert len({each["batch_id"] for each in first.values()}) == 3


def test_a_keys_name_does_not_hold_the_key() -> None:
    name = key_name("s3cret")
    assert re.fullmatch(r"key-[0-9a-f]{12}", name)
    assert name[4:] not in hashlib.sha256(b"s3cret").hexdigest()
    assert name != key_name("s3cret2")


async def test_browsers_of_the_configured_origin_alone_may_ask(client: httpx.AsyncClient) -> None:
    await create(client)
    ours, foreign = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
    for path, status in (("/campaigns/all", 200), ("/campaigns/campaign_1740392301784", 200), ("/campaigns/no", 404)):
        answer = await client.get(path, headers=ours)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-origin" not in (await client.get(path, headers=foreign)).headers
    preflight = {**ours, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}
    assert (await client.options("/campaigns/create-campaigns", headers=preflight)).status_code == 200


async def test_unknown_addresses_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    for response, status in (
        (await client.get("/nope"), 404),
        (await client.get("/campaigns/a/b/c"), 404),
        (await client.put("/campaigns/all"), 405),
        (await client.post("/campaigns/x", json={}), 405),
    ):
        assert response.status_code == status
        assert response.json()["status"] == status
        assert response.json()["message"]


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 50_000, b"", b"null", b'{"title": "\\ud800"}']
)
async def test_what_is_not_json_is_422(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post(
        "/campaigns/create-campaigns", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 422, response.text[:200]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "ü"])
async def test_an_unusable_idempotency_key_is_422(client: httpx.AsyncClient, key: str) -> None:
    response = await client.post(
        "/campaigns/create-campaigns",
        json=campaign_body(),
        headers={"Idempotency-Key": key.encode()},  # type: ignore[arg-type]  # httpx takes bytes
    )
    assert response.status_code == 422


async def test_a_defect_is_a_500_that_tells_nothing(client: httpx.AsyncClient, app: FastAPI) -> None:
    @app.get("/defect")
    async def defect() -> None:
        raise RuntimeError("postgresql://user:password@host")

    response = await client.get("/defect", headers={"Origin": "https://app.example"})
    assert response.status_code == 500
    assert response.json()["code"] == "internal"
    assert "password" not in response.text
    assert response.headers["access-control-allow-origin"] == "https://app.example"
