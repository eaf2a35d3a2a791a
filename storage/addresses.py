"""Which addresses a stranger's URL may lead to, held at the socket.

The networks are those of IANA's special-purpose registries (RFC 6890 and its updates) that are not globally reachable,
with multicast (RFC 5771) and everything that carries an IPv4 address inside an IPv6 one: mapped, compatible, NAT64
(RFC 6052, RFC 8215), 6to4 (RFC 3056) and Teredo (RFC 4380), whose real destination is elsewhere. They are listed here
rather than asked of `ipaddress`, whose answers differ between Python's patch releases.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from storage.errors import AddressRefusedError

Network = IPv4Network | IPv6Network

_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
# All that IPv6 has given out for global use; the rest is reserved (RFC 4291).
_GLOBAL_V6 = ip_network("2000::/3")
# Below 1024 only the web's own ports: a URL must not make us talk to mail servers and the like.
_WEB_PORTS = frozenset({80, 443})


def refusal(address: str) -> str | None:
    """What makes this address one that strangers must not reach, in a word; `None` for a public one."""
    ip = ip_address(address)
    for network, what in _REFUSED:
        if ip in network:
            return what
    return "reserved" if ip.version == 6 and ip not in _GLOBAL_V6 else None


class Guard:
    """Lets connections out to allowed networks and, if `public`, to every public address; to nothing else.

    `socket_factory` sees the very address that is about to be connected to, so neither a name that resolves
    differently the second time nor an address written in an odd way gets past it.
    """

    def __init__(self, allowed: Iterable[str], *, public: bool) -> None:
        self._allowed = tuple(ip_network(network) for network in allowed)
        self._public = public

    def check(self, address: str, port: int, host: str) -> None:
        """Raises `AddressRefusedError`, naming the kind of address but not the address: it may be a secret of ours."""
        ip = ip_address(address)
        if any(ip in network for network in self._allowed):
            return
        if (what := refusal(address)) is not None:
            raise AddressRefusedError(f"{host} leads to an address that is refused: {what}", subject=host, kind=what)
        if not self._public:
            raise AddressRefusedError(
                f"{host} was to be fetched without TLS, which is refused: use https", subject=host, kind="plain http"
            )
        if port < 1024 and port not in _WEB_PORTS:
            raise AddressRefusedError(f"port {port} of {host} is refused", subject=host, kind="port")

    def socket_factory(self, info: AddrInfoType) -> socket.socket:
        """A socket for this address, for `aiohttp.TCPConnector`. Raises `AddressRefusedError`."""
        family, kind, protocol, _, address = info
        host = str(address[0])
        self.check(host, int(address[1]), host)
        return socket.socket(family, kind, protocol)


# A look at a name whose servers are silent cannot be ended, and takes some 40 s where its fetch ends after 20 s or a
# callback after 10 s. A connector has at most a hundred of these under way (aiohttp's limit), so four hundred looks may
# be stuck while a hundred more begin. Only the threads that are needed are made.
_THREADS = 512


class SystemResolver(AbstractResolver):
    """The system's own name service, in threads of its own.

    asyncio's default threads also read files and blobs: names that take their servers half a minute each must not
    hold those up. Nor do they hold up other names, up to `threads` at once.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._pool, look_up)
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class GuardedResolver(AbstractResolver):
    """Resolves by `resolver`, and refuses a name as soon as one of its addresses is refused.

    One bad address is enough: a name with a public and a private address is an attempt, not a service.
    """

    def __init__(self, guard: Guard, resolver: AbstractResolver) -> None:
        self._guard = guard
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            self._guard.check(result["host"], port, host)
        return results

    async def close(self) -> None:
        """The inner resolver belongs to whoever made it."""


def guarded_connector(
    guard: Guard, resolver: AbstractResolver, *, tls: ssl.SSLContext | None = None
) -> aiohttp.TCPConnector:
    """Connects to what the guard lets through. Every connection resolves anew and is checked at its socket; an answer
    kept would be checked by nobody.
    """
    return aiohttp.TCPConnector(
        resolver=GuardedResolver(guard, resolver),
        use_dns_cache=False,
        socket_factory=guard.socket_factory,
        ssl=tls or True,
    )
