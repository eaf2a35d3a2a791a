"""A workflow drawn as inline SVG: nodes in layers from the start down, edges between them, the layout computed here.

Layers are longest paths from the start, over edges that do not lead back; within a layer nodes stand where those before
them stand (the barycentre heuristic of Sugiyama, Tagawa and Toda, 1981). An edge over several layers bends around the
nodes between. The same is told as a table for who cannot see it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from actors.agents.conditions import Condition, OnRoutingSignal, OnScratchpad
from actors.agents.definition import END, Edge, Node, WorkflowDefinition
from serve.shown.escape import inert

_WIDTH, _HEIGHT, _GAP, _RISE = 190, 58, 34, 74
_END_WIDTH, _END_HEIGHT = 70, 30
_MARGIN, _LANE = 14, 22
_SWEEPS = 4
_NAMES = {"ON_TOOL_CALL": "called a tool", "ON_NO_TOOL_CALL": "called no tool"}


def condition_words(condition: Condition) -> str:
    """When an edge is taken, in a few words; nothing for one that is always taken."""
    if isinstance(condition, OnRoutingSignal):
        return condition.signal
    if isinstance(condition, OnScratchpad):
        value = "" if condition.operator == "exists" else f" {condition.value}"
        return f"{condition.path} {condition.operator}{value}"
    return _NAMES.get(condition.type, "")


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where one thing stands: a node, the end, or the bend of an edge that passes by (`name` is then a pair)."""

    name: object
    layer: int


def drawn(definition: WorkflowDefinition) -> Markup:
    """The graph of a checked definition."""
    names = [node.id for node in definition.nodes]
    edges = [(edge.source_node_id, edge.target_node_id) for edge in definition.edges]
    ends = {name for name in names if not any(source == name for source, _ in edges)}
    edges += [(name, END) for name in sorted(ends)]
    known = {*names, END}
    pairs = list(dict.fromkeys((a, b) for a, b in edges if a in known and b in known))
    back = _backward(definition.start_node_id, names, pairs)
    layers = _layers([*names, END], [pair for pair in pairs if pair not in back])
    slots, chains = _routed(layers, [pair for pair in pairs if pair not in back])
    rows = _ordered(slots, chains)
    widest = max(len(row) for row in rows)
    lanes = len([pair for pair in back if pair[0] != pair[1]])
    width = widest * _WIDTH + (widest - 1) * _GAP + 2 * _MARGIN + (lanes + 1) * _LANE
    height = len(rows) * _HEIGHT + (len(rows) - 1) * _RISE + 2 * _MARGIN
    at: dict[object, tuple[float, float]] = {}
    for layer, row in enumerate(rows):
        whole = len(row) * _WIDTH + (len(row) - 1) * _GAP
        left = (width - (lanes + 1) * _LANE - whole) / 2
        for index, name in enumerate(row):
            at[name] = (left + index * (_WIDTH + _GAP) + _WIDTH / 2, _MARGIN + layer * (_HEIGHT + _RISE) + _HEIGHT / 2)
    words = _labels(definition.edges)
    parts = [*_forward(chains, at, words), *_returning(back, at, words, width)]
    agents = definition.agents
    parts += [
        _node(node, agents[node.agent_config_name].llm_choice, at[node.id], definition) for node in definition.nodes
    ]
    if END in at:
        x, y = at[END]
        parts.append(
            f'<g><rect class="end" x="{x - _END_WIDTH / 2:.1f}" y="{y - _END_HEIGHT / 2:.1f}" width="{_END_WIDTH}"'
            f' height="{_END_HEIGHT}" rx="15"/><text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">end</text></g>'
        )
    return Markup(
        '<svg class="graph" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="The workflow as a'
        ' graph; the tables below tell the same"><defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4"'
        ' markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>'
        "{2}</svg>"
    ).format(f"{width:.0f}", f"{height:.0f}", Markup("".join(parts)))  # noqa: S704  # escaped where they are made


