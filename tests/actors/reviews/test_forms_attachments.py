"""Files: each in a field of its kind, none twice, none lost, and nobody's own value overwritten."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import LLMRefusedError
from actors.providers.models import Attachment
from actors.reviews.forms.asking import Asker
from actors.reviews.forms.attachments import AttachmentMappingAgent, placed
from actors.reviews.forms.classifier import classify
from actors.reviews.forms.models import Mapping
from actors.reviews.forms.placeholders import is_placeholder, is_url
from actors.reviews.forms.schema import read_schema
from tests.actors.reviews.model_schemas import SDXL, ScriptedModel, strings

URI = {"type": "string", "format": "uri"}
URIS = {"type": "array", "items": URI}
DELIVERED = "https://replicate.delivery/pbxt/Kx9a/in.png"


def files(*names: str) -> tuple[Attachment, ...]:
    return tuple(Attachment(ref=f"https://files.walrus.site/{name}", name=name) for name in names)


def mapped(schema: Any, attachments: tuple[Attachment, ...], example: Any = None, given: Any = None) -> Mapping:
    return placed(read_schema(schema, example), classify(schema, example), attachments, given=given)


def where(found: Mapping) -> list[tuple[str | None, str, str]]:
    return [(each.attachment.name, each.path, each.tier) for each in found.placed]


def test_the_cascade_takes_placeholders_then_usual_names_then_telling_names_then_any_url() -> None:
    schema = strings(
        "portrait", "image", first=URI, start={"type": "string", "example": "https://example.com/a.png"}, shown=URI
    )
    one_by_one = files("1.png", "2.png", "3.png", "4.png", "5.png", "6.png")
    assert where(mapped(schema, one_by_one)) == [
        ("1.png", "$.start", "placeholder"),
        ("2.png", "$.image", "common"),
        ("3.png", "$.portrait", "named"),
        ("4.png", "$.shown", "url"),
        ("5.png", "$.first", "url"),
    ]
    assert [each.attachment.name for each in mapped(schema, one_by_one).unplaced] == ["6.png"]


def test_only_fields_that_the_schema_has_take_files() -> None:
    example = {"image": "https://example.com/a.png", "input_image": "https://example.com/b.png", "prompt": "a cat"}
    found = mapped(strings("prompt"), files("1.png"), example)
    assert found.placed == ()
    assert found.unplaced[0].reason == "the model's input has no field for a file"


@pytest.mark.parametrize(
    "name", ["profile", "image_size", "image_format", "lora_weights", "prompt", "negative_prompt", "webhook_url"]
)
def test_a_word_within_a_word_and_a_setting_take_no_file(name: str) -> None:
    assert mapped(strings(name), files("1.png")).placed == ()


def test_two_files_never_land_on_one_single_field() -> None:
    found = mapped(strings("image"), files("1.png", "2.png"))
    assert where(found) == [("1.png", "$.image", "common")]
    assert found.unplaced[0].reason == "each field that could take it has its file already"


def test_a_list_field_takes_all_up_to_its_limit() -> None:
    assert [
        path for _, path, _ in where(mapped({"properties": {"images": URIS}}, files("1.png", "2.png", "3.png")))
    ] == ["$.images"] * 3
    limited = {"properties": {"images": {**URIS, "maxItems": 2}, "mask": URI}}
    assert [path for _, path, _ in where(mapped(limited, files("1.png", "2.png", "3.png")))] == [
        "$.images",
        "$.images",
        "$.mask",
    ]


def test_one_file_goes_to_the_field_for_one_and_several_to_the_list() -> None:
    schema = {"properties": {"images": URIS, "image": URI}}
    assert [path for _, path, _ in where(mapped(schema, files("1.png")))] == ["$.image"]
    assert [path for _, path, _ in where(mapped(schema, files("1.png", "2.png")))] == ["$.images", "$.images"]


def test_a_list_of_objects_takes_a_file_an_entry() -> None:
    part = {"type": "object", "properties": {"url": URI, "weight": {"type": "number"}}}
    schema = {"properties": {"images": {"type": "array", "items": part, "maxItems": 2}}}
    found = mapped(schema, files("1.png", "2.png", "3.png"))
    assert [path for _, path, _ in where(found)] == ["$.images[*].url"] * 2
    assert len(found.unplaced) == 1


def test_files_go_where_files_of_their_kind_go() -> None:
    schema = {"properties": {"image": URI, "audio": URI, "video": URI, "document": URI}}
    found = mapped(schema, files("a.pdf", "b.mp3", "c.mp4", "d.jpg"))
    assert [path for _, path, _ in where(found)] == ["$.document", "$.audio", "$.video", "$.image"]
    lost = mapped({"properties": {"audio": URI}}, files("a.png"))
    assert lost.unplaced[0].reason == "no field takes a file of the kind image"
    by_type = (
        Attachment(ref="Qm123", media_type="audio/mpeg"),
        Attachment(ref="Qm124", name="x", media_type="image/webp"),
    )
    assert [path for _, path, _ in where(mapped(schema, by_type))] == ["$.audio", "$.image"]


def test_a_file_of_unknown_kind_goes_somewhere_and_the_description_tells_a_fields_kind() -> None:
    assert len(mapped({"properties": {"image": URI}}, (Attachment(ref="Qm123"),)).placed) == 1
    speaker = {
        "properties": {"speaker": {**URI, "description": "Original speaker audio (wav, mp3, m4a)"}, "image": URI}
    }
    assert [path for _, path, _ in where(mapped(speaker, files("me.wav")))] == ["$.speaker"]


def test_a_file_whose_name_says_what_it_is_goes_there_in_any_order() -> None:
    for names in (("mask.png", "photo.png"), ("photo.png", "my-mask.png")):
        found = {name: path for name, path, _ in where(mapped(SDXL, files(*names)))}
        assert found[next(name for name in names if "mask" in name)] == "$.mask"
        assert found["photo.png"] == "$.image"
    assert [path for _, path, _ in where(mapped(SDXL, files("a.png", "b.png")))] == ["$.image", "$.mask"]


def test_any_word_that_tells_a_field_from_others_names_it() -> None:
    sides = {"properties": {"front_image": URI, "left_image": URI, "image_url": URI}}
    found = mapped(sides, files("left.png", "chair-front.png", "image.png"))
    assert [path for _, path, _ in where(found)] == ["$.left_image", "$.front_image", "$.image_url"]


def test_a_field_for_a_file_goes_before_one_for_its_address_as_text() -> None:
    schema = {"properties": {"file_url": {"type": "string"}, "file": URI}}
    assert [path for _, path, _ in where(mapped(schema, files("a.wav", "b.wav")))] == ["$.file", "$.file_url"]


def test_a_field_of_any_type_takes_the_file_that_its_description_names() -> None:
    schema = {"properties": {"inputs": {"description": "The input audio"}, "data": {"description": "A text to read"}}}
    assert [path for _, path, _ in where(mapped(schema, files("a.wav")))] == ["$.inputs"]
    assert mapped(schema, files("a.png")).placed == ()


def test_a_users_value_stays_and_a_users_blank_is_filled_first() -> None:
    kept = mapped(SDXL, files("1.png"), given={"image": DELIVERED})
    assert [path for _, path, _ in where(kept)] == ["$.mask"]
    assert where(mapped(SDXL, files("1.png"), given={"mask": "<url of my mask>"})) == [
        ("1.png", "$.mask", "placeholder")
    ]
    listed = mapped(
        {"properties": {"images": {**URIS, "maxItems": 2}}}, files("1.png", "2.png"), given={"images": [DELIVERED]}
    )
    assert len(listed.placed) == len(listed.unplaced) == 1


def test_a_file_the_user_has_placed_is_not_placed_again() -> None:
    attachment = files("1.png")
    assert where(mapped(SDXL, attachment, given={"mask": attachment[0].ref})) == [("1.png", "$.mask", "given")]


def test_an_address_on_a_delivery_host_is_no_placeholder() -> None:
    own = (Attachment(ref=DELIVERED), Attachment(ref="https://files.walrus.site/2.png"))
    # The example repeats the user's own file: it marks no place.
    found = mapped(strings("image", "spot"), own, {"image": "https://a.b/c.png", "spot": DELIVERED})
    assert [each.path for each in found.placed] == ["$.image"]
    assert not is_placeholder(DELIVERED)


@pytest.mark.parametrize(
    "value",
    ["https://example.com/image.png", "http://www.example.org/a", "https://cdn.test/x.png", "https://via.placeholder.com/150",
     "https://picsum.photos/200", "<image url>", "{image}", "{{ image_url }}", "YOUR_IMAGE_URL", "https://your-bucket.s3.amazonaws.com/a.png",
     "https://host.com/path/to/image.jpg", "path/to/image.png", "https://cdn.host.io/placeholder.png", "data:image/png;base64,...",
     "https://.../image.png", "[your image]", "https://site.com/<id>.png"],
)  # fmt: skip
def test_what_only_holds_a_place(value: str) -> None:
    assert is_placeholder(value)


@pytest.mark.parametrize(
    "value",
    [DELIVERED, "https://pbxt.replicate.delivery/x/y.jpg", "https://storage.googleapis.com/bucket/example/photo.png",
     "https://huggingface.co/datasets/me/resolve/main/sample.png", "https://oaidalleapiprodscus.blob.core.windows.net/private/img.png",
     "https://myexample.com/a.png", "https://contest.io/a.png", "data:image/png;base64,iVBORw0KGgo=", "a cat", "", "...", None, 5, [], "1:1",
     "https://files.site/for-your-eyes-only.png", "https://me.com/tested/profile.png", "http://[bad", "your text here is fine"],
)  # fmt: skip
def test_what_may_be_somebodys(value: Any) -> None:
    assert not is_placeholder(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("https://a.b/c", True), ("data:text/plain,hi", True), ("ipfs://Qm1/x", True), ("s3://b/k", True), ("1:1", False), ("a: b", False),
     ("see https://a.b", False), ("https://", False), ("http://[bad", False), ("mailto:a@b.c", False), (None, False), (5, False)],
)  # fmt: skip
def test_addresses_are_known_as_a_whole(value: Any, expected: bool) -> None:
    assert is_url(value) is expected


async def place(model: Any, attachments: tuple[Attachment, ...], given: Any = None) -> Mapping:
    return await AttachmentMappingAgent().place(
        read_schema(SDXL), classify(SDXL), attachments, given=given, asker=Asker(model)
    )


async def test_a_model_is_heard_where_several_fields_could_do() -> None:
    found = await place(ScriptedModel({"placed": [{"file": 0, "path": "$.mask"}]}), files("black.png", "dog.png"))
    assert where(found) == [("black.png", "$.mask", "llm"), ("dog.png", "$.image", "common")]


@pytest.mark.parametrize(
    "answer",
    [{"placed": [{"file": 0, "path": "$.invented"}]}, {"placed": [{"file": 9, "path": "$.image"}]}, {"placed": [{"file": True, "path": "$.mask"}]},
     {"placed": [{"file": 0, "path": None}, {"file": -1, "path": "$.image"}]}, {"placed": [{"file": 0, "path": "$.prompt"}]},
     {"placed": [{"file": 0, "path": "$.lora_weights"}]}, {"placed": "x"}, [], {}, LLMRefusedError("no")],
)  # fmt: skip
async def test_what_a_model_proposes_against_the_schema_is_not_done(answer: Any) -> None:
    found = await place(ScriptedModel(answer), files("1.png", "2.png"))
    assert where(found) == [("1.png", "$.image", "common"), ("2.png", "$.mask", "named")]


async def test_a_model_cannot_put_two_files_on_one_field_nor_a_song_where_images_go() -> None:
    both = ScriptedModel({"placed": [{"file": 0, "path": "$.mask"}, {"file": 1, "path": "$.mask"}]})
    assert where(await place(both, files("1.png", "2.png"))) == [
        ("1.png", "$.mask", "llm"),
        ("2.png", "$.image", "common"),
    ]
    song = ScriptedModel({"placed": [{"file": 0, "path": "$.image"}]})
    assert (await place(song, files("a.mp3", "b.png"))).unplaced[0].attachment.name == "a.mp3"


async def test_no_model_is_asked_where_there_is_nothing_to_choose() -> None:
    model = ScriptedModel()
    await AttachmentMappingAgent().place(
        read_schema(strings("image")), classify(strings("image")), files("1.png"), asker=Asker(model)
    )
    assert model.prompts == []


NAMES = st.sampled_from(
    ["image", "images", "mask", "audio", "file", "files", "image_size", "prompt", "spot", "input_image", "video_url"]
)
SHAPES = st.sampled_from(
    [{"type": "string"}, URI, URIS, {**URIS, "maxItems": 1}, {"type": "integer"}, {"type": "string", "enum": ["a"]}]
)


@given(
    st.dictionaries(NAMES, SHAPES, max_size=6),
    st.lists(st.sampled_from(["a.png", "mask.png", "b.mp3", "c.mp4", "d.pdf", "e", "f.csv"]), max_size=6),
    st.dictionaries(
        NAMES, st.sampled_from(["", "https://example.com/a.png", DELIVERED, 5, None, [DELIVERED], {}]), max_size=3
    ),
)
def test_every_file_ends_in_one_place_and_no_place_takes_more_than_it_can(
    fields: Any, names: list[str], given_: Any
) -> None:
    schema = {"type": "object", "properties": fields}
    found = mapped(schema, files(*names), given=given_)
    assert sorted([*(each.index for each in found.placed), *(each.index for each in found.unplaced)]) == list(
        range(len(names))
    )
    for name, shape in fields.items():
        taken = [each for each in found.placed if each.path == f"$.{name}" and each.tier != "given"]
        assert len(taken) <= (shape.get("maxItems", 99) if shape["type"] == "array" else 1)
        assert not (taken and (shape["type"] == "integer" or "enum" in shape))
    assert {each.path for each in found.placed} <= {f"$.{name}" for name in fields}
