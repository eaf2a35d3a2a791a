"""A request in a model's own fields, by its schema alone; and files that a store does not take."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from actors.providers.files import Files
from actors.providers.models import Attachment, ModelInfo, Payload, ProviderRequest, Turn
from actors.providers.placing import by_schema, left_over
from actors.providers.rights import anything
from storage.errors import BlobTooLargeError
from storage.fetch import Fetched

FILE = {"type": "string", "format": "uri"}
FILES = {"type": "array", "items": FILE}
TEXT = {"type": "string"}
CAT, DOG = Attachment(ref="https://x.example/cat.png"), Attachment(ref="https://x.example/dog.jpg")
SONG = Attachment(ref="a" * 64, name="song.mp3")
FILM = Attachment(ref="https://x.example/1", media_type="video/mp4")


def placed(fields: dict[str, Any], *files: Attachment, required: tuple[str, ...] = (), **request: Any) -> Payload:
    model = ModelInfo(id="m", operation="o", input_schema={"properties": fields, "required": list(required)})
    return by_schema("p", ProviderRequest(model="m", attachments=files, **request), model)


@pytest.mark.parametrize(
    ("fields", "files", "value"),
    [
        ({"image": FILE}, [CAT], {"image": CAT.ref}),
        ({"images": FILES}, [CAT, DOG], {"images": [CAT.ref, DOG.ref]}),
        ({"mask": FILE, "image": FILE}, [CAT], {"image": CAT.ref}),
        ({"mask": FILE, "image": FILE}, [CAT, DOG], {"image": CAT.ref, "mask": DOG.ref}),
        ({"end_image": FILE, "start_image": FILE}, [CAT, DOG], {"start_image": CAT.ref, "end_image": DOG.ref}),
        (
            {"image": FILE, "audio": FILE, "video": FILE},
            [SONG, FILM, CAT],
            {"audio": SONG.ref, "video": FILM.ref, "image": CAT.ref},
        ),
        ({"input": FILE, "audio": FILE}, [SONG], {"audio": SONG.ref}),
        ({"file": FILE}, [SONG], {"file": SONG.ref}),
        ({"inputImage": {"anyOf": [FILE, {"type": "null"}]}}, [CAT], {"inputImage": CAT.ref}),
    ],
)
def test_files_go_where_their_kind_belongs(
    fields: dict[str, Any], files: list[Attachment], value: dict[str, Any]
) -> None:
    found = placed(fields, *files)
    assert found.input == value
    assert found.unplaced == ()


@pytest.mark.parametrize("fields", [{"image": FILE}, {"image_size": TEXT}, {"profile": TEXT}])
def test_a_song_is_put_into_no_image_and_no_text(fields: dict[str, Any]) -> None:
    found = placed(fields, SONG)
    assert (found.input, found.unplaced) == ({}, (SONG,))
    assert [issue.severity for issue in left_over(found)] == ["warning"]


def test_what_was_chosen_by_hand_stays() -> None:
    found = placed(
        {"prompt": TEXT, "image": FILE}, DOG, prompt="ours", parameters={"prompt": "theirs", "image": CAT.ref}
    )
    assert found.input == {"prompt": "theirs", "image": CAT.ref}
    assert found.unplaced == (DOG,)


@pytest.mark.parametrize(
    ("fields", "required", "name"),
    [
        ({"prompt": TEXT, "negative_prompt": TEXT}, (), "prompt"),
        ({"negative_prompt": TEXT, "text": TEXT}, (), "text"),
        ({"lyrics": TEXT, "style": {**TEXT, "default": "pop"}}, ("lyrics", "style"), "lyrics"),
        ({"prompt": FILE, "query": TEXT}, (), "query"),
    ],
)
def test_the_prompt_goes_into_the_field_for_it(fields: dict[str, Any], required: tuple[str, ...], name: str) -> None:
    assert placed(fields, prompt="a tram", required=required).input == {name: "a tram"}


def test_a_prompt_without_a_field_is_told() -> None:
    found = placed({"image": FILE, "negative_prompt": TEXT}, CAT, prompt="a tram")
    assert found.input == {"image": CAT.ref}
    assert "no field for the prompt" in left_over(found)[0].message


def test_a_conversation_is_told_to_a_model_that_takes_one_text() -> None:
    turns = (Turn(role="user", text="Hello"), Turn(role="assistant", text="Hi"))
    found = placed({"prompt": TEXT}, prompt="And now?", conversation=turns)
    assert found.input == {"prompt": "user: Hello\nassistant: Hi\nuser: And now?"}


async def test_an_answer_that_the_store_does_not_take_is_not_lost() -> None:
    async def keep(_: bytes) -> str:
        raise BlobTooLargeError("larger than 10 MB")

    async def fetch(_: str) -> Fetched:
        raise AssertionError("nothing is fetched here")

    found = await Files(fetch=fetch, keep=keep, require=anything).kept(b"paid for", "image/png")
    assert found.url == "data:image/png;base64," + base64.b64encode(b"paid for").decode()
    assert found.lost == "larger than 10 MB"
