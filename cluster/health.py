"""How a running Hyvve does, seen from a command beside it: /readyz, and the batches under way."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import orjson

from cluster.settings import Settings

_INTERVAL_S = 3.0
# Lines of a screen; whoever runs more asks the API.
_BATCHES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Batch:
    """One that is not finished."""

    state: str
    judged: int
    total: int


@dataclass(frozen=True, slots=True)
class Health:
    """`ready`: the document of /readyz, `None` without an answer. `unfinished`: how many batches; `None` unknown."""

    ready: dict[str, Any] | None = None
    unfinished: int | None = None
    batches: tuple[Batch, ...] = field(default=())


def readiness(api_url: str) -> dict[str, Any] | None:
    """What /readyz says of each dependency; `None` where the API does not answer."""
    try:
        with urllib.request.urlopen(f"{api_url}/readyz", timeout=5) as answer:  # noqa: S310 - our own address
            return dict(orjson.loads(answer.read()))
    except urllib.error.HTTPError as error:  # 503: the body names what is not ready
        with contextlib.suppress(ValueError, TypeError):
            return dict(orjson.loads(error.read()))
    except (OSError, ValueError, TypeError):
        pass
    return None


def dependencies_down(ready: dict[str, Any] | None) -> dict[str, str]:
    """What /readyz finds down, and why."""
    checks = (ready or {}).get("checks", {})
    return {name: check.get("message", "down") for name, check in checks.items() if check.get("status") != "ok"}


class HealthWatch:
    """`latest` is at most some seconds old, from `begin` on; looking never holds up whoever shows it."""

    def __init__(self, settings: Settings, api_url: str) -> None:
        self._settings = settings
        self._api_url = api_url
        self.latest: Health | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._look_for_ever()), daemon=True)

    def begin(self) -> None:
        self._thread.start()

    async def _look_for_ever(self) -> None:
        from storage.engine import Database  # noqa: PLC0415 - SQLAlchemy loads while the first look is not yet shown

        database = Database(self._settings.storage.database_url, pool_size=1)
        while True:
            ready = await asyncio.to_thread(readiness, self._api_url)
            try:
                unfinished, batches = await _batches(database)
                self.latest = Health(ready, unfinished, batches)
            except Exception:  # noqa: BLE001 - a database that is away is what the look finds
                self.latest = Health(ready)
            await asyncio.sleep(_INTERVAL_S)


async def _batches(database: Any) -> tuple[int, tuple[Batch, ...]]:
    from storage import verifications  # noqa: PLC0415

    async with database.read() as session:
        ids = await verifications.unfinished(session)
        found = []
        for batch_id in ids[:_BATCHES_SHOWN]:
            batch = await verifications.batch(session, batch_id)
            progress = await verifications.progress(session, batch_id)
            found.append(Batch(batch.state, progress.judged, batch.triggered_count))
    return len(ids), tuple(found)
