"""Older clients read one number that passes at 80: it must say what the verdict says. Real verification, no stand-in."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from PIL import Image

from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.inprocess import InProcessVerification
from actors.verification.workplace import Setup
from serve.app import build_app
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.verification.population import distinct, put
from tests.serve.blind_scorer import BlindScorer
from tests.serve.bodies import create, submit

CAMPAIGN = "campaign_1740392301784"
OLDER = "/ai-verification/contributions"


@pytest.fixture
async def client(database: Database, storage_settings: StorageSettings) -> AsyncIterator[httpx.AsyncClient]:
    settings = VerificationSettings(scorer=ScorerSettings(kind="openai"))
    service = InProcessVerification(Setup(storage=storage_settings, verification=settings, open_scorer=BlindScorer))
    app = build_app(
        database=database, storage_settings=storage_settings, serve_settings=ServeSettings(),
        verification_settings=settings, verification=service,
    )  # fmt: skip
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
        yield client
    await service.close()


async def ask(client: httpx.AsyncClient, data: bytes, path: str = "verify-text", name: str = "a.txt") -> httpx.Response:
    form = {"onchain_campaign_id": CAMPAIGN, "wallet_address": "0xz"}
    return await client.post(f"{OLDER}/{path}", data=form, files={"file": (name, data)})


async def contribute(client: httpx.AsyncClient, storage: StorageSettings, data: bytes) -> Any:
    """A contribution of these bytes that was read and judged."""
    made = await submit(client, data_url=put(storage, data))
    body = {"contribution_id": made["contribution_id"]}
    judged = await client.post("/agent-workflows/verify-contribution", json=body)
    assert judged.status_code == 200, judged.text
    return judged.json()


@pytest.mark.parametrize(
    ("required", "mark", "decision"),
    [(60, 72, "ACCEPT"), (90, 82, "REJECT"), (90, 88, "REVIEW"), (70, 95, "ACCEPT"), (70, 30, "REJECT")],
)
async def test_the_number_passes_where_the_verdict_accepts_and_nowhere_else(
    client: httpx.AsyncClient, required: int, mark: int, decision: str
) -> None:
    await create(client, required_quality_score=required)
    answer = (await ask(client, f"a story about the sea, mark {mark}".encode())).json()
    assert answer["decision"] == decision
    assert (answer["verification_score"] >= 80) is (decision == "ACCEPT")
    assert abs(answer["score"] - mark) <= 1, "the score itself is kept"
    if mark in {95, 30}:
        assert answer["verification_score"] == answer["score"]


async def test_a_near_copy_fails_whatever_its_score(
    client: httpx.AsyncClient, storage_settings: StorageSettings
) -> None:
    await create(client)
    original = distinct(1, words=400, asking="mark 95")[0]
    await contribute(client, storage_settings, original)
    answer = (await ask(client, original + b" indeed")).json()
    assert (answer["decision"], answer["verification_score"]) == ("REJECT", 79)
    assert answer["score"] > 90
    assert "copy" in answer["reasoning"]


async def test_an_exact_copy_is_answered_and_fails(
    client: httpx.AsyncClient, storage_settings: StorageSettings
) -> None:
    await create(client)
    await contribute(client, storage_settings, b"a story about the sea, mark 95")
    copy = await ask(client, b"a story about the sea, mark 95")
    assert copy.status_code == 200
    answer = copy.json()
    assert (answer["decision"], answer["verification_score"], answer["score"]) == ("REJECT", 0, None)
    assert "copy" in answer["reasoning"]


async def test_an_image_that_no_model_can_see_is_for_a_person(client: httpx.AsyncClient) -> None:
    await create(client)
    image = await ask(client, picture(), "verify-image", "a.png")
    assert image.status_code == 200
    answer = image.json()
    assert (answer["decision"], answer["verification_score"], answer["score"]) == ("REVIEW", 0, None)
    newer = await client.post(
        "/ai-verification/verify-submission",
        data={"onchain_campaign_id": CAMPAIGN, "wallet_address": "0xz"},
        files={"submission_file": ("a.png", picture())},
    )
    assert (newer.status_code, newer.json()["decision"], newer.json()["score"]) == (200, "REVIEW", None)


@pytest.mark.parametrize(
    ("words", "status"), [(b"refuse this one", 503), (b"mark 101", 503), (b"a forbidden one", 502)]
)
async def test_a_provider_that_fails_is_no_number(client: httpx.AsyncClient, words: bytes, status: int) -> None:
    await create(client)
    response = await ask(client, words)
    assert response.status_code == status
    assert ("retry-after" in response.headers) is (status == 503)
    assert "verification_score" not in response.json()


@pytest.mark.parametrize(
    ("data", "name", "path"),
    [
        (b"PK\x03\x04" + b"\x00" * 40, "a.zip", "verify-image"),
        (b"PK\x03\x04" + b"\x00" * 40, "a.zip", "verify-text"),
        (b"<svg xmlns='x'></svg>", "a.svg", "verify-image"),
        (b"\x01\x02\x03\x00\xfe" * 40, "a.dat", "verify-image"),
        (b"", "a.png", "verify-image"),
        (b"only words", "a.png", "verify-image"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, "a.txt", "verify-text"),
    ],
)
async def test_nobody_is_sent_to_an_address_that_refuses_as_well(
    client: httpx.AsyncClient, data: bytes, name: str, path: str
) -> None:
    await create(client)
    answer = await ask(client, data, path, name)
    assert answer.status_code == 415
    assert "send it to" not in answer.json()["message"]
    other = "verify-image" if path == "verify-text" else "verify-text"
    assert (await ask(client, data, other, name)).status_code == 415


async def test_the_other_address_is_named_where_it_answers(client: httpx.AsyncClient) -> None:
    await create(client)
    for data, name, path, other in (
        (b"a story, mark 90", "a.txt", "verify-image", "verify-text"),
        (picture(), "a.png", "verify-text", "verify-image"),
    ):
        refused = await ask(client, data, path, name)
        assert (refused.status_code, refused.json()["code"]) == (415, "wrong_kind")
        assert f"send it to {OLDER}/{other}" in refused.json()["message"]
        assert (await ask(client, data, other, name)).status_code == 200


def picture() -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").resize((320, 320)).save(file, "PNG")
    return file.getvalue()
