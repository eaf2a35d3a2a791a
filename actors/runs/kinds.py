"""Kinds of runs: how each builds its graph from what its runs were started with.

Hosts live in processes of their own and open the kinds there, by the factory that a `RunSetup` names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langgraph.graph import StateGraph
from langgraph.types import Interrupt

from actors.errors import UnknownKindError
from actors.runs.group_commit import Rows
from actors.runs.retrying import DEFAULT, RetryPolicy
from actors.settings import ActorsSettings
from storage.runs import Run
from storage.settings import StorageSettings

Graph = StateGraph[Any, Any, Any, Any]


def _as_it_is(values: dict[str, Any]) -> dict[str, Any]:
    return values


class Questions(Protocol):
    """Keeps what runs of a kind ask of people. Its rows are written with the run's own, in one transaction and after
    them: whoever changes both locks the run first. It raises nothing: a run could not be written over it.
    """

    def asked(self, run: Run, interrupt: Interrupt, step: str | None) -> Rows:
        """Rows for an interrupt that the run waits with; also where they are there already."""

    def ended(self, run: Run) -> Rows:
        """Rows for the run's end, after which nothing of it is asked any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of runs. `graph` is asked once per distinct `spec` and process; its answer must follow from it alone.

    `state` makes the graph's input from the run's, `result` the run's JSON-able output from the graph's last values.
    `retry` is for nodes that have no policy of their own (see `durable`). `questions` keeps what they ask of people.
    """

    name: str
    graph: Callable[[dict[str, Any]], Graph | Awaitable[Graph]]
    state: Callable[[dict[str, Any]], Any] = _as_it_is
    result: Callable[[dict[str, Any]], dict[str, Any]] = _as_it_is
    recursion_limit: int = 1000
    retry: RetryPolicy = DEFAULT
    questions: Questions | None = None


async def _nothing() -> None: ...


class Kinds:
    """The kinds that a host knows, and what closes what they opened."""

    def __init__(self, kinds: Sequence[Kind], close: Callable[[], Awaitable[None]] = _nothing) -> None:
        self._kinds: Mapping[str, Kind] = {kind.name: kind for kind in kinds}
        self.close = close

    def __getitem__(self, name: str) -> Kind:
        """Raises `UnknownKindError`."""
        try:
            return self._kinds[name]
        except KeyError:
            known = ", ".join(sorted(self._kinds)) or "none"
            raise UnknownKindError(f"no kind of runs is called {name!r} here; known: {known}", subject=name) from None

    def questions_of(self, name: str) -> Questions | None:
        """What keeps the questions of this kind's runs, if anything does."""
        kind = self._kinds.get(name)
        return None if kind is None else kind.questions


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetup:
    """All that a host must be told. `open_kinds` is called with this setup, in the host's loop; pickled by name."""

    storage: StorageSettings
    actors: ActorsSettings
    open_kinds: Callable[[RunSetup], Kinds]
