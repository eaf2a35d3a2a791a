"""Whether a definition's parts fit together: every fault at once, each with the JSON path of the part at fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import ValidationError

from actors.agents.conditions import SIGNAL_KEY, OnRoutingSignal, OnScratchpad
from actors.agents.definition import END, NO_LLM, AgentConfig, Review, WorkflowDefinition
from actors.agents.endings import endless
from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.paths import Paths, loops
from actors.agents.review_policy import ReviewPolicy
from actors.agents.structured import schema_fault
from actors.agents.templates import GIVEN, filler, placeholders
from actors.agents.tools.tool import Tool
from actors.errors import DefinitionFaultsError, UnknownLLMError


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `path` is a JSON path within the definition, `$.edges[2].target_node_id`."""

    path: str
    message: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What definitions may name: whether there is an LLM of that choice, and the tools there are."""

    llm: Callable[[str], bool]
    tools: frozenset[str]
    # The keys of the scratchpad that each tool writes.
    fills: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # Only for the message: what an author can choose from.
    llms: Sequence[str] = ()


def known_among(llms: LLMCatalogue, tools: Mapping[str, Tool[Any]]) -> Known:
    """The models of this catalogue, whether their keys are there or not, and these tools."""

    def llm(choice: str) -> bool:
        try:
            llms.check(choice)
        except UnknownLLMError:
            return False
        return True

    fills = {name: tool.fills for name, tool in tools.items()}
    return Known(llm=llm, tools=frozenset(tools), fills=fills, llms=llms.choices())


def check(definition: WorkflowDefinition, known: Known) -> None:
    """Raises `DefinitionFaultsError` with all faults, in the order of the definition."""
    if found := faults(definition, known):
        sentence = "; ".join(f"{fault.path}: {fault.message}" for fault in found[:5])
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise DefinitionFaultsError(
            f"the workflow {definition.name!r} has faults: {sentence}{more}",
            subject=definition.name,
            errors=[asdict(fault) for fault in found],
        )


def faults(definition: WorkflowDefinition, known: Known) -> list[Fault]:
    """All faults, in the order of the definition; none in a sound one."""
    return [
        *_duplicates(definition),
        *_agents(definition, known),
        *_nodes(definition),
        *_edges(definition),
        *_start(definition),
        *_paths(definition),
        *_loops(definition),
    ]


def _duplicates(definition: WorkflowDefinition) -> Iterator[Fault]:
    for noun, part, names in (
        ("agent", "agent_configs[{}].name", [agent.name for agent in definition.agent_configs]),
        ("node", "nodes[{}].id", [node.id for node in definition.nodes]),
    ):
        seen: dict[str, int] = {}
        for index, name in enumerate(names):
            if name in seen:
                sentence = f"{noun} {name!r} is there already, at position {seen[name]}"
                yield Fault(f"$.{part.format(index)}", sentence, "duplicate")
            seen.setdefault(name, index)


def _agents(definition: WorkflowDefinition, known: Known) -> Iterator[Fault]:
    filled = {*GIVEN, *definition.inputs, *_written(definition, known)}
    for index, agent in enumerate(definition.agent_configs):
        path = f"$.agent_configs[{index}]"
        if agent.llm_choice != NO_LLM and not known.llm(agent.llm_choice):
            choices = f"; there are {', '.join(known.llms)}" if known.llms else ""
            yield Fault(f"{path}.llm_choice", f"no LLM is known as {agent.llm_choice!r}{choices}", "unknown_llm")
        if agent.llm_choice == NO_LLM and not agent.allowed_tools:
            sentence = f"an agent whose llm_choice is {NO_LLM!r} acts by its tools, and this one has none"
            yield Fault(f"{path}.allowed_tools", sentence, "no_tools")
        yield from _tools(agent, path, known)
        yield from _template(agent, path, filled)


def _written(definition: WorkflowDefinition, known: Known) -> Iterator[str]:
    """The keys of the scratchpad that the workflow itself may fill: answers, what tools write, and the signal."""
    yield from (node.kept_as for node in definition.nodes if node.kept_as)
    agents = definition.agents
    for name in {node.agent_config_name for node in definition.nodes} & agents.keys():
        for tool in agents[name].allowed_tools:
            yield from known.fills.get(tool, ())
    if any(isinstance(edge.condition, OnRoutingSignal) for edge in definition.edges):
        yield SIGNAL_KEY


def _tools(agent: AgentConfig, path: str, known: Known) -> Iterator[Fault]:
    twice = {name for name, count in Counter(agent.allowed_tools).items() if count > 1}
    for place, tool in enumerate(agent.allowed_tools):
        if tool not in known.tools:
            sentence = f"there is no tool {tool!r}; there are {', '.join(sorted(known.tools))}"
            yield Fault(f"{path}.allowed_tools[{place}]", sentence, "unknown_tool")
        elif tool in twice and tool in agent.allowed_tools[:place]:
            yield Fault(f"{path}.allowed_tools[{place}]", f"tool {tool!r} is named twice", "duplicate")


def _template(agent: AgentConfig, path: str, filled: set[str]) -> Iterator[Fault]:
    path = f"{path}.system_message_template"
    try:
        named = placeholders(agent.system_message_template)
    except ValueError as error:
        yield Fault(path, f"cannot be read as a template ({error}); a brace itself is doubled: '{{{{'", "template")
        return
    for placeholder in named:
        if filler(placeholder) not in filled:
            sentence = (
                f"nobody fills the placeholder {{{placeholder}}}: name its key in `inputs`, or as a node's "
                "`output_key`, or allow a tool that writes it; a brace that is no placeholder is doubled"
            )
            yield Fault(path, sentence, "unfilled_placeholder")


def _nodes(definition: WorkflowDefinition) -> Iterator[Fault]:
    agents = definition.agents
    for index, node in enumerate(definition.nodes):
        path = f"$.nodes[{index}]"
        agent = agents.get(node.agent_config_name)
        if agent is None:
            sentence = f"no agent config is named {node.agent_config_name!r}"
            yield Fault(f"{path}.agent_config_name", sentence, "unknown_agent")
        elif node.review is not None:
            unseen = [tool for tool in node.review.tools if tool not in agent.allowed_tools]
            if unseen:
                sentence = f"agent {agent.name!r} is not allowed to use {', '.join(map(repr, unseen))}"
                yield Fault(f"{path}.review.tools", sentence, "unknown_tool")
            yield from _policy(node.review, f"{path}.review.policy")
        for name, schema in (("input_schema", node.input_schema), ("output_schema", node.output_schema)):
            if schema is not None and (wrong := schema_fault(schema)):
                yield Fault(f"{path}.{name}", wrong, "schema")


def _policy(review: Review, path: str) -> Iterator[Fault]:
    try:
        policy = ReviewPolicy.model_validate(review.policy or {})
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in each["loc"])
            yield Fault(f"{path}{place}", each["msg"].removeprefix("Value error, "), each["type"])
    else:
        if (fault := policy.agreement.fault_among(policy.whom(review.reviewer))) is not None:
            yield Fault(path, fault, "agreement")


def _edges(definition: WorkflowDefinition) -> Iterator[Fault]:
    ids = {node.id for node in definition.nodes}
    agents = {node.id: definition.agents.get(node.agent_config_name) for node in definition.nodes}
    seen: dict[tuple[str, str, str], int] = {}
    unconditional: dict[str, dict[str, int]] = {}
    for index, edge in enumerate(definition.edges):
        path = f"$.edges[{index}]"
        source, target, condition = edge.source_node_id, edge.target_node_id, edge.condition
        if source not in ids:
            yield Fault(f"{path}.source_node_id", f"there is no node {source!r}", "dangling_edge")
        if target not in ids and target != END:
            yield Fault(f"{path}.target_node_id", f"there is no node {target!r}, nor is it {END!r}", "dangling_edge")
        key = (source, target, condition.model_dump_json())
        if key in seen:
            yield Fault(path, f"is the same as edge {seen[key]}", "duplicate")
            continue
        seen[key] = index
        if condition.type == "ALWAYS":
            others = unconditional.setdefault(source, {})
            others[target] = index
            ends = others.get(END)
            if ends is not None and len(others) > 1:
                goes_on = next(place for name, place in others.items() if name != END)
                sentence = (
                    f"contradicts edge {min(ends, goes_on)}: from {source!r} one goes on and one ends, both always; "
                    "give one of them a condition, or remove it"
                )
                yield Fault(f"{path}.condition", sentence, "contradiction")
        agent = agents.get(source)
        if condition.type == "ON_TOOL_CALL" and agent is not None and not agent.allowed_tools:
            sentence = f"never holds: agent {agent.name!r} has no allowed_tools"
            yield Fault(f"{path}.condition", sentence, "never_holds")
        if isinstance(condition, OnScratchpad) and (wrong := _comparison_fault(condition)):
            yield Fault(f"{path}.condition.value", wrong, "comparison")


def _comparison_fault(condition: OnScratchpad) -> str | None:
    value = condition.value
    orderable = isinstance(value, int | float | str) and not isinstance(value, bool)
    if condition.operator in {">", ">=", "<", "<="} and not orderable:
        return f"{condition.operator!r} compares with a number or a text"
    if condition.operator == "in" and not isinstance(value, list):
        return "'in' looks for the found value in a list"
    return None


def _start(definition: WorkflowDefinition) -> Iterator[Fault]:
    if definition.start_node_id not in {node.id for node in definition.nodes}:
        yield Fault("$.start_node_id", f"there is no node {definition.start_node_id!r} to start with", "missing_start")


def _paths(definition: WorkflowDefinition) -> Iterator[Fault]:
    paths = Paths(definition)
    if definition.start_node_id not in paths.targets:
        return
    reached = {definition.start_node_id, *paths.reachable(definition.start_node_id)}
    for index, node in enumerate(definition.nodes):
        if node.id not in reached:
            sentence = f"no path leads from {definition.start_node_id!r} to node {node.id!r}"
            yield Fault(f"$.nodes[{index}].id", sentence, "unreachable")


def _loops(definition: WorkflowDefinition) -> Iterator[Fault]:
    places = {node.id: index for index, node in reversed(list(enumerate(definition.nodes)))}
    for members in loops(definition):
        stuck = endless(definition, members)
        if stuck:
            names = ", ".join(repr(name) for name in sorted(stuck, key=places.__getitem__))
            first = min(places[name] for name in stuck)
            sentence = (
                f"the loop over {names} has no way out: after each turn some edge leads back into it; give that edge a "
                f"condition, or add one with a condition to a node outside it, or to {END!r}"
            )
            yield Fault(f"$.nodes[{first}]", sentence, "endless_loop")


def signals_of(definition: WorkflowDefinition, node_id: str) -> tuple[str, ...]:
    """The routing signals that edges of this node wait for, in order."""
    wanted = (edge.condition for edge in definition.edges_from(node_id))
    return tuple(dict.fromkeys(each.signal for each in wanted if isinstance(each, OnRoutingSignal)))
