"""A form made from a schema: what reviewers see is what is sent, and what they leave alone stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from actors.agents.schema_work import embedded
from serve.console.schema_form import Entry, Group, filled, form_of, pick_among, refilled
from tests.serve.console.seeds import SCHEMA

SUBJECT: dict[str, Any] = {
    "prompt": "a\r\nloaf", "aspect_ratio": "3:2", "steps": 28, "guidance": 3.50, "tags": ["a", "b"], "upscale": False,
}  # fmt: skip


def sent_back(subject: dict[str, Any], schema: dict[str, Any] | None) -> dict[str, str]:
    """As a browser sends the untouched form: line breaks as CR LF."""
    form = form_of(subject, schema)
    fields = {entry.name: entry.shown.replace("\r\n", "\n").replace("\n", "\r\n") for entry in form.entries()}
    return {**fields, "json": form.json.replace("\n", "\r\n")}


@pytest.mark.parametrize(
    ("subject", "schema"),
    [
        (SUBJECT, SCHEMA),
        ({"prompt": "x"}, SCHEMA),
        ({"text": "line\nline", "n": 1.0, "deep": {"er": [1, {"a": None}]}, "none": None, "list": ["a\nb"], "": 0}, None),
        ({"a": {"b": {"c": "x"}}, "other": True}, {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "object"}}}}}),
        ({"a": 1}, {"type": "string"}),
        ({"a": "not of the enum"}, {"properties": {"a": {"enum": [1, None, "x"]}}}),
        ({"a": ["not of the enum"]}, {"properties": {"a": {"enum": [1, None, "x"]}}}),
        ({"rows": [{"x": 1}]}, {"properties": {"rows": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}}}}),
    ],
)  # fmt: skip
def test_a_form_that_is_sent_as_it_was_shown_changes_nothing(subject: dict[str, Any], schema: Any) -> None:
    assert filled(form_of(subject, schema), sent_back(subject, schema), subject) == (subject, {})


def test_each_field_has_the_control_of_its_type_and_comes_back_as_it() -> None:
    form = form_of(SUBJECT, SCHEMA)
    assert {entry.label: entry.control for entry in form.entries()} == {
        "prompt": "text", "aspect_ratio": "choice", "steps": "number", "guidance": "number", "tags": "lines", "upscale": "choice",
    }  # fmt: skip
    assert {entry.label for entry in form.entries() if entry.required} == {"prompt", "aspect_ratio"}
    sent = sent_back(SUBJECT, SCHEMA) | {
        "f$.prompt": "new\r\nwords", "f$.aspect_ratio": '"1:1"', "f$.steps": "7", "f$.guidance": "", "f$.tags": "x\r\n\r\n y ", "f$.upscale": "true",
    }  # fmt: skip
    made, faults = filled(form, sent, SUBJECT)
    assert (made, faults) == (
        {"prompt": "new\nwords", "aspect_ratio": "1:1", "steps": 7, "tags": ["x", "y"], "upscale": True}, {},
    )  # fmt: skip


@pytest.mark.parametrize("dialect", [{}, {"$schema": "http://json-schema.org/draft-07/schema#"}])
def test_an_answer_whose_schema_refers_within_itself_has_the_controls_of_its_fields(dialect: dict[str, Any]) -> None:
    """As pydantic and zod write them: the node's schema stands within that of the review."""
    mood = {"enum": ["calm", "wild"]}
    told = {"type": "object", "properties": {"mood": {"$ref": "#/definitions/mood"}, "score": {"type": "integer"}}}
    schema = {"$ref": "#/definitions/told", "definitions": {"told": told, "mood": mood}, **dialect}
    around = {
        "type": "object",
        "properties": {"output": embedded(schema, "urn:hyvve:output")},
        "definitions": {"mood": {}},
    }
    form = form_of({"output": {"mood": "calm", "score": 7}}, around)
    assert {entry.label: entry.control for entry in form.entries()} == {"mood": "choice", "score": "number"}


@pytest.mark.parametrize("needed", [True, False])
def test_a_value_that_is_no_choice_leaves_the_choices_to_be_taken(*, needed: bool) -> None:
    schema = {"properties": {"choice": {"enum": ["A", "B"]}}, "required": ["choice"] if needed else []}
    subject = {"choice": ""}
    form = form_of(subject, schema)
    (entry,) = form.entries()
    assert (entry.control, [sent for sent, _ in entry.choices][-2:]) == ("choice", ['"A"', '"B"'])
    assert entry.shown in {sent for sent, _ in entry.choices}, "a browser would send another one"
    assert filled(form, {entry.name: '"B"'}, subject) == ({"choice": "B"}, {})
    assert filled(form, {entry.name: '"C"'}, subject)[1] == {"$.choice": "is none of the choices"}
    pick = pick_among(form, ["A", "C"])
    assert pick is not None
    assert filled(form, {pick.name: pick.sent["A"]}, subject) == ({"choice": "A"}, {})
    assert list(pick.sent) == ["A"]


def test_what_asks_for_more_than_a_choice_is_not_picked() -> None:
    assert pick_among(form_of(SUBJECT, SCHEMA), ["3:2"]) is None
    assert pick_among(form_of({"choice": "free"}, None), ["free"]) is None
    assert pick_among(form_of({"choice": ""}, {"properties": {"choice": {"enum": ["A"]}}}), ["Z"]) is None


def test_what_cannot_be_read_is_told_at_its_field_and_nothing_is_lost() -> None:
    form = form_of(SUBJECT, SCHEMA)
    sent = sent_back(SUBJECT, SCHEMA) | {"f$.steps": "many", "f$.aspect_ratio": '"4:3"', "f$.prompt": "kept"}
    _, faults = filled(form, sent, SUBJECT)
    assert faults == {"$.steps": "is no number", "$.aspect_ratio": "is none of the choices"}
    again = {
        entry.label: entry
        for entry in refilled(form, sent, {**faults, "$.gone": "is required", "$.tags[1]": "is short"}).entries()
    }
    assert (again["steps"].fault, again["steps"].shown, again["prompt"].shown) == ("is no number", "many", "kept")
    assert again["tags"].fault == "is short"
    assert refilled(form, sent, {"$.gone": "is required"}).faults == (("$.gone", "is required"),)


def test_the_whole_as_json_goes_before_the_fields() -> None:
    form = form_of(SUBJECT, SCHEMA)
    sent = sent_back(SUBJECT, SCHEMA) | {"f$.steps": "7", "json": '{"prompt": "only this"}'}
    assert filled(form, sent, SUBJECT) == ({"prompt": "only this"}, {})
    assert filled(form, {**sent, "json": "[1]"}, SUBJECT)[1] == {"$": "must be a JSON object"}
    assert "is no JSON" in filled(form, {**sent, "json": "{"}, SUBJECT)[1]["$"]


def test_objects_within_are_groups() -> None:
    schema = {"properties": {"size": {"title": "Size", "properties": {"width": {"type": "integer"}}}}}
    (group,) = form_of({"size": {"width": 3}}, schema).parts
    assert isinstance(group, Group)
    assert (group.title, [each.shown for each in group.parts if isinstance(each, Entry)]) == ("Size", ["3"])
    assert filled(form_of({}, schema), {"f$.size.width": "4"}, {})[0] == {"size": {"width": 4}}
