"""Team runs as a kind of runs: the engine drives the graph of the checkpoints that a run was accepted with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from actors.agents.llms.catalogue import LLMCatalogue
from actors.kind_names import TEAM_RUN
from actors.providers.bell import JobBell
from actors.providers.files import Files
from actors.providers.registry import ProviderRegistry
from actors.providers.rights import Rights
from actors.reviews.callback_rows import Told
from actors.reviews.checkpoints import registry
from actors.reviews.orchestrator import HITLOrchestrator, TeamGraph
from actors.reviews.quality import JudgesResponses, ScoredQuality
from actors.reviews.rows import Reviewed
from actors.reviews.teams.state import begun, result
from actors.reviews.teams.workshop import TeamWorkshop
from actors.runs.kinds import Kind
from actors.runs.retrying import DEFAULT, RetryPolicy
from actors.settings import ActorsSettings
from actors.verification.workplace import Setup, Workplace
from storage.settings import StorageSettings

# Rounds end by themselves; a net under them.
_RECURSION_LIMIT = 2_000


def kind_of(workshop: TeamWorkshop, *, retry: RetryPolicy = DEFAULT) -> Kind:
    """The kind whose steps work with this. A run's `spec` holds its checkpoints (see `service.py`)."""

    def build(spec: dict[str, Any]) -> TeamGraph:
        checkpoints = registry.opened(spec["allowed_steps"], spec["checkpoints"])
        return HITLOrchestrator(workshop, checkpoints).build()

    return Kind(
        name=TEAM_RUN,
        graph=build,
        state=begun,
        result=result,
        recursion_limit=_RECURSION_LIMIT,
        retry=retry,
        questions=Told(Reviewed()),
    )


def open_workshop(
    storage: StorageSettings, actors: ActorsSettings
) -> tuple[TeamWorkshop, Callable[[], Awaitable[None]]]:
    """What team runs work with in this process, and what closes it. Nothing is connected before it is used."""
    workplace = Workplace(Setup(storage=storage, verification=actors.verification))
    rights = Rights(workplace.database)
    files = Files.of(workplace.fetcher, workplace.store, rights.require)
    providers = ProviderRegistry(actors.providers, files)
    llms = LLMCatalogue(actors.agents.llms)
    bell = JobBell(storage.redis_url)

    def judge() -> JudgesResponses:
        return ScoredQuality(workplace.scorer)

    async def close() -> None:
        for closing in (bell.close, providers.close, llms.close, workplace.close):
            await closing()

    workshop = TeamWorkshop(
        providers=providers,
        llms=llms,
        files=files,
        store=workplace.store.name,
        rights=rights,
        judge=judge,
        read_limits=actors.verification.read,
        form_llm=actors.reviews.form_llm,
        wakes=bell.wakes,
    )
    return workshop, close
