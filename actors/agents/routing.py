"""Where a run goes when a node's turn ends: which edges are taken, and how branches that meet wait for each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.types import Command

from actors.agents.conditions import Always, Turn, holds
from actors.agents.definition import END, Edge, WorkflowDefinition
from actors.agents.paths import Paths
from actors.agents.workflow_state import Progress, WorkflowState

Goto = Command[Any]


def gate_of(node_id: str) -> str:
    """The graph's name of the gate before a node. No node id holds a "/"."""
    return f"{node_id}/join"


class Routing:
    """The routes of one definition."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self._edges: dict[str, list[Edge]] = {node.id: definition.edges_from(node.id) for node in definition.nodes}
        self.gates: Mapping[str, frozenset[str]] = Paths(definition).gates(definition.start_node_id)

    def waits_for_tool_call(self, node_id: str) -> bool:
        """Whether the node's turn ends as soon as its tools have answered."""
        return any(edge.condition.type == "ON_TOOL_CALL" for edge in self._edges[node_id])

    def taken(self, node_id: str, turn: Turn) -> list[str]:
        """The nodes that the run goes on to after this turn, in the order of the edges."""
        edges = self._edges[node_id]
        chosen = [edge for edge in edges if not isinstance(edge.condition, Always) and holds(edge.condition, turn)]
        chosen = chosen or [edge for edge in edges if isinstance(edge.condition, Always)]
        return [name for name in dict.fromkeys(edge.target_node_id for edge in chosen) if name != END]

    def enter(self, node_id: str) -> str:
        """The graph's node at which a branch comes to this one."""
        return gate_of(node_id) if node_id in self.gates else node_id

    def moved(self, node_id: str, targets: list[str], progress: Progress) -> Progress:
        """The counts of branches after a turn of `node_id` that goes on to `targets`."""
        change: Progress = {"turns": {node_id: None}}
        if self.gates:
            # A run's first node is not counted: no other branch is there to wait for it.
            change["running"] = {node_id: -progress.get("running", {}).get(node_id, 0)}
            change["waiting"] = {target: 1 for target in targets if target in self.gates}
            for target in targets:
                if target not in self.gates:
                    change["running"][target] = change["running"].get(target, 0) + 1
        return change

    def pass_gate(self, node_id: str, state: WorkflowState) -> Goto:
        """Into the node once no branch can come to it any more, with all that arrived as one; else wait another step.

        It waits without an end of its own only while another branch is under way, so it costs no step that the run
        would not take anyway.
        """
        progress = state.get("workflow_progress", {})
        running, waiting = progress.get("running", {}), progress.get("waiting", {})
        under_way = {name for counts in (running, waiting) for name, count in counts.items() if count > 0}
        if running.get(node_id, 0) > 0 or under_way & self.gates[node_id]:
            return Command(goto=gate_of(node_id))
        arrived = waiting.get(node_id, 0)
        update: Progress = {"running": {node_id: 1}, "waiting": {node_id: -arrived}}
        return Command(update={"workflow_progress": update}, goto=node_id)
