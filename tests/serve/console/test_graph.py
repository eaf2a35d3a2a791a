"""Workflows drawn: every node and edge is there, nothing lies on anything else, and names are no markup."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from actors.agents import builtin
from actors.agents.definition import WorkflowDefinition
from serve.console.graph import drawn
from tests.actors.agents.definitions import compare, defined, edge, node, signal
from tests.serve.console.seeds import newsroom

CASES = {
    "one": defined(edge("a", "END")),
    "circle": defined(edge("a", "b"), edge("b", "a", signal("AGAIN")), edge("b", "END")),
    "itself": defined(edge("a", "a", compare("n", "<", 3)), edge("a", "END")),
    "wide": defined(*[edge("a", f"n{n}") for n in range(9)], *[edge(f"n{n}", "z") for n in range(9)], edge("z", "END")),
    "long way": defined(
        edge("a", "b"), edge("b", "c"), edge("c", "d"), edge("a", "d"), edge("a", "c"), edge("d", "END")
    ),
    "not reached": defined(edge("a", "END"), nodes=[node("a"), node("b")]),
    "newsroom": WorkflowDefinition.model_validate(newsroom()),
    **{name: WorkflowDefinition.model_validate(each.payload) for name, each in builtin.BUILT_IN.items()},
}


@pytest.mark.parametrize("name", CASES)
def test_every_node_and_edge_is_drawn_and_no_two_nodes_overlap(name: str) -> None:
    definition = CASES[name]
    image = ET.fromstring(str(drawn(definition)))
    boxes = [
        (float(each.attrib["x"]), float(each.attrib["y"]), float(each.attrib["width"]), float(each.attrib["height"]))
        for each in image.iter()
        if each.attrib.get("class") == "box"
    ]
    assert len(boxes) == len(definition.nodes)
    width, height = (float(image.attrib[side]) for side in ("width", "height"))
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for (ax, ay, aw, ah), (bx, by, bw, bh) in combinations(boxes, 2):
        assert ax + aw <= bx or bx + bw <= ax or ay + ah <= by or by + bh <= ay, "two nodes overlap"
    pairs = {(each.source_node_id, each.target_node_id) for each in definition.edges}
    ends = {each.id for each in definition.nodes} - {source for source, _ in pairs}
    edges = [each for each in image.iter() if each.attrib.get("class", "").startswith("edge")]
    assert len(edges) == len(pairs) + len(ends)


def test_names_in_a_graph_are_text() -> None:
    rude = "</text><script>alert(1)</script>"
    image = str(drawn(defined(edge("a", "b", signal(rude)), edge("b", "END"))))
    assert "<script" not in image
    assert re.search("&lt;/text&gt;&lt;script", image)


@pytest.mark.timed
def test_a_workflow_of_the_most_nodes_is_drawn_at_once() -> None:
    import time  # noqa: PLC0415

    names = [f"n{n}" for n in range(200)]
    edges = [edge(a, b) for n, a in enumerate(names) for b in names[n + 1 : n + 6]]
    began = time.process_time()
    drawn(defined(*edges[:1000]))
    assert time.process_time() - began < 2
