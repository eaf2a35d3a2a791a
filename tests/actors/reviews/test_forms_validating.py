"""Values are held against the schemas that models publish, and no such schema holds up a host."""

from __future__ import annotations

import time
from typing import Any

import pytest

from actors.agents.schema_work import embedded
from actors.reviews.forms.validating import UnusableSchemaError, faults

TREE = {"type": "object", "properties": {"word": {"type": "string"}, "left": {"$ref": "#"}}}
SCORE = {"$ref": "#/definitions/score", "definitions": {"score": {"type": "integer", "maximum": 100}}}
DRAFTS = [
    None, "http://json-schema.org/draft-04/schema#", "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2020-12/schema",
]  # fmt: skip


def doubling(levels: int) -> dict[str, Any]:
    """`d0` refers to the next one twice, and so on."""
    steps = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}", "title": "t"}]}
        for n in range(levels)
    }
    return {"$defs": {**steps, f"d{levels}": {"type": "string"}}}


def whole(part: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"output": part}, "required": ["output"]}


def test_what_a_schema_would_take_is_counted_before_it_is_tried() -> None:
    started = time.monotonic()
    bomb = {**doubling(60), "properties": {"prompt": {"$ref": "#/$defs/d0"}}}
    with pytest.raises(UnusableSchemaError, match=r"more than the limit of 2,000,000"):
        faults({"prompt": "a cat"}, bomb)
    with pytest.raises(UnusableSchemaError, match=r"more than the limit of 2,000,000"):
        faults({"output": "a cat"}, whole(embedded({**doubling(60), "$ref": "#/$defs/d0"}, "urn:hyvve:output")))
    # Every one of these errors would quote all of the value.
    wide = {"allOf": [{"minProperties": 10**6}] * 900}
    (found,) = faults({str(number): "x" for number in range(50_000)}, wide)
    assert (found.path, found.message) == ("$", "does not satisfy the schema, and is too large to say where")
    assert time.monotonic() - started < 5


def test_a_long_text_beside_a_wrong_value_hides_no_path() -> None:
    fields = {f"f{n}": {"type": "integer", "title": "A number", "enum": [*range(20)]} for n in range(40)}
    schema = {"type": "object", "properties": {"image": {"type": "string"}, **fields}, "required": ["image"]}
    (found,) = faults({"image": "x" * 1_000_000, "f7": 40}, schema)
    assert found.path == "$.f7"


def test_a_reference_that_is_followed_into_the_value_is_no_circle() -> None:
    assert faults({"left": {"left": {"word": "a"}}}, TREE) == ()
    (found,) = faults({"left": {"left": {"word": 1}}}, TREE)
    assert found.path == "$.left.left.word"


@pytest.mark.parametrize("dialect", DRAFTS)
def test_a_schema_within_another_refers_to_its_own_root_in_every_dialect(dialect: str | None) -> None:
    """Old ones take no notice of an id that stands beside a reference."""
    score = SCORE if dialect is None else {"$schema": dialect, **SCORE}
    schema = {**whole(embedded(score, "urn:hyvve:output")), "definitions": {"score": True}}
    assert faults({"output": 7}, schema) == ()
    assert [each.path for each in faults({"output": 700}, schema)] == ["$.output"]


@pytest.mark.parametrize(
    "part",
    [
        # Where references in these lead, a validator and who counts may see differently.
        {"$id": "urn:a", "$schema": DRAFTS[2], **SCORE},
        {"$id": "score.json", "properties": {"score": {"$ref": "#/definitions/score"}}, **SCORE},
        {"$id": "urn:a", "x": {"$id": "urn:b", "properties": {"score": {"$ref": "#/definitions/score"}}}},
        {"$id": "urn:a", "examples": [{"$id": "urn:a"}]},
        {"allOf": [{"$anchor": "a", "type": "string"}, {"$anchor": "a"}]},
    ],
)
def test_what_can_be_read_in_two_ways_is_not_tried(part: dict[str, Any]) -> None:
    with pytest.raises(UnusableSchemaError, match=r"within it|twice"):
        faults({"output": 7}, whole(part))


def test_ids_that_only_name_a_place_are_taken() -> None:
    schema = {"$schema": DRAFTS[2], "properties": {"score": {"$id": "#/properties/score", "type": "integer"}}}
    assert [each.path for each in faults({"score": "a"}, schema)] == ["$.score"]
