"""What is not told of a comparison before it is decided: whatever would let who picks tell whose answer is whose.

From its start until one is picked, it is rejected or its time is over, that is the candidates, their payloads and
responses, and what their calls cost and took. One that failed or was cancelled before can be retried, and then picked:
all of it is told once it is too old for that. Whoever shows a run or its events shows them through here.
"""

from __future__ import annotations

from typing import Any, Protocol

from actors.errors import RejectedError, ReviewTimeoutError
from actors.kind_names import TEAM_COMPARISON
from actors.runs.events import FollowedEvent
from storage.run_events import RunEvent
from storage.runs import ENDED, RETRIED, Run

REASON = (
    "its answers are compared blindly: candidates, what they were sent and what they cost are told once it is decided"
)
# A comparison that failed so was decided: a retry comes to the same.
_DECIDED = (RejectedError.code, ReviewTimeoutError.code)
# Steps and artifacts that are one candidate's begin so, with its number.
CALL, CANDIDATE = "call ", "candidate "


class Standing(Protocol):
    """Of a run, what says whether something of it is withheld."""

    kind: Any
    status: Any
    error: Any
    retained: Any


def withheld(run: Standing) -> str | None:
    """Why something of this run is not told, as a sentence; none where everything is."""
    return REASON if run.kind == TEAM_COMPARISON and not _is_decided(run) else None


def _is_decided(run: Standing) -> bool:
    if run.status not in ENDED:
        return False
    return run.status == "completed" or (run.error or {}).get("code") in _DECIDED or run.retained not in RETRIED


def input_of(run: Run) -> dict[str, Any]:
    """The run's input, as it may be told."""
    return run.input if withheld(run) is None else {name: run.input[name] for name in run.input if name != "candidates"}


def usage_of(run: Run) -> dict[str, Any]:
    """The run's usage, as it may be told: in total, and by model where that tells nothing."""
    return run.usage if withheld(run) is None else {name: run.usage[name] for name in run.usage if name != "models"}


def is_told(run: Standing, event: RunEvent | FollowedEvent) -> bool:
    """Whether the event may be told as it is."""
    return withheld(run) is None or not (event.type == "llm.used" or (event.step or "").startswith(CALL))


def event_of(run: Standing, event: RunEvent | FollowedEvent) -> RunEvent | FollowedEvent:
    """The event as it may be told: of a call that it is one, for events are numbered without a gap."""
    if is_told(run, event):
        return event
    return FollowedEvent(event.seq, event.type, CALL.strip(), event.at, {"withheld": REASON})


def artifact_of(run: Standing, name: str, body: Any) -> Any:
    """What of an artifact may be told."""
    return body if withheld(run) is None or not name.startswith(CANDIDATE) else {"withheld": REASON}
