"""Values are held against the schemas that models publish, and no such schema holds up a host."""

from __future__ import annotations

from typing import Any

import pytest

from actors.reviews.forms.validating import UnusableSchemaError, faults


def test_a_schema_whose_references_double_is_refused_before_it_is_tried() -> None:
    steps: dict[str, Any] = {
        f"d{number}": {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}, {"$ref": f"#/$defs/d{number + 1}", "title": "t"}]}
        for number in range(60)
    }
    schema = {"$defs": {**steps, "d60": {"type": "string"}}, "properties": {"prompt": {"$ref": "#/$defs/d0"}}}
    with pytest.raises(UnusableSchemaError, match=r"more than the limit of 2,000,000"):
        faults({"prompt": "a cat"}, schema)


def test_a_reference_that_is_followed_into_the_value_is_no_circle() -> None:
    tree = {"type": "object", "properties": {"word": {"type": "string"}, "left": {"$ref": "#"}}}
    assert faults({"left": {"left": {"word": "a"}}}, tree) == ()
    (found,) = faults({"left": {"left": {"word": 1}}}, tree)
    assert found.path == "$.left.left.word"