def _backward(start: str, names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Edges that lead back to what is under way of a walk from the start, in depth, without recursion."""
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in pairs:
        after[source].append(target)
    back: set[tuple[str, str]] = set()
    seen: set[str] = set()
    for root in dict.fromkeys([start, *names]):
        if root in seen:
            continue
        path, on_path = [(root, iter(after[root]))], {root}
        seen.add(root)
        while path:
            name, rest = path[-1]
            target = next(rest, "")
            if not target:
                path.pop()
                on_path.discard(name)
            elif target in on_path:
                back.add((name, target))
            elif target not in seen:
                seen.add(target)
                on_path.add(target)
                path.append((target, iter(after[target])))
    return back


def _layers(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way to each, of a graph without circles."""
    before = {name: {source for source, target in pairs if target == name} for name in names}
    layers: dict[str, int] = {}
    while len(layers) < len(names):
        for name in names:
            if name not in layers and all(source in layers for source in before[name]):
                layers[name] = 1 + max((layers[source] for source in before[name]), default=-1)
    if not before.get(END):
        layers.pop(END, None)
    return layers


def _routed(
    layers: dict[str, int], pairs: Sequence[tuple[str, str]]
) -> tuple[list[_Slot], dict[tuple[str, str], list[object]]]:
    """What stands in which layer, and through what each edge goes."""
    slots = [_Slot(name, layer) for name, layer in layers.items()]
    chains: dict[tuple[str, str], list[object]] = {}
    for source, target in pairs:
        bends: list[object] = [(source, target, layer) for layer in range(layers[source] + 1, layers[target])]
        slots += [_Slot(bend, layers[source] + 1 + index) for index, bend in enumerate(bends)]
        chains[source, target] = [source, *bends, target]
    return slots, chains


def _ordered(slots: Sequence[_Slot], chains: dict[tuple[str, str], list[object]]) -> list[list[object]]:
    rows: list[list[object]] = [[] for _ in range(1 + max(slot.layer for slot in slots))]
    for slot in slots:
        rows[slot.layer].append(slot.name)
    above: dict[object, list[object]] = defaultdict(list)
    below: dict[object, list[object]] = defaultdict(list)
    for chain in chains.values():
        for upper, lower in pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for layer in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            beside = rows[layer - 1 if down else layer + 1]
            place = {name: index / max(len(beside) - 1, 1) for index, name in enumerate(beside)}
            near = above if down else below
            present = {name: index / max(len(rows[layer]) - 1, 1) for index, name in enumerate(rows[layer])}
            rows[layer].sort(key=lambda name, near=near, place=place, present=present: _mean(  # type: ignore[misc]
                [place[each] for each in near[name] if each in place], present[name]
            ))  # fmt: skip
    return rows


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _labels(edges: Iterable[Edge]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for edge in edges:
        if words := condition_words(edge.condition):
            found[edge.source_node_id, edge.target_node_id].append(words)
    return {pair: " or ".join(dict.fromkeys(words)) for pair, words in found.items()}


def _top(name: object, at: tuple[float, float], *, bottom: bool) -> tuple[float, float]:
    half = 0.0 if isinstance(name, tuple) else (_END_HEIGHT if name == END else _HEIGHT) / 2
    return at[0], at[1] + (half if bottom else -half)


def _forward(
    chains: dict[tuple[str, str], list[object]],
    at: dict[object, tuple[float, float]],
    words: dict[tuple[str, str], str],
) -> Iterable[str]:
    for pair, chain in chains.items():
        x, y = _top(chain[0], at[chain[0]], bottom=True)
        path = f"M{x:.1f} {y:.1f}"
        for number, name in enumerate(chain[1:], 1):
            last = number == len(chain) - 1
            to_x, to_y = _top(name, at[name], bottom=False)
            middle = (y + to_y) / 2
            path += f" C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y - (2 if last else 0):.1f}"
            x, y = to_x, to_y
        kind = "edge if" if pair in words else "edge"
        yield f'<path class="{kind}" d="{path}" marker-end="url(#arrow)"/>'
        if pair in words:
            (ax, ay), (bx, by) = _top(chain[0], at[chain[0]], bottom=True), _top(chain[1], at[chain[1]], bottom=False)
            yield _label((ax + 2 * bx) / 3 if ax != bx else ax, ay + (by - ay) * 0.6, words[pair])


def _returning(
    back: set[tuple[str, str]], at: dict[object, tuple[float, float]], words: dict[tuple[str, str], str], width: float
) -> Iterable[str]:
    lane = width - _LANE / 2
    for source, target in sorted(back):
        (x, y), (to_x, to_y) = at[source], at[target]
        if source == target:
            side = x + _WIDTH / 2
            path = (
                f"M{side:.1f} {y - 10:.1f} C{side + 26:.1f} {y - 24:.1f} {side + 26:.1f} {y + 24:.1f}"
                f" {side + 2:.1f} {y + 10:.1f}"
            )
            label = (side + 8, y - 24)
        else:
            lane -= _LANE
            right, to_right = x + _WIDTH / 2, to_x + _WIDTH / 2
            path = (
                f"M{right:.1f} {y:.1f} C{lane:.1f} {y:.1f} {lane:.1f} {y:.1f} {lane:.1f} {(y + to_y) / 2:.1f}"
                f" C{lane:.1f} {to_y:.1f} {lane:.1f} {to_y:.1f} {to_right + 2:.1f} {to_y:.1f}"
            )
            label = (lane, (y + to_y) / 2)
        yield f'<path class="edge back" d="{path}" marker-end="url(#arrow)"/>'
        if (source, target) in words:
            yield _label(*label, words[source, target], anchor="end")


def _label(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_short(words, 30)}</text>'


def _node(node: Node, llm: str, at: tuple[float, float], definition: WorkflowDefinition) -> str:
    x, y = at[0] - _WIDTH / 2, at[1] - _HEIGHT / 2
    kind = " ".join([*(["start"] if node.id == definition.start_node_id else []), *(["person"] if node.review else [])])
    review = f'<text class="small" x="{x + _WIDTH - 10:.1f}" y="{y + 51:.1f}" text-anchor="end">a person looks</text>'
    return (
        f'<g class="{kind}"><title>{inert(node.id)}: {inert(node.agent_config_name)}</title>'
        f'<rect class="box" x="{x:.1f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="10"/>'
        f'<text class="id" x="{x + 12:.1f}" y="{y + 21:.1f}">{_short(node.id, 23)}</text>'
        f'<text class="small" x="{x + 12:.1f}" y="{y + 36:.1f}">{_short(node.agent_config_name, 30)}</text>'
        f'<text class="small" x="{x + 12:.1f}" y="{y + 51:.1f}">{_short(_model(llm), 16 if node.review else 28)}</text>'
        f"{review if node.review else ''}</g>"
    )


def _model(llm: str) -> str:
    return "no model: calls its tools" if llm == "none" else llm


def _short(text: str, limit: int) -> str:
    return inert(text if len(text) <= limit else text[: limit - 1] + "…")
