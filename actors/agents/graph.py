"""A definition compiled to a LangGraph graph: one that runs alone, and one that the run engine drives step by step."""

from __future__ import annotations

from typing import Any

from langgraph.graph import START, StateGraph

from actors.agents.agent import AgentNode, Workshop
from actors.agents.definition import Node, WorkflowDefinition
from actors.agents.routing import Routing, gate_of
from actors.agents.workflow_state import WorkflowState
from actors.runs.retrying import ONCE, RetryPolicy, durable

WorkflowGraph = StateGraph[WorkflowState, Any, WorkflowState, WorkflowState]


def build(definition: WorkflowDefinition, workshop: Workshop) -> WorkflowGraph:
    """The graph of a sound definition (see `validation.check`), to compile with or without a checkpointer.

    Raises `KeyError` for a tool that is gone since the definition was saved.
    """
    routing = Routing(definition)
    graph: WorkflowGraph = StateGraph(WorkflowState)
    for node in definition.nodes:
        agent = AgentNode(definition, node, routing, workshop)
        limits: dict[str, Any] = {"retry": _retry(node), "timeout_s": node.timeout_s}
        if agent.thinks:
            graph.add_node(node.id, durable(agent.think, **limits))
            graph.add_node(agent.tools_step, durable(agent.use_tools, **limits))
        else:
            graph.add_node(node.id, durable(agent.act, **limits))
        if node.review is not None and node.review.on == "output":
            graph.add_node(agent.review_step, durable(agent.look, retry=ONCE))
        if node.id in routing.gates:
            graph.add_node(gate_of(node.id), durable(_gate(routing, node.id), retry=ONCE))
    graph.add_edge(START, routing.enter(definition.start_node_id))
    return graph


def _gate(routing: Routing, node_id: str) -> Any:
    async def gate(state: WorkflowState) -> Any:
        return routing.pass_gate(node_id, state)

    return gate


def _retry(node: Node) -> RetryPolicy:
    if node.retry is None:
        return RetryPolicy()
    return RetryPolicy(
        attempts=node.retry.max_attempts,
        base_s=node.retry.initial_s,
        factor=node.retry.factor,
        cap_s=node.retry.max_s,
    )
