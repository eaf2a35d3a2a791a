"""Detached actors: one of its kind for a database, started by whoever needs it first, and anew where it is set up
otherwise. None is the record of anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray.exceptions import RayActorError, RayError

from actors.errors import ClusterUnavailableError
from storage.settings import StorageSettings

NAMESPACE = "hyvve"

# Its process imports for seconds, on a busy machine for many: only one that never answers is given up.
_ANSWER_S = 120.0
# One that is being ended keeps its name until the cluster has put it down, which takes a busy one seconds.
_ENDING_S, _PAUSE_S = 30.0, 0.2
# Others that start it at the same time with settings of their own are two projects on one database: a fault of set-up.
_REPLACED = 3


class Setup(Protocol):
    """What such an actor is made from. It compares equal where it would make the same actor."""

    @property
    def storage(self) -> StorageSettings: ...


def name_of(setup: Setup, noun: str) -> str:
    """An actor's name: projects with databases of their own share a cluster without meeting."""
    return f"{noun}-{hashlib.sha256(setup.storage.database_url.encode()).hexdigest()[:12]}"


def ensure(actor_class: Any, setup: Setup, noun: str, *, max_concurrency: int) -> Any:
    """The actor of that noun; its class takes the setup, and its `has(setup)` says whether it was made from that.

    Ray must be connected. Raises `ClusterUnavailableError`.
    """
    options = {
        "name": name_of(setup, noun),
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_concurrency": max_concurrency,
    }
    patience = time.monotonic() + _ENDING_S
    replaced = 0
    try:
        while replaced < _REPLACED:
            actor = actor_class.options(**options).remote(setup)
            try:
                if ray.get(actor.has.remote(setup), timeout=_ANSWER_S):
                    return actor
            except RayActorError:
                if time.monotonic() > patience:
                    raise
                time.sleep(_PAUSE_S)
                continue
            ray.kill(actor)
            replaced += 1
            patience = time.monotonic() + _ENDING_S
    except RayError as error:
        raise ClusterUnavailableError(f"the cluster starts no {noun} actor: {type(error).__name__}: {error}") from error
    raise ClusterUnavailableError(f"the cluster's {noun} actor of this database does not keep its settings")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Finds the actors of this database on the cluster that this process is connected to."""

    storage: StorageSettings

    async def actor_id(self, noun: str) -> str | None:
        """The id, in hex, under which Ray knows the actor of that noun now; `None` where there is none."""
        try:
            actor = await asyncio.to_thread(ray.get_actor, name_of(self, noun), namespace=NAMESPACE)
        except (ValueError, RayError):
            return None
        # Ray has no public way to an actor's id but its state API, which asks the dashboard.
        return str(actor._ray_actor_id.hex())  # noqa: SLF001


def stop(setup: Setup, *nouns: str) -> None:
    """End these actors of the database. What they were at goes on when they are started again."""
    for noun in nouns:
        try:
            ray.kill(ray.get_actor(name_of(setup, noun), namespace=NAMESPACE))
        except (ValueError, RayError):  # there is none
            continue
