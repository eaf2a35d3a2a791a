"""Uploads are held in memory: how many at once, for how long, and what is believed of what they say they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from fastapi import UploadFile
from starlette.datastructures import Headers

from actors.settings import ReadLimits
from actors.verification.read import read
from serve import uploads
from serve.settings import ServeSettings
from storage.engine import Database
from storage.verifications import ResultRow
from tests.serve.bodies import create
from tests.serve.length_verification import LengthVerification

SUBMISSION = "/ai-verification/verify-submission"
FORM = {"onchain_campaign_id": "campaign_1740392301784", "wallet_address": "0xa"}


class Slow(LengthVerification):
    """A verification whose judge is busy until it is told to go on."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.busy = asyncio.Semaphore(0)
        self.begun = asyncio.Event()

    async def verify_submission(self, **given: Any) -> ResultRow:
        self.begun.set()
        async with self.busy:
            return await super().verify_submission(**given)


@pytest.fixture
def serve_settings() -> ServeSettings:
    return ServeSettings(max_uploads=1, upload_timeout_s=0.5, retry_after_s=7)


@pytest.fixture
def verification(database: Database) -> Slow:
    return Slow(database)


def form(data: bytes) -> dict[str, Any]:
    return {"data": FORM, "files": {"submission_file": ("a.txt", data)}}


class Endless:
    """A body that never ends; `read` is how much of it was asked for."""

    def __init__(self, pause_s: float) -> None:
        self.headers = {"content-type": "multipart/form-data; boundary=b"}
        self.read = 0
        self._pause_s = pause_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.read += 1
        yield b'--b\r\nContent-Disposition: form-data; name="submission_file"; filename="a"\r\n\r\n'
        while True:
            await asyncio.sleep(self._pause_s)
            self.read += 1
            yield b"x"


async def test_one_upload_too_many_is_refused_before_it_is_read(client: httpx.AsyncClient, verification: Slow) -> None:
    await create(client)
    held = asyncio.create_task(client.post(SUBMISSION, **form(b"x" * 90)))
    await asyncio.wait_for(verification.begun.wait(), 10)
    body = Endless(0)
    refused = await client.post(SUBMISSION, content=body, headers=body.headers)
    assert (refused.status_code, refused.headers["retry-after"], body.read) == (503, "7", 0)
    assert refused.headers["content-type"] == "application/problem+json"
    assert "1 uploads are under way here" in refused.json()["message"]
    # Nothing else waits for uploads, and what holds one may take longer than it may take to arrive.
    assert (await client.get("/campaigns/all")).status_code == 200
    assert (await client.post("/ai-verification/none", content=b"x")).status_code == 404
    await asyncio.sleep(0.6)
    verification.busy.release()
    assert (await held).json()["decision"] == "ACCEPT"
    assert (await client.post(SUBMISSION, **form(b"x" * 91))).status_code == 200


async def test_an_upload_that_does_not_arrive_gives_its_place_back(
    client: httpx.AsyncClient, verification: Slow
) -> None:
    await create(client)
    verification.busy.release()
    body = Endless(0.05)
    dripped = await client.post(SUBMISSION, content=body, headers=body.headers)
    assert dripped.status_code == 408
    assert "within the limit of 0.5 s" in dripped.json()["message"]
    assert (await client.post(SUBMISSION, **form(b"x" * 90))).status_code == 200


async def test_a_large_upload_is_hashed_beside_the_event_loop() -> None:
    large = uploads.Upload(bytes(64 * 1024 * 1024), "a", None)
    hashing = asyncio.create_task(large.digest("x"))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10, "every other request would have waited"
    assert await large.digest("x") == hashing.result() != await large.digest("y")


def sent(data: bytes, content_type: str) -> UploadFile:
    return UploadFile(BytesIO(data), filename="a.txt", headers=Headers({"content-type": content_type}))


@pytest.mark.parametrize("charset", ["koi8-r", '"KOI8-R"', "koi8-r; x=y"])
async def test_a_declared_charset_reaches_who_reads_the_text(charset: str) -> None:
    """Without it this soup is read as Arabic: a short text tells too little to be guessed from."""
    said = "Уха из щуки"
    upload = await uploads.read(sent(said.encode("koi8-r"), f"text/plain; charset={charset}"), "file", limit=1000)
    content = await read(upload.data, ReadLimits(), file_name=upload.name, declared_type=upload.declared_type)
    assert content.text == said


@pytest.mark.parametrize(
    ("content_type", "declared"),
    [
        ("Text/CSV", "text/csv"), ("text/plain; boundary=x", "text/plain"), ("", None),
        ("application/octet-stream; charset=utf-8", None), ("text/plain; charset=" + "x" * 41, "text/plain"),
        ("text/plain; charset=a b", "text/plain"), ("text/plain; charset=", "text/plain"),
    ],
)  # fmt: skip
async def test_what_is_declared_is_a_type_and_a_charset_alone(content_type: str, declared: str | None) -> None:
    assert (await uploads.read(sent(b"x", content_type), "file", limit=1)).declared_type == declared
