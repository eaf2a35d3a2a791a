"""AthenaV2: the agents that verify one contribution.

    FileProcessorAgent ── TEXT_READY, IMAGE_READY ──> AIVerificationScorerAgent ── SCORED, SCORING_FAILED ──┐
            └───────────── UNREADABLE, DUPLICATE ──────────────────────────────────> DecisionMakerAgent <──┘

The functions behind the agents' tools are those of the fan-out, so a contribution gets the same verdict either way.
"""

from __future__ import annotations

from dataclasses import dataclass

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from actors.agents.deps import AthenaDeps
from actors.agents.state import AthenaState, Signal, Step
from actors.agents.workers import (
    DECISION_MAKER,
    FILE_PROCESSOR,
    SCORER,
    decision_maker,
    file_processor,
    last_signal,
    verification_scorer,
)
from actors.verification.models import Brief, Content, Decision, Duplicate, Score
from storage.errors import HyvveError

Athena = CompiledStateGraph[AthenaState, None, AthenaState, AthenaState]


@dataclass(frozen=True, slots=True, kw_only=True)
class AthenaOutcome:
    """What became of one contribution; `score` is `None` where none was given, `error` then says why (a copy has none).

    `trace` is the scratchpad: one step per agent that ran, in order.
    """

    content: Content | None
    score: Score | None
    decision: Decision
    trace: tuple[Step, ...]
    error: HyvveError | None = None
    duplicate: Duplicate | None = None


def build(deps: AthenaDeps) -> Athena:
    """The compiled graph. It holds no state of its own: one serves any number of contributions at once."""
    graph = StateGraph(AthenaState)
    graph.add_node(FILE_PROCESSOR, file_processor(deps))
    graph.add_node(SCORER, verification_scorer(deps))
    graph.add_node(DECISION_MAKER, decision_maker(deps))
    graph.add_edge(START, FILE_PROCESSOR)
    graph.add_conditional_edges(
        FILE_PROCESSOR,
        last_signal,
        {
            Signal.TEXT_READY: SCORER,
            Signal.IMAGE_READY: SCORER,
            Signal.UNREADABLE: DECISION_MAKER,
            Signal.DUPLICATE: DECISION_MAKER,
        },
    )
    graph.add_conditional_edges(
        SCORER, last_signal, {Signal.SCORED: DECISION_MAKER, Signal.SCORING_FAILED: DECISION_MAKER}
    )
    graph.add_conditional_edges(DECISION_MAKER, last_signal, {Signal.DECIDED: END})
    return graph.compile(name="AthenaV2")


async def verify(
    deps: AthenaDeps,
    *,
    brief: Brief,
    data: bytes,
    file_name: str | None,
    declared_type: str | None,
    contributor: str,
    duplicate: Duplicate | None = None,
    graph: Athena | None = None,
) -> AthenaOutcome:
    """One contribution judged by the agents. Any content gives a decision: an unreadable one, or a scorer that fails,
    gives ERROR. `duplicate` is one known already; else `deps.find_duplicate` looks. `graph` is one built before.
    """
    state = await (graph or build(deps)).ainvoke(
        {
            "brief": brief,
            "data": data,
            "file_name": file_name,
            "declared_type": declared_type,
            "contributor": contributor,
            "duplicate": duplicate,
            "scratchpad": [],
        }
    )
    return AthenaOutcome(
        content=state.get("content"),
        score=state.get("score"),
        decision=state["decision"],
        trace=tuple(state["scratchpad"]),
        error=state.get("error"),
        duplicate=state.get("duplicate"),
    )
