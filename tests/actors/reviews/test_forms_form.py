"""A request becomes a payload: the user's words and files, the author's defaults, and nothing of an example."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import BudgetExceededError, LLMAnswerError, LLMRateLimitedError
from actors.providers.models import Attachment, Turn
from actors.reviews.forms.analyzer import FieldAnalyzerAgent
from actors.reviews.forms.asking import Asker
from actors.reviews.forms.classifier import classify
from actors.reviews.forms.form import make_form
from actors.reviews.forms.models import Form, FormRequest
from actors.reviews.forms.schema import read_schema
from tests.actors.reviews.model_schemas import CHAT, PHOTO, SDXL, ScriptedModel, strings

FILE = Attachment(ref=PHOTO, name="photo.png")


def origins(form: Form) -> dict[str, str]:
    return {each.path: each.origin for each in form.filled}


async def made(schema: Any, ask: Any = None, **request: Any) -> Form:
    return await make_form(schema, FormRequest(**request), ask=ask)


async def test_a_plain_request_is_complete_by_rule_alone() -> None:
    form = await made(SDXL, prompt="a red fox in snow", attachments=(FILE,))
    assert form.payload == {
        "prompt": "a red fox in snow", "image": PHOTO, "negative_prompt": "ugly, blurry", "width": 1024, "aspect_ratio": "1:1",
    }  # fmt: skip
    assert origins(form) == {
        "$.prompt": "prompt", "$.image": "attachment", "$.negative_prompt": "default", "$.width": "default",
        "$.aspect_ratio": "default",
    }  # fmt: skip
    assert (form.missing, form.faults, form.completeness, form.llm_calls) == ((), (), 1.0, 0)


async def test_no_example_value_reaches_the_payload() -> None:
    example = {
        "prompt": "a lighthouse at dusk", "image": "https://replicate.delivery/e/light.png", "negative_prompt": "people",
        "aspect_ratio": "16:9", "seed": 4711,
    }  # fmt: skip
    form = await made(SDXL, prompt="", example_input=example)
    assert form.payload == {"negative_prompt": "ugly, blurry", "width": 1024, "aspect_ratio": "1:1"}
    assert [each.path for each in form.missing] == ["$.prompt"]
    assert form.completeness == 0
    bare = await made(None, prompt="a cat", example_input=example)
    assert bare.payload == {"prompt": "a cat"}


async def test_a_contents_default_is_an_example_too() -> None:
    form = await made(SDXL)
    assert "unicorn" not in json.dumps(form.payload)


async def test_parameters_go_first_and_to_where_the_schema_has_them() -> None:
    form = await made(
        CHAT, prompt="hello", parameters={"temperature": 0.1, "parameters": {"max_tokens": 50}, "top_z": 1}
    )
    assert form.payload["parameters"] == {"temperature": 0.1, "max_tokens": 50}
    assert form.unknown_parameters == ("$.top_z",)
    assert form.payload["model"] == "m-1"
    assert form.faults == ()


async def test_a_chat_model_gets_the_conversation_and_then_the_prompt() -> None:
    turns = (Turn(role="user", text="hi"), Turn(role="assistant", text="hello"))
    form = await made(CHAT, prompt="and now?", conversation=turns)
    assert form.payload["messages"] == [
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "and now?"},
    ]  # fmt: skip
    assert form.prompt_placed


async def test_the_last_word_of_a_conversation_is_the_prompt_where_there_is_none() -> None:
    turns = (
        Turn(role="user", text="a fox"),
        Turn(role="assistant", text="which?"),
        Turn(role="user", text="a red fox"),
    )
    form = await made(strings("prompt"), conversation=turns)
    assert form.payload == {"prompt": "a red fox"}


async def test_a_users_own_prompt_parameter_is_not_replaced() -> None:
    form = await made(SDXL, prompt="a fox", parameters={"prompt": "a wolf"})
    assert form.payload["prompt"] == "a wolf"


async def test_a_prompt_that_no_field_is_for_is_said_and_not_pressed_into_another() -> None:
    form = await made({"properties": {"image": {"type": "string", "format": "uri"}}}, prompt="make it blue")
    assert (form.payload, form.prompt_placed) == ({}, False)


async def test_lines_that_name_a_field_go_there_and_keep_to_its_type() -> None:
    prompt = "a red fox\nNegative prompt: people, text\n--seed 42\naspect ratio: 16:9\nwidth: wide\nmood: calm"
    form = await made(SDXL, prompt=prompt)
    assert form.payload["negative_prompt"] == "people, text"
    assert (form.payload["seed"], form.payload["aspect_ratio"], form.payload["width"]) == (42, "16:9", 1024)
    assert form.payload["prompt"] == "a red fox\nwidth: wide\nmood: calm"


async def test_what_is_required_and_not_there_is_asked_for() -> None:
    schema = {**strings("question", "context", "style"), "required": ["question", "context"]}
    form = await made(schema, prompt="who wrote it?")
    assert form.payload == {"question": "who wrote it?"}
    assert [(each.path, each.prompt) for each in form.missing] == [("$.context", "Context: write the text.")]
    assert form.completeness == 0.5
    assert form.faults == ()  # named once, as missing


async def test_values_that_the_schema_does_not_take_are_named_with_their_path() -> None:
    form = await made(SDXL, prompt="x", parameters={"width": "wide", "aspect_ratio": "2:1"})
    assert sorted(each.path for each in form.faults) == ["$.aspect_ratio", "$.width"]


async def test_an_optional_object_stays_away_until_somebody_begins_it() -> None:
    control = {
        "type": "object", "required": ["image"],
        "properties": {"image": {"type": "string", "format": "uri"}, "scale": {"type": "number", "default": 1.0}},
    }  # fmt: skip
    schema = {"properties": {"prompt": {"type": "string"}, "control": control}}
    assert (await made(schema, prompt="x")).payload == {"prompt": "x"}
    begun = await made(schema, prompt="x", attachments=(FILE,))
    assert begun.payload == {"prompt": "x", "control": {"image": PHOTO, "scale": 1.0}}


async def test_entries_of_a_list_get_their_files_and_their_constants() -> None:
    part = {
        "type": "object", "required": ["type", "url"],
        "properties": {"type": {"const": "image"}, "url": {"type": "string", "format": "uri"}},
    }  # fmt: skip
    schema = {"properties": {"images": {"type": "array", "items": part}}}
    second = Attachment(ref="https://files.walrus.site/2.png")
    form = await made(
        schema,
        attachments=(FILE, second),
        parameters={"images": [{"type": "image", "url": "https://example.com/x.png"}]},
    )
    assert form.payload["images"] == [{"type": "image", "url": PHOTO}, {"type": "image", "url": second.ref}]
    assert form.faults == ()


async def test_a_users_files_in_a_list_stay_and_blanks_among_them_give_way() -> None:
    schema = {"properties": {"images": {"type": "array", "items": {"type": "string", "format": "uri"}}}}
    own = "https://replicate.delivery/me/own.png"
    form = await made(schema, attachments=(FILE,), parameters={"images": [own, "https://example.com/b.png"]})
    assert form.payload == {"images": [own, PHOTO]}


async def test_a_blank_that_nobody_filled_is_missing() -> None:
    schema = {"required": ["image"], "properties": {"image": {"type": "string", "format": "uri"}}}
    form = await made(schema, parameters={"image": "https://example.com/your-image.png"})
    assert [each.path for each in form.missing] == ["$.image"]


CLASSES: dict[str, Any] = {"classes": []}


async def test_a_complete_request_costs_two_calls_at_most_whatever_it_holds() -> None:
    turns = (Turn(role="user", text="hi"),)
    model = ScriptedModel(CLASSES, {"placed": [{"file": 1, "path": "$.mask"}], "values": []})
    files = tuple(Attachment(ref=f"https://files.walrus.site/{n}.png") for n in range(2))
    form = await made(SDXL, model, prompt="a fox", conversation=turns, attachments=files, parameters={"seed": 1})
    assert len(model.prompts) == form.llm_calls == 2
    assert (form.payload["image"], form.payload["mask"]) == (files[0].ref, files[1].ref)


@pytest.mark.parametrize(
    "failing", [LLMAnswerError("cut off"), LLMRateLimitedError("slow down"), TimeoutError(), ValueError("x")]
)
async def test_a_failing_model_costs_no_third_call_and_rules_fill_the_form(failing: Exception) -> None:
    model = ScriptedModel(failing, failing, failing)
    form = await made(SDXL, model, prompt="a fox", attachments=(FILE,))
    plain = await made(SDXL, prompt="a fox", attachments=(FILE,))
    assert (form.payload, form.llm_calls) == (plain.payload, 2)
    assert any("no model answered" in note for note in form.notes)


async def test_an_earlier_classification_saves_its_call() -> None:
    model = ScriptedModel({"values": []})
    form = await make_form(SDXL, FormRequest(prompt="a fox"), ask=model, classification=classify(SDXL))
    assert form.llm_calls == len(model.prompts) == 1


async def test_a_spent_budget_is_not_taken_for_a_models_failure() -> None:
    with pytest.raises(BudgetExceededError):
        await made(SDXL, ScriptedModel(BudgetExceededError("spent")), prompt="a fox")


async def valued(values: dict[str, Any], **request: Any) -> Form:
    answer = {"values": [{"path": path, "value": value} for path, value in values.items()]}
    return await made(SDXL, ScriptedModel(CLASSES, answer), **request)


async def test_a_model_finds_settings_that_the_user_named() -> None:
    form = await valued(
        {"$.aspect_ratio": "16:9", "$.seed": 42, "$.negative_prompt": "people"},
        prompt="a fox, 16:9, seed 42, no people",
    )
    assert (form.payload["aspect_ratio"], form.payload["seed"], form.payload["negative_prompt"]) == (
        "16:9",
        42,
        "people",
    )
    assert origins(form)["$.seed"] == "llm"
    assert form.payload["prompt"] == "a fox, 16:9, seed 42, no people"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.aspect_ratio", "16:9"), ("$.seed", 42), ("$.seed", 2), ("$.width", "wide"), ("$.aspect_ratio", "2:1"),
        ("$.image", "https://evil.host/x.png"), ("$.lora_weights", "https://evil.host/x"), ("$.mask", "photo"),
        ("$.invented", "x"), ("$.negative_prompt", 5), ("$.negative_prompt", None), ("$.prompt", "An astronaut riding a rainbow unicorn"),
    ],
)  # fmt: skip
async def test_what_a_model_makes_up_is_not_taken(path: str, value: Any) -> None:
    form = await valued({path: value}, prompt="a fox, 1024 wide, 24 of them")
    assert form.payload == {
        "prompt": "a fox, 1024 wide, 24 of them", "negative_prompt": "ugly, blurry", "width": 1024, "aspect_ratio": "1:1",
    }  # fmt: skip


async def test_the_analyzer_works_alone() -> None:
    schema = read_schema(SDXL)
    draft, analysis = await FieldAnalyzerAgent().analyze(
        schema, classify(SDXL), FormRequest(prompt="a fox"), asker=Asker()
    )
    assert draft.payload["prompt"] == "a fox"
    assert analysis.completeness == 1


async def test_a_large_schema_whose_every_field_refers_holds_nobody_up() -> None:
    definitions = {f"d{n}": {"type": "string", "description": "x" * 300, "maxLength": 9} for n in range(2_000)}
    fields = {f"field{n}": {"$ref": f"#/$defs/d{n}"} for n in range(500)}
    began = time.process_time()
    form = await made(
        {"$defs": definitions, "properties": fields},
        prompt="field7: is much too long\n" * 500 + "\n".join(f"{name}: a b" for name in fields),
    )
    assert form.payload == dict.fromkeys(fields, "a b")
    assert time.process_time() - began < 10


async def test_a_schema_that_cannot_be_applied_is_noted_and_the_form_made() -> None:
    form = await made(
        {"properties": {"prompt": {"type": "string", "pattern": "("}}}, prompt="a fox", parameters={"x": 1}
    )
    assert form.payload == {"prompt": "a fox"}
    assert any("could not be held against the schema" in note for note in form.notes)


WORDS = st.sampled_from(
    ["prompt", "image", "images", "style", "seed", "a", "messages", "role", "content", "parameters"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5) | st.just("https://example.com/a.png"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELD = st.recursive(
    st.sampled_from([{"type": "string"}, {"type": "integer", "default": 3}, {"type": "string", "format": "uri"}, {}, {"enum": ["a"]}, True]),
    lambda inner: st.builds(lambda one: {"type": "array", "items": one}, inner)
    | st.builds(lambda some, names: {"type": "object", "properties": some, "required": names}, st.dictionaries(WORDS, inner, max_size=3), st.lists(WORDS, max_size=2)),
    max_leaves=6,
)  # fmt: skip


@given(
    st.dictionaries(WORDS, FIELD, max_size=5),
    st.dictionaries(WORDS, JSON, max_size=4),
    st.text(max_size=30),
    JSON,
    st.integers(0, 3),
)
async def test_no_request_breaks_a_form_and_what_is_given_is_kept(
    fields: Any, parameters: dict[str, Any], prompt: str, answer: Any, files: int
) -> None:
    attachments = tuple(Attachment(ref=f"https://files.walrus.site/{n}.png") for n in range(files))
    request = FormRequest(prompt=prompt, parameters=parameters, attachments=attachments)
    form = await make_form(
        {"type": "object", "properties": fields},
        request,
        ask=ScriptedModel(answer, {"values": answer, "placed": answer}),
    )
    assert set(form.payload) <= set(fields)
    assert form.llm_calls <= 2
    assert Form.model_validate_json(form.model_dump_json()) == form
    said = json.dumps(form.payload)
    for each in form.placed:
        assert each.attachment.ref in said
