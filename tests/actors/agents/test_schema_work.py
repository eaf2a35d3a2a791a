"""A stranger's schema holds nobody up: what it would take is counted first, and refused past a limit that is named."""

from __future__ import annotations

import time
from typing import Any

import pytest

from actors.agents.schema_work import Meter, UnboundedError
from actors.agents.structured import schema_fault, violations

EXPRESSION = {
    "$defs": {
        "expression": {
            "oneOf": [
                {"type": "number"},
                *(
                    {
                        "type": "object", "required": ["op"], "additionalProperties": False,
                        "properties": {
                            "op": {"const": op}, "left": {"$ref": "#/$defs/expression"},
                            "right": {"$ref": "#/$defs/expression"},
                        },
                    }
                    for op in "+-*"
                ),
            ]
        }
    },
    "$ref": "#/$defs/expression",
}  # fmt: skip
PERSON = {
    "type": "object", "required": ["name"],
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "friends": {"type": "array", "items": {"$ref": "#"}}},
}  # fmt: skip


def doubling(levels: int, keyword: str = "allOf") -> dict[str, Any]:
    """Each level refers to the next one twice."""
    levels_ = {f"a{n}": {keyword: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**levels_, f"a{levels}": {"type": "string"}}}


def test_schemas_that_people_write_are_taken_and_their_faults_named() -> None:
    for schema in (
        True,
        {},
        PERSON,
        EXPRESSION,
        doubling(8),
        {"$id": "https://x.example/s", "$anchor": "a", "$ref": "#/$defs/b", "$defs": {"b": {"enum": [1]}}},
    ):
        assert schema_fault(schema) is None, schema
    assert violations({"name": "Ann", "friends": [{"name": "bob"}, {}]}, PERSON) == [
        '$.friends[0].name: "bob" does not match "^[A-Z]"', '$.friends[1]: "name" is a required property',
    ]  # fmt: skip
    sum_: Any = 1
    for _ in range(5):
        sum_ = {"op": "+", "left": sum_, "right": 1}
    assert violations(sum_, EXPRESSION) == []
    assert violations({**sum_, "op": "/"}, EXPRESSION)[0].startswith("$: ")
    assert violations([{"n": n} for n in range(20_000)], {"items": {"properties": {"n": {"type": "integer"}}}}) == []


@pytest.mark.timed
@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (doubling(40), "the limit of 10,000"),
        (doubling(40, "anyOf"), "the limit of 10,000"),
        ({"properties": {"deep": doubling(0) | {"not": {"$ref": "#"}}}, "allOf": [{"$ref": "#"}]}, "in a circle"),
        ({"$ref": "#/x/a", "x": {"a": {"$ref": "#/x/b"}, "b": {"$ref": "#/x/a"}}}, "in a circle"),
        ({"$ref": "#/nowhere"}, "leads nowhere"),
        ({"$ref": "#nowhere"}, "leads nowhere"),
        ({"$ref": "other.json"}, "leads out of it"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$dynamicRef": "#x"}}}, "$dynamicRef"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$id": "y", "$ref": "#/$defs/b"}}}, "id within it"),
        ({"allOf": [{"pattern": f"{n}\\w{{500}}"} for n in range(300)]}, "300 patterns; the limit is 200"),
    ],
)
def test_what_would_never_end_is_refused_when_it_is_saved_and_when_it_is_met(schema: Any, why: str) -> None:
    started = time.monotonic()
    fault = schema_fault(schema)
    assert fault is not None
    assert why in fault
    # Saved before such schemas were refused.
    [found] = violations(1, schema)
    assert found.startswith("$: ")
    assert time.monotonic() - started < 5


@pytest.mark.timed
def test_what_only_a_value_makes_too_much_is_refused_then() -> None:
    twice = {
        "$defs": {
            "n": {"anyOf": [{"properties": {"c": {"$ref": "#/$defs/n"}}, "required": ["c"]}] * 2 + [{"type": "null"}]}
        },
        "$ref": "#/$defs/n",
    }
    assert schema_fault(twice) is None
    deep: Any = 1
    for _ in range(60):
        deep = {"c": deep}
    wide = {"allOf": [{"items": {"enum": list(range(1_000))}}] * 100}
    assert schema_fault(wide) is None
    started = time.monotonic()
    for value, schema in ((deep, twice), ([-1] * 10_000, wide)):
        assert violations(value, schema) == [
            "$: to hold it against the schema takes more than the limit of 2,000,000 evaluations"
        ]
    # Errors cost more than finding that there are any.
    many = violations(["x" * 100] * 20_000, {"items": {"type": "integer"}})
    assert many == ["$: it does not satisfy the schema, and is too large to say where"]
    assert time.monotonic() - started < 5


def test_the_count_is_never_less_than_what_is_evaluated() -> None:
    assert Meter(doubling(10)).work(1, 10_000) > 2**10
    nested: dict[str, Any] = {"unevaluatedProperties": False}
    for _ in range(12):
        nested = {"unevaluatedProperties": False, "allOf": [nested]}
    assert Meter(nested).work({}, 10_000) >= 2**12
    with pytest.raises(UnboundedError):
        Meter(doubling(20)).work(1, 10_000)
