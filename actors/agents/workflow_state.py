"""What a workflow's nodes share: the conversation, the scratchpad, and where the run stands within its graph.

Everything in it is JSON or a LangChain message, so that every step can be kept and taken up by another process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict, cast

import orjson
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.graph.message import add_messages

from actors.agents.documents import MAX_SCRATCHPAD_BYTES, sayable, size_of
from actors.errors import ScratchpadTooLargeError

# Of a message: the node whose turn it belongs to.
NODE_KEY = "node_id"


class Turn(TypedDict, total=False):
    """How far a node is with its present turn. `told`: the attempt of a run in which the model was told of a call that
    cannot be made (`node_step.attempt_of_run`).

    `output` is the answer that waits for a review, `refused` why the reviewer's last word could not be used.
    """

    told: str | None
    signal: str | None
    output: Any
    refused: str | None


class Progress(TypedDict, total=False):
    """Where the run stands. `running` and `waiting` count branches at each node: in their turn, or before its gate.

    As an update: numbers are added, turns are replaced, and `None` ends one. `reset` begins a new run of the thread.
    """

    reset: bool
    steps: int
    running: dict[str, int]
    waiting: dict[str, int]
    turns: dict[str, Turn | None]


def _last(_: Any, latest: Any) -> Any:
    """Branches that run at once may each write; the graph's order decides."""
    return latest


def _merged(present: dict[str, Any], update: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**(present or {}), **(update or {})}


def _progressed(present: Progress, update: Progress) -> Progress:
    before: Progress = {} if update.get("reset") else present or {}
    turns = {**before.get("turns", {}), **update.get("turns", {})}
    return {
        "steps": before.get("steps", 0) + update.get("steps", 0),
        "running": _added(before.get("running", {}), update.get("running", {})),
        "waiting": _added(before.get("waiting", {}), update.get("waiting", {})),
        "turns": {node: turn for node, turn in turns.items() if turn is not None},
    }


def _added(counts: Mapping[str, int], changes: Mapping[str, int]) -> dict[str, int]:
    sums = {name: counts.get(name, 0) + changes.get(name, 0) for name in (*counts, *changes)}
    return {name: count for name, count in sums.items() if count}


class WorkflowState(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    agent_name: Annotated[str, _last]
    current_task_description: Annotated[str, _last]
    workflow_scratchpad: Annotated[dict[str, Any], _merged]
    workflow_progress: Annotated[Progress, _progressed]


def begun(run_input: Mapping[str, Any]) -> WorkflowState:
    """The graph's input for a run's: `task_description` and `initial_scratchpad`. On a thread that ran before, the
    conversation and the scratchpad go on.
    """
    task = str(run_input["task_description"])
    return {
        "messages": [HumanMessage(task)],
        "current_task_description": task,
        "workflow_scratchpad": dict(run_input.get("initial_scratchpad") or {}),
        "workflow_progress": {"reset": True},
    }


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The final state of a run that came to its end. Raises `ScratchpadTooLargeError` for what the branches that ended
    it at once made too large together: no node comes after them that would be given it.
    """
    if (size := size_of(values.get("workflow_scratchpad", {}))) > MAX_SCRATCHPAD_BYTES:
        raise ScratchpadTooLargeError(
            f"the scratchpad that the run ends with has {size:,} bytes; the limit is {MAX_SCRATCHPAD_BYTES:,}: what "
            "its last branches hold together is too much; store large results elsewhere and keep their address there",
            limit=MAX_SCRATCHPAD_BYTES,
        )
    return final_state(values)


def final_state(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller sees of the state, as JSON."""
    return {
        "messages": [written(message) for message in values.get("messages", [])],
        "agent_name": values.get("agent_name"),
        "workflow_scratchpad": values.get("workflow_scratchpad", {}),
        "current_task_description": values.get("current_task_description"),
    }


def written(message: BaseMessage) -> dict[str, Any]:
    """A message on the wire; members that its kind lacks are empty. Never raises: a run's end depends on it."""
    ai = message if isinstance(message, AIMessage) else None
    document = {
        "content": str(message.text) if isinstance(message.content, list) else message.content,
        "type": message.type,
        "name": message.name,
        "id": message.id,
        "tool_calls": ai.tool_calls if ai else [],
        "invalid_tool_calls": ai.invalid_tool_calls if ai else [],
        "additional_kwargs": message.additional_kwargs,
        "response_metadata": message.response_metadata,
        "usage_metadata": ai.usage_metadata if ai else None,
    }
    if isinstance(message, ToolMessage):
        document |= {"tool_call_id": message.tool_call_id, "status": message.status}
    # Providers' metadata, and what a model wrote, may hold what JSON does not know.
    try:
        plain = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        plain = orjson.dumps(sayable(document))
    return cast(dict[str, Any], orjson.loads(plain))


def merged_scratchpad(present: Mapping[str, Any], update: Mapping[str, Any], *, by: str) -> dict[str, Any]:
    """The scratchpad with the update. Raises `ScratchpadTooLargeError` naming who would have gone past the limit."""
    merged = {**present, **update}
    if update and (size := size_of(merged)) > MAX_SCRATCHPAD_BYTES:
        raise ScratchpadTooLargeError(
            f"with what {by!r} adds ({', '.join(sorted(update))[:200]}) the scratchpad has {size:,} bytes; the limit "
            f"is {MAX_SCRATCHPAD_BYTES:,}: store large results elsewhere and keep their address here",
            subject=by,
            limit=MAX_SCRATCHPAD_BYTES,
        )
    return merged


def check_entered(scratchpad: Mapping[str, Any], *, by: str) -> None:
    """Raises `ScratchpadTooLargeError` for what no single addition made too large: branches that ran at once, or a
    thread that goes on with a further initial scratchpad.
    """
    if (size := size_of(scratchpad)) > MAX_SCRATCHPAD_BYTES:
        raise ScratchpadTooLargeError(
            f"the scratchpad that {by!r} is given has {size:,} bytes; the limit is {MAX_SCRATCHPAD_BYTES:,}: what the "
            "branches before it, or the thread's earlier runs and the initial scratchpad, hold together is too much",
            subject=by,
            limit=MAX_SCRATCHPAD_BYTES,
        )
