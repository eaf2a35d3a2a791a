"""A payload against a model's schema: each fault at its path, with what to do about it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.providers import openapi
from actors.providers.audit import audited
from actors.providers.models import Issue, Payload, ProviderResponse
from actors.providers.schema import fault_of, file_paths, issues, path_of, path_text, repaired

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["prompt", "steps"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string"},
        "steps": {"type": "integer", "default": 4, "minimum": 1, "maximum": 50},
        "guidance": {"type": "number", "minimum": 0},
        "fast": {"type": "boolean"},
        "ratio": {"type": "string", "enum": ["1:1", "16:9", "Portrait"]},
        "seed": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "images": {"type": "array", "items": {"type": "string", "format": "uri"}},
    },
}


def fault(value: dict[str, Any]) -> Issue:
    [issue] = issues({"prompt": "p", "steps": 4, **value}, SCHEMA)
    return issue


def payload(value: dict[str, Any]) -> Payload:
    return Payload(provider="p", model="m", operation="o", input=value)


@pytest.mark.parametrize(
    ("value", "field", "repair"),
    [
        ({"steps": "8"}, "$.input.steps", 8),
        ({"steps": 8.0, "guidance": "7.5"}, "$.input.guidance", 7.5),
        ({"steps": 900}, "$.input.steps", 50),
        ({"steps": 0}, "$.input.steps", 1),
        ({"fast": "TRUE"}, "$.input.fast", True),
        ({"ratio": "portrait"}, "$.input.ratio", "Portrait"),
        ({"tags": "cat"}, "$.input.tags", ["cat"]),
        ({"prompt": ["only one"]}, "$.input.prompt", "only one"),
        ({"prompt": 7}, "$.input.prompt", "7"),
        ({"tags": ["a", 1]}, "$.input.tags[1]", "1"),
    ],
)
def test_what_plainly_was_meant_is_repaired(value: dict[str, Any], field: str, repair: Any) -> None:
    issue = fault(value)
    assert (issue.field, issue.auto_fixable, issue.value) == (field, True, repair)
    mended = repaired(payload({"prompt": "p", "steps": 4, **value}), [issue])
    assert issues(mended.input, SCHEMA) == []


@pytest.mark.parametrize(
    "value",
    [
        {"steps": "many"}, {"steps": True}, {"steps": [1, 2]}, {"ratio": "4:3"}, {"prompt": {"a": 1}}, {"steps": "1e9"},
        {"steps": "999"}, {"fast": "perhaps"}, {"tags": {"a": "b"}}, {"images": ["not a reference"]},
    ],
)  # fmt: skip
def test_what_may_mean_anything_is_left_to_a_person(value: dict[str, Any]) -> None:
    issue = fault(value)
    assert not issue.auto_fixable
    assert issue.severity == "error"
    assert issue.fix


def test_a_missing_field_is_named_and_filled_where_the_model_has_a_default() -> None:
    found = {issue.field: issue for issue in issues({}, SCHEMA)}
    assert set(found) == {"$.input.prompt", "$.input.steps"}
    assert not found["$.input.prompt"].auto_fixable
    assert (found["$.input.steps"].auto_fixable, found["$.input.steps"].value) == (True, 4)


def test_nothing_where_nothing_may_be_is_left_out() -> None:
    issue = fault({"fast": None})
    assert (issue.auto_fixable, issue.remove) == (True, True)
    assert "fast" not in repaired(payload({"prompt": "p", "steps": 4, "fast": None}), [issue]).input
    assert issues({"prompt": "p", "steps": 4, "seed": None}, SCHEMA) == []


def test_an_unknown_field_names_the_one_that_was_meant() -> None:
    assert "guidance" in fault({"guidence": 3}).fix


def test_several_faults_are_repaired_together_and_a_repair_changes_nothing_else() -> None:
    value = {"prompt": "p", "steps": "8", "nope": 1, "tags": "cat", "seed": 3}
    mended = repaired(payload(value), issues(value, SCHEMA))
    assert mended.input == {"prompt": "p", "steps": 8, "tags": ["cat"], "seed": 3}
    assert value["steps"] == "8"


def test_a_hostile_schema_makes_nothing_be_fetched_and_a_huge_payload_is_answered_in_short() -> None:
    assert len(issues({f"f{n}": n for n in range(10_000)}, SCHEMA)) <= 60
    recursive = {"components": {"schemas": {"Input": {"properties": {"a": {"$ref": "#/components/schemas/Input"}}}}}}
    assert openapi.component(recursive, "Input") is not None
    assert openapi.component({"components": {"schemas": {"Input": {"$ref": "http://127.0.0.1/x"}}}}, "Input") == {}


def test_a_strangers_document_costs_no_more_than_a_limit() -> None:
    doubling: dict[str, Any] = {f"s{n}": {"allOf": [{"$ref": f"#/components/schemas/s{n + 1}"}] * 2} for n in range(40)}
    begun = time.monotonic()
    found = openapi.component(
        {"components": {"schemas": {"Input": {"$ref": "#/components/schemas/s0"}, **doubling}}}, "Input"
    )
    assert found is not None
    assert time.monotonic() - begun < 20
    slow = {"properties": {"prompt": {"type": "string", "pattern": "^(a+)+$"}}}
    harmless = openapi.component({"components": {"schemas": {"Input": slow}}}, "Input")
    assert harmless == {"properties": {"prompt": {"type": "string"}}}


def test_files_are_found_however_deep() -> None:
    schema = {
        "properties": {
            "messages": {
                "items": {"anyOf": [{"type": "string"}, {"properties": {"image": SCHEMA["properties"]["images"]}}]}
            }
        }
    }
    value = {"messages": ["text", {"image": ["https://x.example/a.png", "https://x.example/b.png"]}]}
    assert file_paths(value, schema) == [("messages", 1, "image", 0), ("messages", 1, "image", 1)]


def test_exclusive_bounds_and_nullable_of_openapi_are_those_of_json_schema() -> None:
    document = {
        "components": {
            "schemas": {
                "Input": {
                    "properties": {
                        "p": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "nullable": True},
                        "size": {"allOf": [{"$ref": "#/components/schemas/size"}], "default": "s", "nullable": True},
                    }
                },
                "size": {"type": "string", "enum": ["s", "l"]},
            }
        }
    }
    found = openapi.component(document, "Input")
    assert found is not None
    assert found["properties"]["p"] == {"type": ["number", "null"], "exclusiveMinimum": 0}
    assert found["properties"]["size"] == {"type": ["string", "null"], "enum": ["s", "l", None], "default": "s"}


def test_a_models_schema_and_its_long_answers_hold_nobody_up() -> None:
    """These checks are made by an interpreted library: a few millions of them would take the event loop a minute."""
    started = time.monotonic()
    levels = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    doubling = {"$defs": {**levels, "d40": {"type": "string"}}, "properties": {"prompt": {"$ref": "#/$defs/d0"}}}
    assert "more than the limit of 10,000 schemas" in str(fault_of(doubling))
    assert "leads nowhere" in str(fault_of({"properties": {"prompt": {"$ref": "#/$defs/d"}}}))
    wide = {"properties": {"seeds": {"items": {"anyOf": [{"type": "string"}, {"type": "null"}] * 10}}}}
    assert fault_of(wide) is None
    (issue,) = issues({"seeds": [1] * 10_000}, wide)
    assert (issue.field, issue.severity) == ("$.input", "error")
    assert "more than the limit of 100,000 evaluations" in issue.message
    # A list that may be one of several kinds of lists of files.
    files = {"items": {"format": "uri"}}
    assert len(file_paths(["a"] * 40_000, {"anyOf": [files, files, {"oneOf": [files]}]})) == 40_000
    # An answer that is too long to be checked is no wrong one.
    answer = ProviderResponse(provider="p", model="m", operation="o", output=[[0.5] * 500] * 500)
    found = audited(answer, {"items": {"items": {"type": "number"}}})
    assert found.usable
    assert [each.code for each in found.findings] == ["unchecked", "no_usage"]
    assert time.monotonic() - started < 5


def test_an_answers_schema_refers_to_its_own_root() -> None:
    shape = {"items": {"$ref": "#/$defs/score"}, "$defs": {"score": {"type": "integer"}}}
    found = audited(ProviderResponse(provider="p", model="m", operation="o", output=[1, "two"]), shape)
    assert [(each.code, each.message.partition(":")[0]) for each in found.findings] == [
        ("shape", "output[1]"), ("no_usage", "the provider did not say what the call used"),
    ]  # fmt: skip


@given(st.lists(st.one_of(st.integers(min_value=0, max_value=999), st.text(min_size=1)), max_size=6))
def test_a_path_that_is_written_is_read_as_it_was(path: list[str | int]) -> None:
    assert path_of(path_text(path)) == tuple(path)
