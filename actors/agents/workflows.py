"""`Workflows`: the definitions that there are, found fast and never stale.

A version never changes, so it is cached for long under its number; which version is the newest is always asked of the
table. Redis may be away: then the payload is read from the table too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

import orjson

from actors.agents import builtin
from actors.agents.definition import WorkflowDefinition
from actors.agents.validation import Known, check
from storage import workflows
from storage.cache import Cache
from storage.engine import Database
from storage.errors import CacheUnavailableError
from storage.workflows import Workflow

log = logging.getLogger(__name__)

_KEPT_S = 24 * 3600.0


class Workflows:
    """Of one database. Belongs to the event loop it is used in."""

    def __init__(self, database: Database, *, redis_url: str, known: Known) -> None:
        self._database = database
        self._cache = Cache(redis_url)
        self._known = known

    def check(self, definition: WorkflowDefinition) -> None:
        """Raises `DefinitionFaultsError` naming every fault by its JSON path."""
        check(definition, self._known)

    async def get(self, workflow_id_api: str) -> Workflow:
        """The workflow as it is now, Hyvve's own by their names too. Raises `NotFoundError`."""
        if (own := builtin.find(workflow_id_api)) is not None:
            return own
        async with self._database.read() as session:
            row = await workflows.head(session, workflow_id_api)
        key = f"workflow:{row.workflow_id}:{row.version}"
        if (kept := await self._cached(key)) is not None:
            return workflows.with_payload(row, orjson.loads(kept))
        async with self._database.read() as session:
            payload = await workflows.payload_of(session, row.workflow_id, row.version)
        await self._keep(key, orjson.dumps(payload))
        return workflows.with_payload(row, payload)

    async def of_wallet(self, wallet: str, *, limit: int, after: UUID | None = None) -> Sequence[Workflow]:
        """The wallet's workflows, newest first; Hyvve's own are those of the wallet `system`."""
        if wallet == builtin.SYSTEM_WALLET:
            return [] if after is not None else list(builtin.BUILT_IN.values())[:limit]
        async with self._database.read() as session:
            return await workflows.of_wallet(session, wallet, limit=limit, after=after)

    async def close(self) -> None:
        await self._cache.close()

    async def _cached(self, key: str) -> bytes | None:
        try:
            [found] = await self._cache.get_many([key])
        except CacheUnavailableError as error:
            log.warning("workflows are read without the cache: %s", error)
            return None
        return found

    async def _keep(self, key: str, payload: bytes) -> None:
        try:
            await self._cache.put_many({key: payload}, ttl_s=_KEPT_S)
        except CacheUnavailableError:
            log.debug("a workflow was not cached")
