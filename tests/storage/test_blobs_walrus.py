"""The Walrus store against a publisher and aggregator that speak the published HTTP, faults included."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from storage.blobs.base import BlobStore
from storage.blobs.walrus import WalrusBlobStore
from storage.errors import BlobNotFoundError, BlobRejectedError, BlobTooLargeError, BlobUnavailableError
from storage.settings import WalrusSettings
from tests.conformance.blob_store import MAX_BYTES, BlobStoreSpec
from tests.stubs.http import Reply
from tests.stubs.walrus import WalrusStub, blob_id_of, error


@pytest.fixture
async def stub() -> AsyncIterator[WalrusStub]:
    async with WalrusStub() as stub:
        yield stub


def open_on(stub: WalrusStub, **changes: Any) -> WalrusBlobStore:
    values = {"publisher_url": stub.url, "aggregator_url": stub.url + "/", "max_bytes": MAX_BYTES} | changes
    return WalrusBlobStore(WalrusSettings(**values), backoff_s=0.01)


@pytest.fixture
async def store(stub: WalrusStub) -> AsyncIterator[WalrusBlobStore]:
    store = open_on(stub)
    yield store
    await store.close()


class TestWalrus(BlobStoreSpec):
    @pytest.fixture
    def reopen(self, stub: WalrusStub) -> Callable[[], BlobStore]:
        return lambda: open_on(stub)

    @pytest.fixture
    def unknown_id(self) -> str:
        return blob_id_of(b"never stored")


class TestWalrusBehindAToken(BlobStoreSpec):
    """The same spec where every store needs a token of its own."""

    @pytest.fixture
    async def stub(self) -> AsyncIterator[WalrusStub]:
        async with WalrusStub(jwt_secret=b"s3cret", expiring_s=60, late=1) as stub:
            yield stub

    @pytest.fixture
    async def store(self, stub: WalrusStub) -> AsyncIterator[WalrusBlobStore]:
        store = open_on(stub, jwt_secret=SecretStr("s3cret"), jwt_lifetime_s=60)
        yield store
        await store.close()

    @pytest.fixture
    def reopen(self, stub: WalrusStub) -> Callable[[], BlobStore]:
        stub.late = 0
        return lambda: open_on(stub)

    @pytest.fixture
    def unknown_id(self) -> str:
        return blob_id_of(b"never stored")

    async def test_a_blob_outlives_the_store_that_took_it(
        self, store: BlobStore, reopen: Callable[[], BlobStore]
    ) -> None:
        blob_id = await store.put(b"kept")
        assert await store.get(blob_id) == b"kept"
        assert await reopen().get(blob_id) == b"kept"


async def test_a_second_store_of_equal_bytes_is_already_certified(stub: WalrusStub, store: WalrusBlobStore) -> None:
    assert await store.put(b"rice") == await store.put(b"rice") == blob_id_of(b"rice")
    assert [request.path for request in stub.requests] == ["/v1/blobs?epochs=5"] * 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_publisher_and_aggregator_are_asked_again(
    stub: WalrusStub, store: WalrusBlobStore, status: int
) -> None:
    stub.script.extend([error(status, "busy"), error(status, "busy")])
    blob_id = await store.put(b"rice")
    stub.script.extend([error(status, "busy"), Reply(b"rice", cut=2)])
    assert await store.get(blob_id) == b"rice"
    assert len(stub.requests) == 6


async def test_a_publisher_that_stays_busy_is_given_up_with_its_reason(
    stub: WalrusStub, store: WalrusBlobStore
) -> None:
    stub.script.extend([error(503, "no storage nodes", "NOT_ENOUGH_CONFIRMATIONS")] * 9)
    with pytest.raises(BlobUnavailableError, match=r"503: no storage nodes \(NOT_ENOUGH_CONFIRMATIONS\)"):
        await store.put(b"rice")
    assert len(stub.requests) == 5


async def test_the_server_says_how_long_to_wait(stub: WalrusStub, store: WalrusBlobStore) -> None:
    stub.script.append(error(503, "busy", headers={"Retry-After": "1"}))
    started = time.monotonic()
    await store.put(b"rice")
    assert 1.0 <= time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, BlobRejectedError), (403, BlobRejectedError), (413, BlobTooLargeError), (451, BlobRejectedError),
     (500, BlobUnavailableError)],
)  # fmt: skip
async def test_a_refusal_is_not_repeated(
    stub: WalrusStub, store: WalrusBlobStore, status: int, expected: type[Exception]
) -> None:
    stub.script.extend([error(status, "no", "BLOCKED")] * 2)
    for call in (store.put(b"rice"), store.get(blob_id_of(b"rice"))):
        with pytest.raises(expected, match=rf"answered {status}: no \(BLOCKED\)"):
            await call
    assert len(stub.requests) == 2


async def test_the_404_right_after_ones_own_store_is_waited_out(stub: WalrusStub, store: WalrusBlobStore) -> None:
    stub.late = 3
    blob_id = await store.put(b"rice")
    assert await store.get(blob_id) == b"rice"


async def test_a_blob_that_somebody_else_has_just_stored_is_waited_for_a_little(
    stub: WalrusStub, store: WalrusBlobStore
) -> None:
    stub.late = 2
    seller = open_on(stub)
    assert await store.get(await seller.put(b"rice")) == b"rice"
    await seller.close()
    seen = len(stub.requests)
    with pytest.raises(BlobNotFoundError):
        await store.get(blob_id_of(b"never stored"))
    assert len(stub.requests) - seen == 3


async def test_a_blob_that_never_appears_is_not_found_in_the_end(stub: WalrusStub, store: WalrusBlobStore) -> None:
    stub.late = 99
    blob_id = await store.put(b"rice")
    with pytest.raises(BlobNotFoundError):
        await store.get(blob_id)


async def test_each_attempt_has_a_token_bound_to_its_store(stub: WalrusStub) -> None:
    stub.jwt_secret, stub.expiring_s = bytes.fromhex("00ff10"), 77
    store = open_on(stub, jwt_secret=SecretStr("0x00ff10"), jwt_lifetime_s=77, epochs=3)
    stub.script.append(error(503, "busy"))
    assert await store.put(b"rice") == blob_id_of(b"rice")
    first, second = stub.tokens
    assert first["jti"] != second["jti"]
    assert (first["size"], first["epochs"], first["exp"] - first["iat"]) == (4, 3, 77)
    await store.close()


@pytest.mark.parametrize(("secret", "reason"), [("other", "INVALID_SIGNATURE"), (None, "`authorization` was missing")])
async def test_a_token_that_the_publisher_refuses_is_explained(
    stub: WalrusStub, secret: str | None, reason: str
) -> None:
    stub.jwt_secret = b"right"
    store = open_on(stub, jwt_secret=SecretStr(secret) if secret else None)
    with pytest.raises(BlobRejectedError, match=reason):
        await store.put(b"rice")
    assert len(stub.requests) == 1
    await store.close()


def test_a_secret_that_is_no_hex_is_refused_without_being_shown(stub: WalrusStub) -> None:
    with pytest.raises(BlobRejectedError, match="WALRUS_JWT_SECRET") as caught:
        open_on(stub, jwt_secret=SecretStr("0xnothex"))
    assert "nothex" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b'"x"', b"{}", b'{"newlyCreated": {}}', b'{"alreadyCertified": {"blobId": 7}}',
     b'{"alreadyCertified": {"blobId": "../x"}}', b'{"newlyCreated": {"blobObject": {"blobId": null}}}'],
)  # fmt: skip
async def test_an_answer_without_an_id_is_never_taken_for_one(
    stub: WalrusStub, store: WalrusBlobStore, body: bytes
) -> None:
    stub.script.append(Reply(body))
    with pytest.raises(BlobRejectedError, match="without a blob id"):
        await store.put(b"rice")


async def test_an_error_with_an_endless_body_is_still_that_error(stub: WalrusStub, store: WalrusBlobStore) -> None:
    stub.script.append(Reply(bytes(400_000), 451))
    with pytest.raises(BlobRejectedError, match="answered 451"):
        await store.get(blob_id_of(b"x"))


async def test_an_error_that_is_no_envelope_is_still_quoted(stub: WalrusStub, store: WalrusBlobStore) -> None:
    stub.script.append(Reply(b"<h1>Bad gateway of a CDN</h1>", 403))
    with pytest.raises(BlobRejectedError, match="Bad gateway of a CDN"):
        await store.get(blob_id_of(b"x"))


async def test_a_blob_above_the_limit_is_not_read_whole(stub: WalrusStub, store: WalrusBlobStore) -> None:
    blob_id = blob_id_of(b"large")
    stub.blobs[blob_id] = bytes(MAX_BYTES + 1)
    with pytest.raises(BlobTooLargeError, match=f"{MAX_BYTES:,}"):
        await store.get(blob_id)


async def test_a_server_that_hangs_or_is_gone_is_unavailable(stub: WalrusStub) -> None:
    store = open_on(stub, timeout_s=0.5, retries=1)
    stub.script.extend([Reply(b"late", delay_s=30)] * 2)
    with pytest.raises(BlobUnavailableError, match="too long"):
        await store.get(blob_id_of(b"x"))
    await stub.close()
    with pytest.raises(BlobUnavailableError, match="could not be reached"):
        await store.get(blob_id_of(b"x"))
    await store.close()


async def test_a_role_that_is_not_configured_says_what_to_set() -> None:
    store = WalrusBlobStore(WalrusSettings())
    with pytest.raises(BlobRejectedError, match="WALRUS_PUBLISHER_URL"):
        await store.put(b"x")
    with pytest.raises(BlobRejectedError, match="WALRUS_AGGREGATOR_URL"):
        await store.get(blob_id_of(b"x"))
