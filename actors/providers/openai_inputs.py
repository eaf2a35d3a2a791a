"""What OpenAI's endpoints take, as JSON Schemas for people and forms, and a request in the words of each.

Wire format: https://platform.openai.com/docs/api-reference. Fields that the SDK knows beyond these may be given, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from actors.providers.files import modality_of
from actors.providers.models import Attachment, ProviderRequest

_FILE = {"type": "string", "format": "uri"}
_TEMPERATURE = {"type": "number", "minimum": 0, "maximum": 2, "description": "How varied the answer is"}
_TOP_P = {"type": "number", "minimum": 0, "maximum": 1}


def _content(parts: Mapping[str, Any], kinds: list[str]) -> dict[str, Any]:
    fields = {"type": {"type": "string", "enum": kinds}, "text": {"type": "string"}, **parts}
    return {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "object", "required": ["type"], "properties": fields}},
        ]
    }


def _messages(content: Mapping[str, Any], roles: list[str]) -> dict[str, Any]:
    fields = {"role": {"type": "string", "enum": roles}, "content": content}
    return {
        "type": "array",
        "minItems": 1,
        "items": {"type": "object", "required": ["role", "content"], "properties": fields},
    }


def _object(required: list[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": dict(properties)}


_RESPONSES = _content(
    {
        "image_url": _FILE,
        "file_url": _FILE,
        "filename": {"type": "string"},
        "detail": {"type": "string", "enum": ["auto", "low", "high", "original"]},
    },
    ["input_text", "input_image", "input_file", "output_text"],
)
_CHAT = _content(
    {
        "image_url": {"type": "object", "required": ["url"], "properties": {"url": _FILE}},
        "file": {"type": "object", "properties": {"file_data": _FILE, "filename": {"type": "string"}}},
    },
    ["text", "image_url", "file", "input_audio", "refusal"],
)
_ROLES = ["system", "developer", "user", "assistant"]

SCHEMAS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "responses": _object(
            ["input"],
            {
                "input": {
                    "description": "What is asked: a text, or the conversation so far",
                    "anyOf": [{"type": "string", "minLength": 1}, _messages(_RESPONSES, _ROLES)],
                },
                "instructions": {"type": "string", "description": "How the model should behave"},
                "max_output_tokens": {"type": "integer", "minimum": 16, "description": "Longest answer, in tokens"},
                "temperature": _TEMPERATURE,
                "top_p": _TOP_P,
                "reasoning": {"type": "object", "description": "For models that reason: effort, summary"},
                "text": {"type": "object", "description": "The answer's format, such as a JSON Schema"},
            },
        ),
        "chat": _object(
            ["messages"],
            {
                "messages": _messages(_CHAT, [*_ROLES, "tool"]),
                "max_completion_tokens": {"type": "integer", "minimum": 1, "description": "Longest answer, in tokens"},
                "temperature": _TEMPERATURE,
                "top_p": _TOP_P,
                "seed": {"type": "integer"},
                "response_format": {"type": "object", "description": "The answer's format, such as a JSON Schema"},
            },
        ),
        "images": _object(
            ["prompt"],
            {
                "prompt": {"type": "string", "minLength": 1, "maxLength": 32_000, "description": "What to draw"},
                "image": {
                    "type": "array",
                    "items": _FILE,
                    "maxItems": 16,
                    "description": "Images to edit or to draw from",
                },
                "mask": {**_FILE, "description": "Where the first image may change"},
                "n": {"type": "integer", "minimum": 1, "maximum": 10, "description": "How many images"},
                "size": {"type": "string", "pattern": "^(auto|[0-9]{2,5}x[0-9]{2,5})$"},
                "quality": {
                    "type": "string",
                    "enum": ["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"],
                },
                "background": {"type": "string", "enum": ["auto", "transparent", "opaque"]},
                "output_format": {"type": "string", "enum": ["png", "webp", "jpeg"]},
                "moderation": {"type": "string", "enum": ["auto", "low"]},
            },
        ),
    }
)
# Where files stand in what each endpoint takes; these it cannot read by their address.
INLINE_ONLY = "file_data"


def written(request: ProviderRequest, operation: str) -> tuple[dict[str, Any], tuple[Attachment, ...]]:
    """(the request as the endpoint's input, attachments that it has no place for)."""
    if operation == "images":
        placed = [each for each in request.attachments if modality_of(each) == "image"]
        value: dict[str, Any] = {
            "prompt": "\n".join([*(turn.text for turn in request.conversation), request.prompt]).strip()
        }
        if placed:
            value["image"] = [each.ref for each in placed]
        return value | request.parameters, tuple(each for each in request.attachments if each not in placed)
    part = _response_part if operation == "responses" else _chat_part
    text_type = "input_text" if operation == "responses" else "text"
    parts = [made for each in request.attachments if (made := part(each)) is not None]
    unplaced = tuple(each for each in request.attachments if part(each) is None)
    content: str | list[dict[str, Any]] = request.prompt
    if parts:
        content = [*([{"type": text_type, "text": request.prompt}] if request.prompt else []), *parts]
    system = [turn.text for turn in request.conversation if turn.role == "system"]
    messages: list[dict[str, Any]] = [
        {"role": turn.role, "content": turn.text} for turn in request.conversation if turn.role != "system"
    ]
    if content:
        messages.append({"role": "user", "content": content})
    if operation == "responses":
        plain = len(messages) == 1 and isinstance(content, str) and content
        value = {"input": content if plain else messages}
        if system:
            value["instructions"] = "\n\n".join(system)
    else:
        value = {"messages": [*({"role": "system", "content": text} for text in system), *messages]}
    return value | request.parameters, unplaced


def _response_part(attachment: Attachment) -> dict[str, Any] | None:
    match modality_of(attachment):
        case "image":
            return {"type": "input_image", "image_url": attachment.ref, "detail": "auto"}
        case "file":
            return {"type": "input_file", "file_url": attachment.ref, **_named(attachment)}
    return None


def _chat_part(attachment: Attachment) -> dict[str, Any] | None:
    match modality_of(attachment):
        case "image":
            return {"type": "image_url", "image_url": {"url": attachment.ref}}
        case "file":
            return {"type": "file", "file": {"file_data": attachment.ref, **_named(attachment)}}
    return None


def _named(attachment: Attachment) -> dict[str, str]:
    return {"filename": attachment.name} if attachment.name else {}
