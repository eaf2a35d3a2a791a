"""The nouns of forms. Frozen values that JSON can say: they stand in a run's state and in its record."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from actors.providers.models import Attachment, Turn


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldClass(StrEnum):
    """Who gives a field its value."""

    CONTENT = "CONTENT"  # the user: what the work is about
    CONFIG = "CONFIG"  # the model's author: how it is done; a default stays unless the user names another value
    HYBRID = "HYBRID"  # either: a default is good, and a user may have words of their own


FileKind = Literal["image", "audio", "video", "document", "text", "any"]
Origin = Literal["parameter", "prompt", "label", "conversation", "attachment", "default", "llm"]
DecidedBy = Literal["type", "word", "format", "shape", "parts", "llm"]


class ClassifiedField(_Value):
    """A field that takes one value (or a list of them), and what becomes of it.

    `path` is a JSON path within the payload, `[*]` for each entry of a list. `prompt` is what a person is asked, or
    told, of it. `takes_file` says of which kind, where it takes one; `many` that it takes any number of values.
    `decided_by` says what the class rests on, `reason` in words.
    """

    path: str
    name: str
    field_class: FieldClass
    prompt: str
    decided_by: DecidedBy
    reason: str
    types: tuple[str, ...] = ()
    required: bool = False
    takes_file: FileKind | None = None
    many: bool = False
    has_default: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()


class Classification(_Value):
    """Every leaf of a schema, in the order a person should see them. `notes` say what could not be read, and why."""

    fields: tuple[ClassifiedField, ...]
    notes: tuple[str, ...] = ()

    def of(self, path: str) -> ClassifiedField:
        """Raises `KeyError` for a path the form does not have."""
        for each in self.fields:
            if each.path == path:
                return each
        raise KeyError(path)


Tier = Literal["given", "llm", "placeholder", "common", "named", "url"]


class Placement(_Value):
    """An attachment's place: `path` is the field's, `tier` which rule found it. `index` counts the attachments."""

    index: int = Field(ge=0)
    attachment: Attachment
    path: str
    tier: Tier


class Unplaced(_Value):
    index: int = Field(ge=0)
    attachment: Attachment
    reason: str


class Mapping(_Value):
    """Every attachment once: in `placed` or in `unplaced`."""

    placed: tuple[Placement, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    notes: tuple[str, ...] = ()


class FormRequest(_Value):
    """What a user brings. `example_input` is the model's own example: it shows shapes, and no value of it is used."""

    prompt: str = ""
    conversation: tuple[Turn, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    parameters: dict[str, Any] = {}
    example_input: dict[str, Any] = {}


class FilledField(_Value):
    """A value and where it comes from. `path` is where it stands in the payload, with a list's numbers."""

    path: str
    value: Any
    origin: Origin


class MissingField(_Value):
    """What somebody must still give; `prompt` asks for it."""

    path: str
    prompt: str


class Fault(_Value):
    """A value that the schema does not take, at its JSON path."""

    path: str
    message: str


class Form(_Value):
    """A request made ready for a person, or for the provider.

    `payload` holds every value of `filled`, and no others. `completeness` is the share of what is needed that is
    there, 0–1. `unknown_parameters` are parameters that the schema has no field for; they are not in the payload.
    `llm_calls` counts the model calls made for it.
    """

    fields: tuple[ClassifiedField, ...]
    payload: dict[str, Any]
    filled: tuple[FilledField, ...]
    missing: tuple[MissingField, ...]
    faults: tuple[Fault, ...]
    placed: tuple[Placement, ...]
    unplaced: tuple[Unplaced, ...]
    unknown_parameters: tuple[str, ...]
    prompt_placed: bool
    completeness: float = Field(ge=0, le=1)
    llm_calls: int = Field(default=0, ge=0)
    notes: tuple[str, ...] = ()
