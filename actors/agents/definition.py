"""A workflow as its author writes it: agents, the nodes that place them, and the edges between those.

These models hold the shape alone; `validation.py` says whether the parts fit together. Every bound is named in the
refusal, so that an author knows what to cut.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from actors.agents.conditions import Always, Condition
from actors.agents.documents import MAX_DEPTH, MAX_SCRATCHPAD_BYTES, depth_of, size_of, unstorable

END = "END"
# An agent config with this `llm_choice` calls its tools by itself, with what the scratchpad holds: no model decides.
NO_LLM = "none"

MAX_NODES = 200
MAX_EDGES = 1_000
MAX_DEFINITION_BYTES = 1_000_000
DEFAULT_RECURSION_LIMIT = 100

# No ":" and "|" (LangGraph's own separators) and no "/" (ours, see `graph.py`).
_NODE_ID = re.compile(r"[\w](?:[\w. -]{0,98}[\w.-])?")
# What the graph's state and LangGraph itself call theirs.
RESERVED_IDS = frozenset(
    {END, "START", "__start__", "__end__", "messages", "agent_name", "workflow_scratchpad",
     "current_task_description", "workflow_progress"}
)  # fmt: skip
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def _clean(value: str) -> str:
    if found := _CONTROLS.search(value):
        raise PydanticCustomError("control_character", f"holds the character U+{ord(found[0]):04X}, which is refused")
    return value


def _node_id(value: str) -> str:
    if value in RESERVED_IDS or value.startswith("__"):
        raise PydanticCustomError("reserved", f"{value!r} is a reserved name; give the node another id")
    if not _NODE_ID.fullmatch(value):
        raise PydanticCustomError(
            "node_id",
            "must be 1 to 100 letters, digits, '_', '-', '.' or inner spaces, and begin with a letter or digit",
        )
    return value


def _shallow(value: Any) -> Any:
    if depth_of(value) > MAX_DEPTH:
        raise PydanticCustomError("too_deep", f"is nested deeper than the limit of {MAX_DEPTH} levels")
    if reason := unstorable(value):
        raise PydanticCustomError("unstorable", reason)
    return value


def _small(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    # After the counts, whose sentences say more, and of what came in: parts that are ignored were sent all the same.
    kept = handler(value)
    if size_of(value) > MAX_DEFINITION_BYTES:
        raise PydanticCustomError("too_large", f"is larger than the limit of {MAX_DEFINITION_BYTES:,} bytes as JSON")
    return kept


def _bounded(noun: str, limit: int) -> BeforeValidator:
    def check(value: Any) -> Any:
        # Before the entries are looked at: ten thousand of them must not cost ten thousand validations.
        if isinstance(value, list) and len(value) > limit:
            raise PydanticCustomError("too_many", f"holds {len(value):,} {noun}; the limit is {limit:,}")
        return value

    return BeforeValidator(check)


def _or_none(value: Any) -> Any:
    return () if value is None else value


Text = Annotated[str, StringConstraints(strict=True, max_length=50_000), AfterValidator(_clean)]
Label = Annotated[
    str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_clean)
]
NodeId = Annotated[str, StringConstraints(strict=True), AfterValidator(_node_id)]
Key = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z_]\w{0,99}$")]
JsonObject = Annotated[dict[str, Any], BeforeValidator(_shallow)]


class _Part(BaseModel):
    # Editors keep things of their own (positions, colours) beside ours.
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Block(BaseModel):
    # Here a misspelt key would change what happens.
    model_config = ConfigDict(frozen=True, extra="forbid")


class AgentConfig(_Part):
    """Who acts: its instructions, its model and the tools it may use.

    `system_message_template` names what is filled in as `{current_task_description}` or `{key}` of the scratchpad;
    braces themselves are doubled. `llm_choice` is a model id, a short name such as `google`, or `none`: then the agent
    calls its tools by itself.
    """

    name: Label
    system_message_template: Text = ""
    llm_choice: Label
    # Of clients that send null for "none".
    allowed_tools: Annotated[tuple[Label, ...], BeforeValidator(_or_none), _bounded("tools", 50)] = ()


class Retry(_Block):
    """How often a step is tried, and how long the waits are: `initial_s`, then each `factor` times longer, jittered."""

    max_attempts: Annotated[int, Ge(1), Le(10)] = 3
    initial_s: Annotated[float, Ge(0), Le(60)] = 1.0
    factor: Annotated[float, Ge(1), Le(10)] = 2.0
    max_s: Annotated[float, Ge(0), Le(600)] = 30.0


Answer = Literal["approve", "edit", "reject", "respond"]


class Review(_Block):
    """A person looks before it goes on: at the node's answer, or at the tools it wants to call (see `review.py`)."""

    on: Literal["output", "tool_calls"] = "output"
    # Of `tool_calls`: the ones a person must see; all where none is named.
    tools: Annotated[tuple[Label, ...], _bounded("tools", 50)] = ()
    instructions: Text = ""
    reviewer: Label | None = None
    answers: Annotated[tuple[Answer, ...], MinLen(1), MaxLen(4)] = ("approve", "edit", "reject", "respond")
    # A `ReviewPolicy`; looked at when a definition is saved (`validation.py`), so that every saved one can be read.
    policy: JsonObject | None = None


