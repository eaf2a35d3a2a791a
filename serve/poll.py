"""The campaign that web clients poll: rendered once per version, proved fresh on every request, never stale.

An answer is sent only after a query that began after the request arrived has confirmed the version it renders. What
is saved is everything else: the requests that wait at one moment share one query (a batch), the row is read and
rendered only when its version is new, and the ORM is not involved. A read that begins after a commit therefore
answers that commit, whoever wrote it: PostgreSQL takes the query's snapshot when the query begins, and a commit is
visible to new snapshots before its writer hears of it.

A version is more than the `version` column, which a trigger raises: with `campaign_id`, `xmin` and `ctid` (the row
version's transaction and place) also a row deleted and made again, or changed with triggers off, is a new one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import psycopg

from serve.poll_database import PollDatabase, Version
from serve.schemas.campaigns import answer
from serve.wire import encode
from storage.errors import DatabaseUnavailableError, NotFoundError
from storage.tasks import end

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body and its headers, ready to send."""

    body: bytes
    etag: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    # The headers of 304 Not Modified.
    unchanged: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A campaign at one version: as it reads while open, and once its expiration has passed."""

    version: Version
    expiration: int
    before: Rendered
    after: Rendered

    def at(self, moment: float) -> Rendered:
        return self.before if self.expiration > moment else self.after


class CampaignPoll:
    """Answers polls of one database. Belongs to one event loop; opens its connection on first use, and again after
    the database was away.
    """

    def __init__(self, database_url: str, *, cache_size: int, timeout_s: float) -> None:
        self._database = PollDatabase(database_url, connect_timeout_s=timeout_s)
        self._cache_size = cache_size
        # How many queries were sent to confirm versions; far fewer than requests, when many come at once.
        self.queries = 0
        self._timeout_s = timeout_s
        self._cache: OrderedDict[str, Entry] = OrderedDict()
        # The batch that gathers while another one is under way.
        self._waiting: dict[str, list[asyncio.Future[Entry | None]]] = {}
        self._runner: asyncio.Task[None] | None = None

    def holds(self, onchain_campaign_id: str) -> bool:
        """Whether this id was found before; it may be gone since."""
        return onchain_campaign_id in self._cache

    async def get(self, onchain_campaign_id: str) -> Entry:
        """The campaign as it is now. Raises `NotFoundError`, or `DatabaseUnavailableError`."""
        future: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(onchain_campaign_id, []).append(future)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        entry = await future
        if entry is None:
            raise NotFoundError.of("campaign", onchain_campaign_id)
        return entry

    async def close(self) -> None:
        if self._runner is not None:
            await end([self._runner])
        await self._database.disconnect()

    async def _run(self) -> None:
        batch: dict[str, list[asyncio.Future[Entry | None]]] = {}
        try:
            while self._waiting:
                # Every member of the batch arrived before its query begins; who comes later waits for the next.
                batch, self._waiting = self._waiting, {}
                try:
                    found = await self._confirm(list(batch))
                except DatabaseUnavailableError as error:
                    _settle(batch, error)
                else:
                    for onchain_campaign_id, futures in batch.items():
                        entry = found.get(onchain_campaign_id)
                        for future in futures:
                            if not future.done():
                                future.set_result(entry)
        except BaseException as error:  # cancelled at shutdown, or a defect: nobody may be left waiting
            failure = error if isinstance(error, Exception) else DatabaseUnavailableError("the service is stopping")
            _settle(batch, failure)
            _settle(self._waiting, failure)
            self._waiting = {}
            if not isinstance(error, Exception):
                raise
            logger.exception("the campaign poll failed")
        finally:
            self._runner = None

    async def _confirm(self, ids: list[str]) -> dict[str, Entry]:
        """The present entry of each id that exists. A connection that was lost is opened again, once."""
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._query(ids)
            except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
                await self._database.disconnect()
                if attempt == 2 or isinstance(error, TimeoutError):
                    raise DatabaseUnavailableError(
                        "PostgreSQL does not answer; check SQLALCHEMY_DATABASE_URL and that the server runs"
                    ) from error
        raise AssertionError

    async def _query(self, ids: list[str]) -> dict[str, Entry]:
        self.queries += 1
        found: dict[str, Entry] = {}
        unknown: list[str] = []
        for onchain_campaign_id, version in await self._database.versions(ids):
            entry = self._cache.get(onchain_campaign_id)
            if entry is not None and entry.version == version:
                found[onchain_campaign_id] = entry
                self._cache.move_to_end(onchain_campaign_id)
            else:
                unknown.append(onchain_campaign_id)
        if unknown:
            for values, version in await self._database.rows(unknown):
                onchain_campaign_id = values["onchain_campaign_id"]
                found[onchain_campaign_id] = self._cache[onchain_campaign_id] = _render(values, version)
                self._cache.move_to_end(onchain_campaign_id)
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return found


def _settle(batch: dict[str, list[asyncio.Future[Entry | None]]], error: Exception) -> None:
    for futures in batch.values():
        for future in futures:
            if not future.done():
                future.set_exception(error)


def _render(values: dict[str, Any], version: Version) -> Entry:
    for name in ("unit_price", "total_budget"):
        values[name] = int(values[name])
    expiration = values["expiration"]
    return Entry(version, expiration, _rendered(answer(values, 0)), _rendered(answer(values, expiration)))


def _rendered(document: dict[str, Any]) -> Rendered:
    body = encode(document)
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'.encode()
    # Kept by whom it may concern, but asked for anew each time: our own freshness is not a cache's to break.
    shared = ((b"etag", etag), (b"cache-control", b"no-cache"))
    headers = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *shared)
    return Rendered(body, etag, headers, shared)
