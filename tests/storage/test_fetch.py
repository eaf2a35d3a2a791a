"""What a `data_url` names is fetched whole and within limits, or the error says which limit."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import gzip
import hashlib
import ssl
import threading
import time
import zlib
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from storage.addresses import SystemResolver
from storage.blobs.base import BlobStore
from storage.blobs.local import LocalBlobStore
from storage.errors import (
    BadReferenceError,
    BlobError,
    BlobNotFoundError,
    BlobRejectedError,
    BlobTooLargeError,
    BlobUnavailableError,
)
from storage.fetch import ContentFetcher, Fetched
from storage.settings import FetchSettings, StorageSettings, WalrusSettings
from tests.stubs.http import Request
from tests.stubs.names import Names
from tests.stubs.walrus import WalrusStub
from tests.stubs.walrus import error as walrus_error
from tests.stubs.web import WebStub, answer, redirect

LIMIT = 100_000


def raw_cid(data: bytes) -> str:
    """CIDv1, raw codec, sha2-256, base32: what `ipfs add --raw-leaves --cid-version 1` gives a small file."""
    return "b" + base64.b32encode(b"\x01\x55\x12\x20" + hashlib.sha256(data).digest()).decode().lower().rstrip("=")


@pytest.fixture
async def stub() -> AsyncIterator[WebStub]:
    async with WebStub() as stub:
        yield stub


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs", max_bytes=10 * LIMIT)


@pytest.fixture
async def open_fetcher(tmp_path: Path, store: LocalBlobStore) -> AsyncIterator[Any]:
    opened: list[ContentFetcher] = []

    def make(
        walrus: WalrusSettings | None = None,
        tls: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        **limits: Any,
    ) -> ContentFetcher:
        values: dict[str, Any] = {"max_bytes": LIMIT, "timeout_s": 5.0, "allowed_networks": ("127.0.0.0/8",)}
        settings = StorageSettings(
            database_url="", redis_url="", data_dir=tmp_path, walrus=walrus or WalrusSettings(),
            fetch=FetchSettings(**values | limits),
        )  # fmt: skip
        opened.append(ContentFetcher(settings, store, tls=tls, resolver=resolver, backoff_s=0.01))
        return opened[-1]

    yield make
    for fetcher in opened:
        await fetcher.close()


# --- what a reference may be


async def test_a_local_blob_id(open_fetcher: Any, store: LocalBlobStore) -> None:
    assert await open_fetcher().fetch(await store.put(b"hello")) == Fetched(b"hello", None, None)


async def test_a_store_of_another_kind_is_asked_before_the_one_whose_ids_look_alike(
    tmp_path: Path, store: LocalBlobStore
) -> None:
    """A blob store that somebody added: what it keeps is found, and what was kept before it as well."""

    class Elsewhere(BlobStore):
        name = "elsewhere"
        _inner = LocalBlobStore(tmp_path / "elsewhere", max_bytes=LIMIT)

        async def put(self, data: bytes) -> str:
            return await self._inner.put(data)

        async def get(self, blob_id: str) -> bytes:
            return await self._inner.get(blob_id)

        async def close(self) -> None: ...

    elsewhere = Elsewhere()
    fetcher = ContentFetcher(StorageSettings(database_url="", redis_url="", data_dir=tmp_path), elsewhere)
    for kept, content in ((elsewhere, b"new"), (store, b"old")):
        assert (await fetcher.fetch(await kept.put(content))).data == content
    with pytest.raises(BlobNotFoundError):
        await fetcher.fetch("0" * 64)
    await fetcher.close()


async def test_a_url_with_its_type_and_name(open_fetcher: Any, stub: WebStub) -> None:
    stub.pages["/d/recette%20d'%C3%A9t%C3%A9.csv"] = answer(b"a,b", headers={"content-type": "text/csv; charset=x"})
    fetched = await open_fetcher().fetch(f"{stub.url}/d/recette d'été.csv".replace(" ", "%20") + "?token=1#part")
    assert fetched == Fetched(b"a,b", "text/csv; charset=x", "recette d'été.csv")
    assert "cookie" not in stub.asked[0].headers
    assert stub.asked[0].path.endswith(".csv?token=1")


@pytest.mark.parametrize(
    ("headers", "path", "expected"),
    [({"content-disposition": 'attachment; filename="a.pdf"'}, "/x", "a.pdf"),
     ({"content-disposition": 'attachment; filename="../../a.pdf"'}, "/x", None),
     ({}, "/x", None), ({}, "/", None), ({"content-disposition": "junk;;"}, "/b.txt", "b.txt")],
)  # fmt: skip
async def test_a_name_is_only_what_looks_like_one(
    open_fetcher: Any, stub: WebStub, headers: dict[str, str], path: str, expected: str | None
) -> None:
    stub.pages[path] = answer(b"x", headers={"content-type": "application/octet-stream", **headers})
    assert await open_fetcher().fetch(stub.url + path) == Fetched(b"x", None, expected)


async def test_walrus_by_id_by_url_and_by_quilt(open_fetcher: Any, store: LocalBlobStore) -> None:
    async with WalrusStub() as walrus:
        fetcher = open_fetcher(WalrusSettings(aggregator_url=walrus.url), allowed_networks=())
        blob_id = base64.urlsafe_b64encode(b"i" * 32).decode().rstrip("=")
        walrus.blobs[blob_id] = b"from walrus"
        walrus.quilts[blob_id, "a file.txt"] = b"from a quilt"
        for reference in (blob_id, f"{walrus.url}/v1/blobs/{blob_id}", f" {blob_id}\n"):
            assert (await fetcher.fetch(reference)).data == b"from walrus"
        assert (
            await fetcher.fetch(f"{walrus.url}/v1/blobs/by-quilt-id/{blob_id}/a%20file.txt")
        ).data == b"from a quilt"
        with pytest.raises(BlobNotFoundError):
            await fetcher.fetch("B" * 43)
        walrus.blobs["C" * 43] = bytes(LIMIT + 1)
        with pytest.raises(BlobTooLargeError, match=f"{LIMIT:,}"):
            await fetcher.fetch("C" * 43)


async def test_a_walrus_url_of_another_aggregator_is_fetched_as_any_url_and_waited_for(open_fetcher: Any) -> None:
    async with WalrusStub() as walrus:
        walrus.blobs["D" * 43] = b"elsewhere"
        walrus.script.append(walrus_error(404, "the requested blob ID does not exist on Walrus", "BLOB_NOT_FOUND"))
        assert (await open_fetcher().fetch(f"{walrus.url}/v1/blobs/{'D' * 43}")).data == b"elsewhere"
        assert len(walrus.requests) == 2


@pytest.mark.parametrize("gateway", ["", "/", "/ipfs", "/ipfs/", "/gw"])
async def test_ipfs_through_the_gateway(open_fetcher: Any, stub: WebStub, gateway: str) -> None:
    base = gateway.rstrip("/") if gateway.rstrip("/").endswith("/ipfs") else gateway.rstrip("/") + "/ipfs"
    cid, v0 = raw_cid(b"hello"), "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"
    stub.pages[f"{base}/{cid}"] = answer(b"hello", headers={"content-type": "text/plain"})
    stub.pages[f"{base}/{v0}/a/%C3%A9%20b.txt"] = answer(b"below")
    fetcher = open_fetcher(ipfs_gateway=stub.url + gateway, allowed_networks=())
    for reference in (
        cid,
        f"ipfs://{cid}",
        f"IPFS://{cid}",
        f"ipfs://ipfs/{cid}",
        f"/ipfs/{cid}",
        stub.url + f"{base}/{cid}",
    ):
        assert await fetcher.fetch(reference) == Fetched(b"hello", "text/plain", None)
    for reference in (f"ipfs://{v0}/a/%C3%A9%20b.txt", f"{v0}/a/é%20b.txt"):
        assert (await fetcher.fetch(reference)).data == b"below"


async def test_a_gateway_that_sends_other_bytes_is_found_out(open_fetcher: Any, stub: WebStub) -> None:
    cid = raw_cid(b"hello")
    stub.pages[f"/ipfs/{cid}"] = answer(b"jello")
    with pytest.raises(BlobRejectedError, match="other bytes"):
        await open_fetcher(ipfs_gateway=stub.url).fetch(cid)


async def test_ipfs_without_a_gateway_says_what_to_set(open_fetcher: Any) -> None:
    with pytest.raises(BlobRejectedError, match="IPFS_GATEWAY"):
        await open_fetcher().fetch(raw_cid(b"x"))


@pytest.mark.parametrize(
    "reference",
    ["", "  ", "hello.txt", "not a url", "https://", "https:///x", "http://[::1", "https://exa mple.com/", "ftp://x.org/a",
     "file:///etc/passwd", "javascript:alert(1)", "//example.com/x", "https://example.com:99999/", "a\x00b", "\\\\host\\x",
     "https://example.com/" + "a" * 3000, "../../etc/passwd", "ipfs://nonsense", "ipfs://Qmnope", "/ipfs/", "ipfs://",
     "ipfs://" + raw_cid(b"x") + "/../../api/v0/id", "ipfs://" + raw_cid(b"x") + "/%2e%2e/x", raw_cid(b"x")[:-3],
     raw_cid(b"x").upper().replace("B", "b", 1), "https://example.com/\r\nHost: x", "0" * 63, "f" * 65,
     "https://" + "a" * 64 + ".example/x", "https://" + "a." * 150 + "example/x", "https://a..b/x", "https://.example/x",
     "https://xn--/x", "https://xn--a/x"],
)  # fmt: skip
async def test_what_names_nothing_is_said_so(open_fetcher: Any, stub: WebStub, reference: str) -> None:
    with pytest.raises(BadReferenceError):
        await open_fetcher(ipfs_gateway=stub.url).fetch(reference)
    assert stub.connections == 0


async def test_the_blob_id_counts_only_where_the_url_names_nothing(
    open_fetcher: Any, store: LocalBlobStore, stub: WebStub
) -> None:
    stub.pages["/sold"] = answer(b"what the buyer gets")
    blob_id, fetcher = await store.put(b"what the seller would like judged"), open_fetcher()
    assert (await fetcher.fetch(f"{stub.url}/sold", blob_id=blob_id)).data == b"what the buyer gets"
    assert (await fetcher.fetch("upload-1", blob_id=blob_id)).data == b"what the seller would like judged"
    with pytest.raises(BadReferenceError):
        await fetcher.fetch("upload-1", blob_id="nothing either")
    with pytest.raises(BadReferenceError):
        await fetcher.fetch("upload-1", blob_id=f"{stub.url}/sold")


# --- limits


def endless(piece: bytes, *, every_s: float = 0.0, headers: str = "") -> Any:
    async def page(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode())
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every_s)

    return page


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    "page",
    [
        answer(bytes(LIMIT + 1)),
        answer(b"short", length=LIMIT + 1),
        endless(b"x" * 10_000),
        endless(chunk(b"x" * 10_000), headers="transfer-encoding: chunked\r\n"),
        answer(gzip.compress(bytes(LIMIT + 1)), headers={"content-encoding": "gzip"}),
        answer(gzip.compress(bytes(300 * LIMIT)), headers={"content-encoding": "gzip"}),
        answer(zlib.compress(bytes(300 * LIMIT)), headers={"content-encoding": "deflate"}),
        answer(gzip.compress(bytes(LIMIT // 2)) * 3, headers={"content-encoding": "gzip"}),
        endless(gzip.compress(b""), headers="content-encoding: gzip\r\n"),
    ],
    ids=["honest", "announced", "endless", "endless chunks", "gzip", "gzip bomb", "zlib bomb", "gzip in parts",
         "gzip that never gives a byte"],
)  # fmt: skip
async def test_too_much_is_stopped_with_the_limit(open_fetcher: Any, stub: WebStub, page: Any) -> None:
    stub.pages["/x"] = page
    with pytest.raises(BlobTooLargeError, match=f"limit of {LIMIT:,} bytes"):
        await open_fetcher().fetch(f"{stub.url}/x")
    assert len(stub.asked) == 1


@pytest.mark.parametrize(
    "page",
    [answer(bytes(LIMIT)), answer(gzip.compress(bytes(LIMIT)), headers={"content-encoding": "gzip"}),
     answer(gzip.compress(bytes(LIMIT - 9)) + gzip.compress(bytes(9)), headers={"content-encoding": "x-gzip"}),
     answer(zlib.compress(bytes(LIMIT)), headers={"content-encoding": "deflate"}),
     b"HTTP/1.1 200 OK\r\n\r\n" + bytes(LIMIT)],
    ids=["plain", "gzip", "gzip in parts", "zlib", "no length"],
)  # fmt: skip
async def test_exactly_the_limit_is_whole(open_fetcher: Any, stub: WebStub, page: bytes) -> None:
    stub.pages["/x"] = page
    assert (await open_fetcher().fetch(f"{stub.url}/x")).data == bytes(LIMIT)


async def _silent(request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    "page",
    [_silent, endless(b"x", every_s=0.05, headers="content-length: 50000\r\n"), endless(b"x-a: b\r\n", every_s=0.05)],
    ids=["silent", "slow body", "slow headers"],
)
async def test_slowness_is_stopped_with_the_limit(open_fetcher: Any, stub: WebStub, page: Any) -> None:
    stub.pages["/x"] = page
    started = time.monotonic()
    with pytest.raises(BlobUnavailableError, match=r"limit of 0\.4 s"):
        await open_fetcher(timeout_s=0.4).fetch(f"{stub.url}/x")
    assert time.monotonic() - started < 20


async def test_redirects_are_followed_to_their_limit(open_fetcher: Any, stub: WebStub) -> None:
    stub.pages |= {f"/{n}": redirect(f"{n + 1}?q") for n in range(5)} | {"/5": answer(b"there")}
    assert (await open_fetcher(max_redirects=5).fetch(f"{stub.url}/0")).data == b"there"
    with pytest.raises(BlobRejectedError, match="limit of 4"):
        await open_fetcher(max_redirects=4).fetch(f"{stub.url}/0")
    stub.pages["/loop"] = redirect("/loop")
    with pytest.raises(BlobRejectedError, match="limit of 5"):
        await open_fetcher().fetch(f"{stub.url}/loop")


# --- what may help and what may not


@pytest.mark.parametrize(
    "broken",
    [answer(b"busy", 503), answer(b"busy", 429, headers={"retry-after": "0"}), answer(b"", 502), answer(b"cut", length=9),
     b"", b"HTTP/1.1 200", answer(gzip.compress(b"x" * 999)[:-9], headers={"content-encoding": "gzip"})],
    ids=["503", "429", "502", "cut short", "closed at once", "cut in the head", "gzip cut short"],
)  # fmt: skip
async def test_what_may_pass_is_tried_again(open_fetcher: Any, stub: WebStub, broken: bytes) -> None:
    left = [broken, broken]

    async def page(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop() if left else answer(b"here"))
        await writer.drain()

    stub.pages["/x"] = page
    assert (await open_fetcher(retries=2).fetch(f"{stub.url}/x")).data == b"here"
    stub.pages["/y"] = broken
    with pytest.raises(BlobUnavailableError):
        await open_fetcher(retries=1).fetch(f"{stub.url}/y")
    # aiohttp itself asks once more where a connection was closed before the answer.
    assert [request.path for request in stub.asked].count("/y") in {2, 4}


@pytest.mark.parametrize(
    ("page", "expected"),
    [(answer(b"", 404), BlobNotFoundError), (answer(b"", 410), BlobNotFoundError), (answer(b"", 401), BlobRejectedError),
     (answer(b"", 403), BlobRejectedError), (answer(b"", 204), BlobRejectedError), (answer(b"", 206), BlobRejectedError),
     (answer(b"", 500), BlobUnavailableError), (answer(b"", 304), BlobRejectedError),
     (answer(b"x", headers={"content-encoding": "br"}), BlobRejectedError),
     (answer(b"x", headers={"content-encoding": "gzip, gzip"}), BlobRejectedError),
     (answer(b"not gzip", headers={"content-encoding": "gzip"}), BlobRejectedError),
     (redirect("http://[::1"), BlobRejectedError)],
)  # fmt: skip
async def test_what_will_not_pass_is_not_repeated(
    open_fetcher: Any, stub: WebStub, page: bytes, expected: type[Exception]
) -> None:
    stub.pages["/x"] = page
    with pytest.raises(expected):
        await open_fetcher().fetch(f"{stub.url}/x")
    assert len(stub.asked) == 1


async def test_a_host_that_does_not_exist_or_listen_is_named(open_fetcher: Any, stub: WebStub) -> None:
    url = stub.url
    await stub.__aexit__()
    with pytest.raises(BlobUnavailableError, match=r"127\.0\.0\.1 could not be reached"):
        await open_fetcher().fetch(f"{url}/x")
    with pytest.raises(BlobRejectedError, match=r"no host nowhere\.example"):
        await open_fetcher(resolver=Names()).fetch("https://nowhere.example/x")


async def test_a_url_with_a_secret_in_its_query_is_not_repeated_in_errors(open_fetcher: Any, stub: WebStub) -> None:
    with pytest.raises(BlobNotFoundError) as caught:
        await open_fetcher().fetch(f"{stub.url}/x?signature=s3cret")
    assert "s3cret" not in repr((caught.value.message, caught.value.subject, caught.value.details))


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stub")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "stub.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_https_with_a_trusted_certificate_and_refusal_of_any_other(open_fetcher: Any, certificate: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    async with WebStub(tls=server) as stub:
        stub.pages["/x"] = answer(b"over tls")
        trusting = open_fetcher(tls=ssl.create_default_context(cafile=str(certificate)))
        assert (await trusting.fetch(f"{stub.url}/x")).data == b"over tls"
        with pytest.raises(BlobRejectedError, match="certificate of"):
            await open_fetcher().fetch(f"{stub.url}/x")
        assert len(stub.asked) == 1


async def test_names_that_take_their_servers_forever_do_not_hold_up_stored_blobs(
    open_fetcher: Any, store: LocalBlobStore
) -> None:
    """Every thread of the resolver is stuck; a blob is still read at once."""
    resolver = SystemResolver(threads=4)
    fetcher = open_fetcher(resolver=resolver)
    blob_id = await store.put(b"hello")
    stuck = threading.Event()
    waiting = [resolver._pool.submit(stuck.wait, 60) for _ in range(50)]
    lost = asyncio.create_task(fetcher.fetch("https://slow.example/x"))
    await asyncio.sleep(0.05)
    assert (await asyncio.wait_for(fetcher.fetch(blob_id), 20)).data == b"hello"
    stuck.set()
    with pytest.raises(BlobError):
        await lost
    assert all(future.result() for future in waiting)


async def test_names_that_take_their_servers_forever_do_not_hold_up_other_names(
    open_fetcher: Any, certificate: Path
) -> None:
    """Four times as many as a process fetches and posts to at once are stuck, for longer than a fetch may take."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    trusted = ssl.create_default_context(cafile=str(certificate))
    resolver = SystemResolver()
    stuck = threading.Event()
    waiting = [resolver._pool.submit(stuck.wait, 60) for _ in range(400)]
    try:
        async with WebStub(tls=server) as stub:
            stub.pages["/x"] = answer(b"in time")
            fetcher = open_fetcher(tls=trusted, resolver=resolver, allowed_networks=("127.0.0.0/8", "::1/128"))
            assert (await fetcher.fetch(f"https://localhost:{stub.port}/x")).data == b"in time"
        assert not any(future.done() for future in waiting)
    finally:
        stuck.set()
