"""Workflow definitions for tests, as their authors would send them."""

from __future__ import annotations

from typing import Any

from actors.agents.definition import WorkflowDefinition


def agent(name: str = "Worker", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "system_message_template": "Do the work.",
        "llm_choice": "stub-model",
        "allowed_tools": [],
    } | changes


def node(node_id: str, agent_name: str = "Worker", **changes: Any) -> dict[str, Any]:
    return {"id": node_id, "agent_config_name": agent_name} | changes


def edge(source: str, target: str, condition: Any = "ALWAYS") -> dict[str, Any]:
    return {"source_node_id": source, "target_node_id": target, "condition": condition}


def payload(*edges: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A workflow of these edges, one worker a node, that starts at the first edge's source."""
    names = dict.fromkeys(name for each in edges for name in (each["source_node_id"], each["target_node_id"]))
    return {
        "name": "Test flow",
        "agent_configs": [agent()],
        "nodes": [node(name) for name in names if name != "END"],
        "edges": list(edges),
        "start_node_id": edges[0]["source_node_id"] if edges else "a",
    } | changes


def defined(*edges: dict[str, Any], **changes: Any) -> WorkflowDefinition:
    return WorkflowDefinition.model_validate(payload(*edges, **changes))


def signal(name: str) -> dict[str, str]:
    return {"type": "ON_ROUTING_SIGNAL", "signal": name}


def compare(path: str, operator: str, value: Any = None) -> dict[str, Any]:
    return {"type": "ON_SCRATCHPAD", "path": path, "operator": operator, "value": value}
