"""Whether a loop can end: which edges a turn may take at the least, as `Routing.taken` takes them."""

from __future__ import annotations

from collections.abc import Iterator

from actors.agents.conditions import Always, OnNoToolCall, OnToolCall
from actors.agents.definition import NO_LLM, Edge, Node, WorkflowDefinition


def endless(definition: WorkflowDefinition, members: frozenset[str]) -> frozenset[str]:
    """Of a loop's nodes, those from which no branch can ever end or leave the loop with all that it set going.

    Nothing is known of signals and scratchpads: whatever they might be counts. So a loop that is named here has no end
    in any run, and one that is not may still have none in some.
    """
    fewest = {node.id: list(_fewest(definition, node)) for node in definition.nodes if node.id in members}
    stuck = set(members)
    while ending := {name for name in stuck if any(not targets & stuck for targets in fewest[name])}:
        stuck -= ending
    return frozenset(stuck)


def _fewest(definition: WorkflowDefinition, node: Node) -> Iterator[frozenset[str]]:
    """The targets of a turn at this node: each smallest set that can be taken."""
    edges = definition.edges_from(node.id)
    for called_tools in _calls(definition, node, edges):
        certain = OnToolCall if called_tools else OnNoToolCall
        if taken := [edge for edge in edges if isinstance(edge.condition, certain)]:
            yield _targets(taken)
            continue
        yield _targets([edge for edge in edges if isinstance(edge.condition, Always)])
        alike: dict[str, list[Edge]] = {}
        for edge in edges:
            if not isinstance(edge.condition, Always | OnToolCall | OnNoToolCall):
                alike.setdefault(edge.condition.model_dump_json(), []).append(edge)
        yield from map(_targets, alike.values())


def _calls(definition: WorkflowDefinition, node: Node, edges: list[Edge]) -> tuple[bool, ...]:
    """Whether a turn can end with a tool call, and without one. With a model it ends with one only where an edge waits
    for that; otherwise the model goes on until it has none left to make.
    """
    agent = definition.agents.get(node.agent_config_name)
    if agent is None:
        return False, True
    if agent.llm_choice == NO_LLM:
        return (True,)
    waits = bool(agent.allowed_tools) and any(isinstance(edge.condition, OnToolCall) for edge in edges)
    return (False, True) if waits else (False,)


def _targets(edges: list[Edge]) -> frozenset[str]:
    return frozenset(edge.target_node_id for edge in edges)
