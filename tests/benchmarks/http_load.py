"""A load generator: raw asyncio connections that each keep one request in flight. Runs in a process of its own.

`python -m tests.benchmarks.http_load PORT SECONDS CONNECTIONS PATH…` prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial
from itertools import cycle
from typing import Any, cast

import uvloop


class Connection(asyncio.Protocol):
    """One keep-alive connection; sends its next request when an answer is complete."""

    def __init__(self, requests: list[bytes], offset: int, deadline: float, done: asyncio.Future[None]) -> None:
        self.latencies: list[float] = []
        self.failures: dict[str, int] = {}
        self._requests = cycle(requests[offset:] + requests[:offset])
        self._deadline = deadline
        self._done = done
        self._buffer = b""
        self._need = 0
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._next()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        if not self._need:
            head = buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            start = buffer.index(b"content-length:", 0, head) + 15  # both servers write it so
            self._need = head + 4 + int(buffer[start : buffer.index(b"\r\n", start)])
        if len(buffer) < self._need:
            return
        now = time.perf_counter()
        self.latencies.append(now - self._sent)
        status = buffer[9:12].decode()
        if status != "200":
            self.failures[status] = self.failures.get(status, 0) + 1
        self._buffer, self._need = b"", 0
        if now > self._deadline:
            self._transport.close()
        else:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if time.perf_counter() < self._deadline:
            self.failures["lost"] = self.failures.get("lost", 0) + 1
        if not self._done.done():
            self._done.set_result(None)

    def _next(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


def _same(connection: Connection) -> Connection:
    return connection


async def load(port: int, seconds: float, connections: int, paths: list[str]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    requests = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() for path in paths]
    started = time.perf_counter()
    running = []
    for number in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        connection = Connection(requests, number * len(requests) // connections, started + seconds, done)
        await loop.create_connection(partial(_same, connection), "127.0.0.1", port)
        running.append((connection, done))
    await asyncio.gather(*(done for _, done in running))
    took = time.perf_counter() - started
    latencies = sorted(value for protocol, _ in running for value in protocol.latencies)
    failures: dict[str, int] = {}
    for protocol, _ in running:
        for name, count in protocol.failures.items():
            failures[name] = failures.get(name, 0) + count
    return {
        "rate": len(latencies) / took,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "failures": failures,
    }


if __name__ == "__main__":
    port, seconds, connections, *paths = sys.argv[1:]
    print(json.dumps(uvloop.run(load(int(port), float(seconds), int(connections), paths))))
