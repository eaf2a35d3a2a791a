"""Workflows as a kind of runs: the engine drives a definition's graph, pinned in the run when it was accepted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from actors.agents import graph
from actors.agents.definition import WorkflowDefinition
from actors.agents.deps import ToolContext
from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.node_reviews import node_question_of
from actors.agents.node_step import Workshop
from actors.agents.search.base import Found, Search
from actors.agents.search.registry import open_search
from actors.agents.tools.registry import TOOLS
from actors.agents.workflow_state import begun, completed
from actors.errors import MissingKeyError
from actors.kind_names import WORKFLOW
from actors.reviews.rows import Reviewed
from actors.runs.kinds import Kind
from actors.settings import ActorsSettings, SearchSettings
from actors.verification.workplace import Setup, Workplace
from storage.settings import StorageSettings

# A definition's own limit counts agents' steps and ends a run with its name; this one is a net under it, for the steps
# of gates that wait for branches.
_RECURSION_LIMIT = 20_000


def kind_of(workshop: Workshop) -> Kind:
    """The kind whose agents work with this. A run's `spec` holds its definition (see `workflow_runs.py`)."""

    def build(spec: dict[str, Any]) -> graph.WorkflowGraph:
        return graph.build(WorkflowDefinition.model_validate(spec["definition"]), workshop)

    return Kind(
        name=WORKFLOW,
        graph=build,
        state=begun,
        result=completed,
        recursion_limit=_RECURSION_LIMIT,
        questions=Reviewed(node_question_of),
    )


def open_workshop(storage: StorageSettings, actors: ActorsSettings) -> tuple[Workshop, Callable[[], Awaitable[None]]]:
    """What agents work with in this process, and what closes it. Nothing is connected before it is used."""
    workplace = Workplace(Setup(storage=storage, verification=actors.verification))
    limits = actors.agents.tools
    search = _search_or_reason(limits.search)
    llms = LLMCatalogue(actors.agents.llms)

    def open_context(*, wallet: str | None, scratchpad: Mapping[str, Any], idempotency_key: str | None) -> ToolContext:
        return ToolContext.at(
            workplace,
            wallet=wallet,
            search=search,
            limits=limits,
            scratchpad=scratchpad,
            idempotency_key=idempotency_key,
        )

    async def close() -> None:
        for closing in (llms.close, search.close, workplace.close):
            await closing()

    return Workshop(llms=llms, tools=TOOLS, open_context=open_context), close


class _NoSearch:
    """Stands in for a search that could not be opened: who searches is told why; all other tools work."""

    name = "none"

    def __init__(self, error: MissingKeyError) -> None:
        self._error = error

    async def search(self, query: str, *, limit: int) -> Found:  # noqa: ARG002 - `Search`
        raise self._error

    async def close(self) -> None: ...


def _search_or_reason(settings: SearchSettings) -> Search:
    try:
        return open_search(settings)
    except MissingKeyError as error:
        return _NoSearch(error)
