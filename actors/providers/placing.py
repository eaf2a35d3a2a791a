"""A request's prompt, files and parameters in the fields of a model's own input, by its JSON Schema alone.

This is the plain way, without a model's help: whatever it cannot place is named, never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from actors.providers.files import modality_of
from actors.providers.models import Attachment, Issue, Modality, ModelInfo, Payload, ProviderRequest
from actors.providers.schema import takes_file

# In the order in which they are tried.
_PROMPTS = (
    "prompt",
    "text_prompt",
    "text",
    "input",
    "query",
    "question",
    "instruction",
    "message",
    "caption",
    "inputs",
)
_SENSES: Mapping[Modality, frozenset[str]] = {
    "image": frozenset({"image", "images", "img", "photo", "picture", "face", "frame", "mask"}),
    "audio": frozenset({"audio", "voice", "speech", "song", "sound", "speaker", "music"}),
    "video": frozenset({"video", "videos", "clip", "movie"}),
}
# Fields that a first file is seldom meant for.
_SECONDARY = frozenset({"mask", "control", "reference", "style", "end", "last", "target"})


def by_schema(provider: str, request: ProviderRequest, model: ModelInfo) -> Payload:
    """The payload whose `input` has the parameters as they are, then the prompt, then the files in the order given."""
    fields = dict((model.input_schema or {}).get("properties") or {})
    required = set((model.input_schema or {}).get("required") or ())
    value: dict[str, Any] = dict(request.parameters)
    notes: list[str] = []
    said = _said(request)
    if said:
        place = prompt_field(fields, required)
        if place is None:
            notes.append(f"{model.id} has no field for the prompt")
        else:
            value.setdefault(place, said)
    files, unplaced = _placed(request.attachments, fields, required, taken=value)
    return Payload(
        provider=provider,
        model=request.model,
        operation=model.operation,
        input=value | files,
        unplaced=unplaced,
        notes=tuple(notes),
    )


def prompt_field(fields: Mapping[str, Any], required: set[str]) -> str | None:
    """The field that what a person asks for belongs in: by its name, else the one text that must be given."""
    for name in _PROMPTS:
        if name in fields and _is_text(fields[name]):
            return name
    must = [name for name in fields if name in required and _is_text(fields[name]) and "default" not in fields[name]]
    return must[0] if len(must) == 1 else None


def left_over(payload: Payload) -> list[Issue]:
    """A warning for each thing of the request that found no place."""
    found = [
        Issue(
            field="$.unplaced",
            severity="warning",
            message=f"{attachment.name or attachment.ref}: {payload.model} has no field for it",
            fix="put it into a field that takes a file, leave it out, or choose another model",
        )
        for attachment in payload.unplaced
    ]
    found += [
        Issue(field="$.notes", severity="warning", message=note, fix="choose another model, or go on without")
        for note in payload.notes
    ]
    return found


def _said(request: ProviderRequest) -> str:
    """The conversation so far and the prompt, for models that take one text."""
    if not request.conversation:
        return request.prompt
    turns = [f"{turn.role}: {turn.text}" for turn in request.conversation]
    return "\n".join([*turns, f"user: {request.prompt}"] if request.prompt else turns)


def _placed(
    attachments: tuple[Attachment, ...], fields: Mapping[str, Any], required: set[str], *, taken: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[Attachment, ...]]:
    """(values of fields, attachments without one). A field for one file gets one, a list all of its kind."""
    free = {name: _list_of_files(each) for name, each in fields.items() if name not in taken and _holds_files(each)}
    order = list(free)
    found: dict[str, Any] = {}
    unplaced = []
    for attachment in attachments:
        kind = modality_of(attachment)
        fitting = [name for name in free if (senses(name) or {kind}) & {kind, "file"}]
        if not fitting:
            unplaced.append(attachment)
            continue
        name = min(
            fitting,
            key=lambda each: (
                kind not in senses(each),
                bool(_tokens(each) & _SECONDARY),
                each not in required,
                order.index(each),
            ),
        )
        if free[name]:
            found.setdefault(name, []).append(attachment.ref)
        else:
            found[name] = attachment.ref
            del free[name]
    return found, tuple(unplaced)


def senses(name: str) -> set[Modality]:
    """The kinds of files that a field's name speaks of; none where it is open."""
    return {sense for sense, words in _SENSES.items() if _tokens(name) & words}


def _tokens(name: str) -> set[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return {token.lower() for token in re.split(r"[^A-Za-z]+", apart) if token}


def _holds_files(field: Mapping[str, Any]) -> bool:
    return any(takes_file(each) or _list_of_files(each) for each in _branches(field))


def _list_of_files(field: Mapping[str, Any]) -> bool:
    return any(takes_file(each.get("items") or {}) for each in _branches(field))


def _is_text(field: Mapping[str, Any]) -> bool:
    return any("string" in _types(each) and "enum" not in each and not takes_file(each) for each in _branches(field))


def _branches(field: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [field, *(field.get("anyOf") or ()), *(field.get("oneOf") or ())]


def _types(field: Mapping[str, Any]) -> list[str]:
    found = field.get("type") or []
    return [found] if isinstance(found, str) else list(found)
