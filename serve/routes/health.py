"""Whether this process lives, and whether what it needs answers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from fastapi import APIRouter
from pydantic import BaseModel
from redis.asyncio import Redis
from starlette.responses import Response

from serve import wire
from serve.deps import Given, Services
from storage.errors import BlobRejectedError, HyvveError
from storage.settings import StorageSettings

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: str


class Check(BaseModel):
    """One dependency: `ok` or `down`, how long it took, and what to do about it."""

    status: str
    milliseconds: float
    message: str | None = None


class Readiness(BaseModel):
    status: str
    checks: dict[str, Check]


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """The process answers."""
    return wire.answer({"status": "ok"})


@router.get(
    "/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "a dependency is down"}}
)
async def readyz(given: Given) -> Response:
    """Each dependency by name: `postgresql`, `redis`, `blob_store`, and `cluster`, which runs the batches.

    503 while one is down, with a sentence that says what to look at.
    """
    probes = {"postgresql": _POSTGRESQL, "redis": _REDIS, "blob_store": _blob_store(given.storage), "cluster": _CLUSTER}
    results = await asyncio.gather(*(_check(given, probe) for probe in probes.values()))
    checks = dict(zip(probes, results, strict=True))
    ready = all(check["status"] == "ok" for check in checks.values())
    headers = {} if ready else {"Retry-After": str(given.serve.retry_after_s)}
    return wire.answer({"status": "ready" if ready else "not_ready", "checks": checks}, 200 if ready else 503, headers)


@dataclass(frozen=True, slots=True)
class _Probe:
    """What asks a dependency, and the sentence for people where it does not answer."""

    ask: Callable[[Services], Awaitable[None]]
    advice: str


async def _check(given: Services, probe: _Probe) -> dict[str, object]:
    started = time.perf_counter()
    message: str | None = None
    try:
        async with asyncio.timeout(given.serve.dependency_timeout_s):
            await probe.ask(given)
    except TimeoutError:
        message = f"{probe.advice} (no answer within {given.serve.dependency_timeout_s:g} s)"
    except HyvveError as error:
        message = error.message
    except Exception as error:  # noqa: BLE001 - whatever a dependency's client raises means that it is down
        # Its kind alone: its words may hold addresses and passwords.
        message = f"{probe.advice} ({type(error).__name__})"
    took = round((time.perf_counter() - started) * 1000, 2)
    if message is None:
        return {"status": "ok", "milliseconds": took}
    return {"status": "down", "milliseconds": took, "message": message}


async def _postgresql(given: Services) -> None:
    await given.database.ping()


async def _redis(given: Services) -> None:
    async with Redis.from_url(given.storage.redis_url) as client:
        await client.ping()


async def _cluster(given: Services) -> None:
    await given.verification.ready()


async def _local_store(given: Services) -> None:
    if not os.access(given.storage.data_dir, os.W_OK | os.X_OK):
        raise PermissionError(given.storage.data_dir)


async def _walrus(given: Services) -> None:
    """Any answer will do, an error's too: what is asked is whether the aggregator can be reached."""
    if (url := given.storage.walrus.aggregator_url) is None:
        raise BlobRejectedError("the blob store is Walrus, so WALRUS_AGGREGATOR_URL must be set")
    async with aiohttp.ClientSession() as session, session.head(url, allow_redirects=False):
        pass


_POSTGRESQL = _Probe(
    _postgresql, "PostgreSQL does not answer; check SQLALCHEMY_DATABASE_URL and that the server runs"
)  # fmt: skip
_REDIS = _Probe(_redis, "Redis does not answer; check REDIS_URL and that the server runs")
_CLUSTER = _Probe(_cluster, "the cluster's batch runner does not answer; see `hyvve status` and the Ray dashboard")
_LOCAL_STORE = _Probe(_local_store, "the data directory cannot be written; check that it is there and who owns it")
_WALRUS = _Probe(
    _walrus, "Walrus's aggregator cannot be reached; check WALRUS_AGGREGATOR_URL and this machine's network"
)  # fmt: skip


def _blob_store(storage: StorageSettings) -> _Probe:
    return _WALRUS if storage.blob_store == "walrus" else _LOCAL_STORE
