"""A definition compiled to a LangGraph graph: one that runs alone, and one that the run engine drives step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langgraph.graph import START, StateGraph

from actors.agents.acting import Act, UseTools
from actors.agents.definition import NO_LLM, Node, WorkflowDefinition
from actors.agents.looking import Look
from actors.agents.node_step import Workshop, review_step_of, tools_step_of
from actors.agents.routing import Goto, Routing, gate_of
from actors.agents.thinking import Think
from actors.agents.workflow_state import WorkflowState
from actors.runs.retrying import ONCE, RetryPolicy, durable

WorkflowGraph = StateGraph[WorkflowState, Any, WorkflowState, WorkflowState]


def build(definition: WorkflowDefinition, workshop: Workshop) -> WorkflowGraph:
    """The graph of a sound definition (see `validation.check`), to compile with or without a checkpointer.

    Raises `UnknownToolError` for a tool that is gone since the definition was saved.
    """
    routing = Routing(definition)
    graph: WorkflowGraph = StateGraph(WorkflowState)
    for node in definition.nodes:
        parts = (definition, node, routing, workshop)
        limits: dict[str, Any] = {"retry": _retry(node), "timeout_s": node.timeout_s}
        if definition.agents[node.agent_config_name].llm_choice == NO_LLM:
            graph.add_node(node.id, _step(Act(*parts), **limits))
        else:
            graph.add_node(node.id, _step(Think(*parts), **limits))
            graph.add_node(tools_step_of(node.id), _step(UseTools(*parts), **limits))
        if node.review is not None and node.review.on == "output":
            graph.add_node(review_step_of(node.id), _step(Look(*parts), retry=ONCE))
        if node.id in routing.gates:
            graph.add_node(gate_of(node.id), _step(_gate(routing, node.id), retry=ONCE))
    graph.add_edge(START, routing.enter(definition.start_node_id))
    return graph


def _step(step: Callable[[WorkflowState], Awaitable[Goto]], **limits: Any) -> Any:
    async def run(state: WorkflowState) -> Goto:
        return await step(state)

    return durable(run, **limits)


def _gate(routing: Routing, node_id: str) -> Callable[[WorkflowState], Awaitable[Goto]]:
    async def gate(state: WorkflowState) -> Goto:
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