class Node(_Part):
    """One place in the graph where an agent acts.

    `input_schema` and `output_schema` are JSON Schemas of the scratchpad before, and of the answer after. An answer
    with a schema is kept in the scratchpad as `output_key`, by default the node's id.
    """

    id: NodeId
    agent_config_name: Label
    input_schema: JsonObject | bool | None = None
    output_schema: JsonObject | bool | None = None
    output_key: Key | None = None
    retry: Retry | None = None
    timeout_s: Annotated[float, Gt(0), Le(3600)] | None = None
    review: Review | None = None

    @property
    def kept_as(self) -> str | None:
        """The scratchpad key of its answer."""
        return self.output_key or (self.id if self.output_schema is not None else None)


class Edge(_Part):
    """Where it goes on from `source_node_id` where `condition` holds; `END` ends the branch."""

    source_node_id: Annotated[str, StringConstraints(strict=True, max_length=100)]
    target_node_id: Annotated[str, StringConstraints(strict=True, max_length=100)]
    condition: Condition = Always()


class WorkflowDefinition(_Part):
    """The whole workflow. `inputs` names the scratchpad keys that each run must bring.

    Of a node's edges all conditional ones that hold are taken; where none holds, all `ALWAYS` ones; where there is none
    either, the branch ends. Several at once are a fan-out; a node that several running branches lead to waits for all.
    """

    name: Label
    agent_configs: Annotated[tuple[AgentConfig, ...], _bounded("agents", MAX_NODES), MinLen(1)]
    nodes: Annotated[tuple[Node, ...], _bounded("nodes", MAX_NODES), MinLen(1)]
    edges: Annotated[tuple[Edge, ...], _bounded("edges", MAX_EDGES)] = ()
    start_node_id: Annotated[str, StringConstraints(strict=True, max_length=100)]
    inputs: Annotated[tuple[Key, ...], _bounded("inputs", 100)] = ()
    # Steps of one run; a turn of an agent takes one for each call of its model and one for each round of tools.
    recursion_limit: Annotated[int, Ge(1), Le(1_000)] = DEFAULT_RECURSION_LIMIT

    @property
    def agents(self) -> dict[str, AgentConfig]:
        return {agent.name: agent for agent in self.agent_configs}

    def edges_from(self, node_id: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.source_node_id == node_id]


Payload = Annotated[WorkflowDefinition, WrapValidator(_small), BeforeValidator(_shallow)]
"""A definition as it comes in: its size and depth are looked at before anything else."""


def _within_limit(value: Any) -> Any:
    if isinstance(value, dict) and (size := size_of(value)) > MAX_SCRATCHPAD_BYTES:
        raise PydanticCustomError("too_large", f"has {size:,} bytes as JSON; the limit is {MAX_SCRATCHPAD_BYTES:,}")
    return value


Scratchpad = Annotated[dict[str, Any], BeforeValidator(_within_limit), BeforeValidator(_shallow)]
"""A scratchpad as it comes in."""

Kept = Annotated[Any, BeforeValidator(_shallow)]
"""Any JSON that comes in to be kept: neither deeper than `MAX_DEPTH`, nor with what PostgreSQL could not hold."""

__all__ = [
    "END", "MAX_SCRATCHPAD_BYTES", "NO_LLM", "AgentConfig", "Edge", "Kept", "Node", "Payload", "Retry", "Review",
    "Scratchpad", "WorkflowDefinition",
]  # fmt: skip
