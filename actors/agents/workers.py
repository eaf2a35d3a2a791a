"""AthenaV2's three agents. Each uses one tool, keeps what it found and signals; none needs a language model of its own.

Whatever a content does to a tool becomes an error of that content, which the last agent turns into an ERROR decision;
what fails for all contents alike (the database behind the search for duplicates) is raised.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from actors.agents.deps import AthenaDeps
from actors.agents.state import AthenaState, Signal, Step
from actors.agents.tools.make_verification_decision import make_verification_decision
from actors.agents.tools.read_file_content import read_file_content
from actors.agents.tools.scores import get_image_verification_score, get_text_verification_score
from actors.errors import UnexpectedItemError
from actors.verification.models import Content, Score
from storage.errors import HyvveError

log = logging.getLogger(__name__)

T = TypeVar("T")

FILE_PROCESSOR = "FileProcessorAgent"
SCORER = "AIVerificationScorerAgent"
DECISION_MAKER = "DecisionMakerAgent"


class Agent(Protocol):
    """A node of the graph: the state as it stands, to what the agent adds to it."""

    async def __call__(self, state: AthenaState) -> AthenaState: ...


_SCORE_TOOLS: dict[Signal, Callable[..., Awaitable[Score]]] = {
    Signal.TEXT_READY: get_text_verification_score,
    Signal.IMAGE_READY: get_image_verification_score,
}


def last_signal(state: AthenaState) -> Signal:
    """What the agent before said: the graph's edges route on it."""
    return state["scratchpad"][-1].signal


def file_processor(deps: AthenaDeps) -> Agent:
    """Reads the file and looks for the contribution that it repeats."""

    async def run(state: AthenaState) -> AthenaState:
        started = time.perf_counter()
        step = _step(FILE_PROCESSOR, "read_file_content", started)
        content = await _use(
            deps,
            read_file_content,
            data=state["data"],
            file_name=state.get("file_name"),
            declared_type=state.get("declared_type"),
        )
        if isinstance(content, HyvveError):
            return {"content": None, "error": content, "scratchpad": [step(Signal.UNREADABLE, content.message)]}
        duplicate = state.get("duplicate")
        if duplicate is None and deps.find_duplicate is not None:
            duplicate = await deps.find_duplicate(content)
        found: AthenaState = {"content": content, "duplicate": duplicate}
        if duplicate is not None and duplicate.kind == "exact":
            note = f"its bytes equal contribution {duplicate.contribution_id}"
            return {**found, "scratchpad": [step(Signal.DUPLICATE, note)]}
        signal = Signal.TEXT_READY if content.kind == "text" else Signal.IMAGE_READY
        return {**found, "scratchpad": [step(signal, _about(content))]}

    return run


def verification_scorer(deps: AthenaDeps) -> Agent:
    """Has the content marked by the tool for its kind."""

    async def run(state: AthenaState) -> AthenaState:
        started = time.perf_counter()
        tool = _SCORE_TOOLS[last_signal(state)]
        step = _step(SCORER, tool.__name__, started)
        score = await _use(deps, tool, brief=state["brief"], content=state["content"], contributor=state["contributor"])
        if isinstance(score, HyvveError):
            return {"error": score, "scratchpad": [step(Signal.SCORING_FAILED, score.message)]}
        note = f"{score.total:g} by {score.scorer} {score.scorer_version}, confidence {score.confidence:.2f}"
        return {"score": score, "scratchpad": [step(Signal.SCORED, note)]}

    return run


def decision_maker(deps: AthenaDeps) -> Agent:
    """Decides on the score, or on what stands in its place."""

    async def run(state: AthenaState) -> AthenaState:
        started = time.perf_counter()
        step = _step(DECISION_MAKER, "make_verification_decision", started)
        outcome = state.get("score") or state.get("error") or UnexpectedItemError("a copy needs no score")
        # Total by contract: a failure here is a fault of ours, and is raised.
        decision = await make_verification_decision(
            deps,
            brief=state["brief"],
            outcome=outcome,
            content=state.get("content"),
            duplicate=state.get("duplicate"),
        )
        return {"decision": decision, "scratchpad": [step(Signal.DECIDED, decision.verdict.value)]}

    return run


async def _use(deps: AthenaDeps, tool: Callable[..., Awaitable[T]], **arguments: Any) -> T | HyvveError:
    """What the tool gives, or the error that became of it."""
    try:
        return await tool(deps, **arguments)
    except HyvveError as error:
        return error
    except Exception as error:  # a library's surprise at a hostile file is that file's error
        log.exception("%s failed in a way nobody foresaw", tool.__name__)
        return UnexpectedItemError(f"an unforeseen error in {tool.__name__}: {type(error).__name__}: {error}"[:500])


def _step(agent: str, tool: str, started: float) -> Callable[[Signal, str], Step]:
    def done(signal: Signal, note: str) -> Step:
        return Step(agent=agent, tool=tool, signal=signal, note=note, seconds=time.perf_counter() - started)

    return done


def _about(content: Content) -> str:
    size = (
        f"{len(content.text):,} characters" if content.kind == "text" else f"{content.width} × {content.height} pixels"
    )
    return "; ".join([f"{content.media_type}, {size}", *content.left_out, *content.notes])
