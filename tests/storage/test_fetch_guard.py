"""No `data_url` makes us talk to an address of our own network: not written plainly, not in disguise, not by a name,
not by a redirect, not by a name that changes its mind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from storage.addresses import Guard, refusal
from storage.blobs.open import open_local
from storage.errors import AddressRefusedError, BadReferenceError, BlobError, BlobRejectedError
from storage.fetch import ContentFetcher
from storage.settings import FetchSettings, StorageSettings, WalrusSettings
from tests.stubs.names import Names
from tests.stubs.web import WebStub, answer, redirect


@pytest.fixture
async def stub() -> AsyncIterator[WebStub]:
    async with WebStub() as stub:
        stub.pages["/secret"] = answer(b"an internal page")
        yield stub


@pytest.fixture
async def open_fetcher(tmp_path: Path) -> AsyncIterator[Any]:
    opened: list[ContentFetcher] = []

    def make(
        resolver: AbstractResolver | None = None, walrus: WalrusSettings | None = None, **limits: Any
    ) -> ContentFetcher:
        settings = StorageSettings(
            database_url="", redis_url="", data_dir=tmp_path, walrus=walrus or WalrusSettings(),
            fetch=FetchSettings(**{"timeout_s": 5.0, "retries": 0} | limits),
        )  # fmt: skip
        opened.append(ContentFetcher(settings, open_local(settings), resolver=resolver, backoff_s=0.01))
        return opened[-1]

    yield make
    for fetcher in opened:
        await fetcher.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "0.0.0.0", "10.1.2.3", "172.16.0.1",
        "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8",
        "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "192.88.99.1", "224.0.0.1", "239.255.255.250",
        "240.0.0.1", "255.255.255.255",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:8.8.8.8]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001:0:1::1]", "[2001:db8::1]", "[fc00::1]", "[fd12::1]", "[fe80::1]",
        "[fec0::1]", "[ff02::1]", "[3fff::1]", "[100::1]", "[5f00::1]",
        "2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "127.1", "127.0.1", "017700000001", "127.0.0.1.",
        "127.0.0.01", "①②⑦.⓪.⓪.①", "127。0。0。1", "0", "0x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_own_addresses_are_refused_however_they_are_written(
    open_fetcher: Any, stub: WebStub, scheme: str, host: str
) -> None:
    fetcher = open_fetcher(schemes=("https", "http"))
    with pytest.raises((AddressRefusedError, BadReferenceError)):
        await fetcher.fetch(f"{scheme}://{host}:{stub.port}/secret")
    assert stub.connections == 0


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["fe80::1%1"], ["93.184.215.14", "127.0.0.1"],
     ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "fd00::1"]],
)  # fmt: skip
async def test_a_name_with_one_own_address_is_refused_and_the_address_not_told(
    open_fetcher: Any, stub: WebStub, addresses: list[str]
) -> None:
    fetcher = open_fetcher(Names(files_example=[addresses]))
    with pytest.raises(AddressRefusedError) as caught:
        await fetcher.fetch(f"https://files.example:{stub.port}/secret")
    assert "files.example" in str(caught.value)
    assert not any(address in str(caught.value) for address in addresses)
    assert stub.connections == 0


async def test_a_name_that_changes_its_address_is_checked_at_every_connection(open_fetcher: Any, stub: WebStub) -> None:
    """DNS rebinding: good at the first look, ours at the second."""
    stub.pages["/"] = redirect("/secret")
    names = Names(files_example=[["127.0.0.1"], ["127.0.0.2"]])
    fetcher = open_fetcher(names, allowed_networks=("127.0.0.1/32",))
    with pytest.raises(AddressRefusedError):
        await fetcher.fetch(f"http://files.example:{stub.port}/")
    assert names.asked == ["files.example"] * 2
    assert [request.path for request in stub.asked] == ["/"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.2:{port}/secret", "http://inner.example:{port}/secret", "//127.0.0.2:{port}/secret",
     "http://2130706434:{port}/secret", "http://[::1]:{port}/secret", "http://u:p@127.0.0.1:{port}/secret"],
)  # fmt: skip
async def test_a_redirect_to_an_own_address_is_refused(
    open_fetcher: Any, stub: WebStub, status: int, target: str
) -> None:
    stub.pages["/"] = redirect(target.format(port=stub.port), status)
    names = Names(inner_example=[["10.0.0.1"]])
    fetcher = open_fetcher(names, allowed_networks=("127.0.0.1/32",), schemes=("https", "http"))
    with pytest.raises(AddressRefusedError):
        await fetcher.fetch(f"http://127.0.0.1:{stub.port}/")
    assert [request.path for request in stub.asked] == ["/"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "data:,x"])
async def test_a_redirect_to_another_scheme_is_refused(open_fetcher: Any, stub: WebStub, target: str) -> None:
    stub.pages["/"] = redirect(target)
    fetcher = open_fetcher(allowed_networks=("127.0.0.1/32",))
    with pytest.raises(BlobError) as caught:
        await fetcher.fetch(f"http://127.0.0.1:{stub.port}/")
    assert isinstance(caught.value, BadReferenceError | BlobRejectedError)


async def test_plain_http_is_for_allowed_networks_only(open_fetcher: Any, stub: WebStub) -> None:
    with pytest.raises(AddressRefusedError, match="use https"):
        await open_fetcher().fetch("http://93.184.215.14/x")
    allowing = open_fetcher(allowed_networks=("127.0.0.0/8",))
    assert (await allowing.fetch(f"http://127.0.0.1:{stub.port}/secret")).data == b"an internal page"
    with pytest.raises(AddressRefusedError, match="use https"):
        await allowing.fetch("http://93.184.215.14/x")


@pytest.mark.parametrize("url", ["https://user@example.com/", "https://u:p@example.com/", "https://:p@example.com/"])
async def test_credentials_in_a_url_are_refused_and_not_repeated(open_fetcher: Any, url: str) -> None:
    with pytest.raises(AddressRefusedError, match="user name"):
        await open_fetcher().fetch(url)


@pytest.mark.parametrize("port", [1, 22, 25, 110, 445])
async def test_ports_of_other_services_are_refused(open_fetcher: Any, port: int) -> None:
    fetcher = open_fetcher(Names(mail_example=[["93.184.215.14"]]))
    with pytest.raises(AddressRefusedError, match=f"port {port}"):
        await fetcher.fetch(f"https://mail.example:{port}/")


async def test_what_the_operator_configured_may_be_loopback_and_only_that(open_fetcher: Any, stub: WebStub) -> None:
    """The aggregator's own reads are open, its other pages and its neighbours are not."""
    fetcher = open_fetcher(walrus=WalrusSettings(aggregator_url=stub.url))
    quilt = "A" * 43
    stub.pages[f"/v1/blobs/by-quilt-id/{quilt}/a.txt"] = answer(b"patch")
    assert (await fetcher.fetch(f"{stub.url}/v1/blobs/by-quilt-id/{quilt}/a.txt")).data == b"patch"
    seen = len(stub.asked)
    for path in ("/secret", "/v1/blobs/../../secret", "/v1/blobs/%2e%2e/%2e%2e/secret", f"/v1/blobs/{quilt}/../secret",
                 f"/v1/blobs/by-quilt-id/{quilt}/..", f"/v1/blobs/by-quilt-id/{quilt}/%2e%2e%2f%2e%2e%2fsecret",
                 "/v1/blobs", "/v1/quilts"):  # fmt: skip
        with pytest.raises(AddressRefusedError):
            await fetcher.fetch(stub.url + path)
    assert len(stub.asked) == seen
    # An aggregator that redirects elsewhere has no say about where.
    stub.pages[f"/v1/blobs/by-quilt-id/{quilt}/b.txt"] = redirect("http://127.0.0.2:9/secret")
    with pytest.raises(AddressRefusedError):
        await fetcher.fetch(f"{stub.url}/v1/blobs/by-quilt-id/{quilt}/b.txt")


@given(st.ip_addresses())
def test_no_address_that_python_calls_private_gets_through(address: Any) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert refusal(str(address)) is not None


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.215.14", "1.1.1.1", "223.255.255.255", "2606:4700::1111", "2a00::1"]
)
def test_public_addresses_get_through(address: str) -> None:
    Guard((), public=True).check(address, 443, address)
    assert ip_address(address).is_global
