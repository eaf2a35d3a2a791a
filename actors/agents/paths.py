"""A definition as a plain graph: what leads where, which nodes form loops, and which must wait for several branches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from actors.agents.conditions import exclude_each_other
from actors.agents.definition import WorkflowDefinition


class Paths:
    """What can be reached from where. Edges that name no node are left out."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self._edges = definition.edges
        self.targets: dict[str, set[str]] = {node.id: set() for node in definition.nodes}
        for edge in definition.edges:
            if edge.source_node_id in self.targets and edge.target_node_id in self.targets:
                self.targets[edge.source_node_id].add(edge.target_node_id)

    def reachable(self, node_id: str) -> set[str]:
        """The nodes that a branch at this one can come to, by at least one edge."""
        return _reachable(self.targets, node_id)

    def gates(self, start: str) -> dict[str, frozenset[str]]:
        """The nodes that several branches can come to at once, each with the nodes that it must wait for: those from
        which a branch can still come to it.

        The edges that close a loop count for the first and not for the second: two nodes of one loop would wait for
        each other for ever.
        """
        forward = _without_back_edges(self.targets, start)
        before = {name: set[str]() for name in self.targets}
        for name in self.targets:
            for target in _reachable(forward, name):
                before[target].add(name)
        leads_to = {name: frozenset({name, *self.reachable(name)}) for name in self.targets}
        met: set[str] = set()
        for source in self.targets:
            edges = [
                edge for edge in self._edges if edge.source_node_id == source and edge.target_node_id in self.targets
            ]
            # Two targets meet where they do, whichever of their edges are taken.
            compared: set[frozenset[str]] = set()
            for one, other in combinations(edges, 2):
                targets = frozenset({one.target_node_id, other.target_node_id})
                if len(targets) < 2 or targets in compared or exclude_each_other(one.condition, other.condition):
                    continue
                compared.add(targets)
                met.update(leads_to[one.target_node_id] & leads_to[other.target_node_id])
        return {name: frozenset(before[name]) for name in sorted(met)}


def _reachable(targets: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    left = list(targets[start])
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += targets[name]
    return found


def _without_back_edges(targets: Mapping[str, set[str]], start: str) -> dict[str, set[str]]:
    """The same without the edges to a node that the depth-first walk from `start` is still within."""
    kept: dict[str, set[str]] = {name: set() for name in targets}
    seen, within = {start}, {start}
    work = [(start, iter(sorted(targets[start])))]
    while work:
        name, rest = work[-1]
        for target in rest:
            if target in within:
                continue
            kept[name].add(target)
            if target not in seen:
                seen.add(target)
                within.add(target)
                work.append((target, iter(sorted(targets[target]))))
                break
        else:
            work.pop()
            within.discard(name)
    return kept


def loops(definition: WorkflowDefinition) -> Iterator[frozenset[str]]:
    """The sets of nodes that lead to each other, largest ones only (strongly connected components), single nodes only
    where they lead to themselves. Tarjan's algorithm (SIAM J. Comput. 1, 1972), without recursion.
    """
    targets = Paths(definition).targets
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    for root in targets:
        if root in index:
            continue
        work = [(root, iter(sorted(targets[root])))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            name, rest = work[-1]
            for target in rest:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(sorted(targets[target]))))
                    break
                if target in on_stack:
                    low[name] = min(low[name], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    at = stack.index(name)
                    members = frozenset(stack[at:])
                    del stack[at:]
                    on_stack -= members
                    if len(members) > 1 or name in targets[name]:
                        yield members
