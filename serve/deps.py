"""What routes are given: the services of this process, and the caller's `Idempotency-Key`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.workflow_runs import WorkflowRuns
from actors.agents.workflows import Workflows
from actors.reviews.service import Reviews
from actors.reviews.teams.service import TeamRuns
from actors.runs.service import Runs
from actors.settings import VerificationSettings
from actors.verification.service import VerificationService
from serve.auth import Gate
from serve.poll import CampaignPoll
from serve.settings import ServeSettings
from storage.cache import Cache
from storage.engine import Database
from storage.settings import StorageSettings

FindActor = Callable[[str], Awaitable[str | None]]
"""Answers the id under which Ray knows the actor of this noun (`actors/detached.py`) now, if there is one."""


async def nowhere(_: str) -> str | None:
    """Of an app that runs on no cluster."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a route may use. One per process."""

    database: Database
    poll: CampaignPoll
    verification: VerificationService
    runs: Runs
    reviews: Reviews
    teams: TeamRuns
    llms: LLMCatalogue
    workflows: Workflows
    workflow_runs: WorkflowRuns
    cache: Cache
    gate: Gate
    storage: StorageSettings
    serve: ServeSettings
    reading: VerificationSettings
    find_actor: FindActor = nowhere

    def page(self, limit: int | None) -> int:
        """How many rows this page holds."""
        return min(limit or self.serve.page_size, self.serve.max_page_size)


def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def _printable(value: str | None) -> str | None:
    if value is not None and not (value.isascii() and value.isprintable() and 0 < len(value) <= 255):
        raise PydanticCustomError("idempotency_key", "must be 1 to 255 printable ASCII characters")
    return value


Given = Annotated[Services, Depends(services)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        description="For seven days a repeated write with the same key answers what the first one answered; with "
        "another body it is a 409. Callers who name no wallet and send no API key share their keys, so these should be "
        "random; for them a key with another body is another request."
    ),
    AfterValidator(_printable),
]
