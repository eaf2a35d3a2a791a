"""Claude, through Anthropic's SDK: messages.

Wire format: https://platform.claude.com/docs/en/api/messages.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from actors.errors import ProviderAnswerError, ProviderError, UnknownModelError
from actors.providers.base import AIProvider
from actors.providers.faults import of_status
from actors.providers.files import File, modality_of, sent
from actors.providers.models import (
    Attachment,
    Capabilities,
    Limits,
    Modality,
    ModelInfo,
    Payload,
    ProviderRequest,
    ProviderResponse,
    Usage,
)

if TYPE_CHECKING:
    import anthropic

DEFAULT_BASE_URL = "https://api.anthropic.com"
_MODEL = re.compile(r"[\w.:@-]{1,200}")
_OPERATION = "messages"
# The API wants a limit; long enough for most, and no model's limit is lower.
_MAX_TOKENS = 4096
_NOT_HERE = frozenset({"model", "stream"})

_SOURCE = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "enum": ["url", "base64", "text", "file", "content"]},
        "url": {"type": "string", "format": "uri"},
    },
}
_PARTS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string"}, "text": {"type": "string"}, "source": _SOURCE},
    },
}
SCHEMA: Mapping[str, Any] = MappingProxyType(
    {
        "type": "object",
        "required": ["messages", "max_tokens"],
        "additionalProperties": False,
        "properties": {
            "messages": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["role", "content"],
                    "properties": {
                        "role": {"type": "string", "enum": ["user", "assistant"]},
                        "content": {"anyOf": [{"type": "string", "minLength": 1}, _PARTS]},
                    },
                },
            },
            "max_tokens": {
                "type": "integer",
                "minimum": 1,
                "default": _MAX_TOKENS,
                "description": "Longest answer, in tokens",
            },
            "system": {
                "anyOf": [{"type": "string"}, {"type": "array"}],
                "description": "How the model should behave",
            },
            "stop_sequences": {"type": "array", "items": {"type": "string"}},
            "thinking": {"type": "object", "description": "Whether and how long it thinks first"},
        },
    }
)


class AnthropicProvider(AIProvider):
    name = "anthropic"
    sdk = "anthropic"
    extra = "anthropic"
    key_setting = "ANTHROPIC_API_KEY"
    featured = ("claude-sonnet-4-5", "claude-opus-4-5", "claude-haiku-4-5")

    _client: anthropic.AsyncAnthropic | None = None

    def describe(self) -> Capabilities:
        return Capabilities(
            provider=self.name,
            available=True,
            operations=(_OPERATION,),
            models=tuple(
                ModelInfo(id=model, operation=_OPERATION, takes=("text", "image", "file"), prices=self.prices.of(model))
                for model in self.offered()
            ),
            # The endpoint takes no idempotency key.
            idempotent=False,
            cancellable=False,
            files=("url", "inline"),
        )

    async def look_up(self, model: str, operation: str | None) -> ModelInfo:
        if _MODEL.fullmatch(model) is None or ".." in model:
            raise UnknownModelError(f"Anthropic has no model {model[:100]!r}", subject=model[:100])
        if operation not in (None, _OPERATION):
            raise UnknownModelError(f"Anthropic has no operation {operation!r}: use {_OPERATION}", subject=model)
        found = await self._opened().models.retrieve(model)
        takes: list[Modality] = ["text"]
        able = found.capabilities
        if able is None or able.image_input.supported:
            takes.append("image")
        if able is None or able.pdf_input.supported:
            takes.append("file")
        longest = {"maximum": found.max_tokens} if found.max_tokens else {}
        fields = {**SCHEMA["properties"], "max_tokens": {**SCHEMA["properties"]["max_tokens"], **longest}}
        return ModelInfo(
            id=model,
            operation=_OPERATION,
            description=found.display_name,
            version=found.id,
            input_schema={**SCHEMA, "properties": fields},
            takes=tuple(takes),
            limits=Limits(
                max_file_bytes=32 * 1024 * 1024,
                context_tokens=found.max_input_tokens,
                max_output_tokens=found.max_tokens,
                timeout_s=self.settings.timeout_s,
            ),
            prices=self.prices.of(model),
        )

    def fields(self, operation: str) -> Collection[str]:  # noqa: ARG002 - it has one
        from anthropic.types.message_create_params import MessageCreateParamsBase  # noqa: PLC0415 - behind the extra

        return set(MessageCreateParamsBase.__annotations__) - _NOT_HERE

    def compose(self, request: ProviderRequest, model: ModelInfo) -> Payload:
        parts = [made for each in request.attachments if (made := _part(each, model)) is not None]
        content: str | list[dict[str, Any]] = request.prompt
        if parts:
            # Files before the question about them: https://platform.claude.com/docs/en/build-with-claude/vision.
            content = [*parts, *([{"type": "text", "text": request.prompt}] if request.prompt else [])]
        messages = [{"role": turn.role, "content": turn.text} for turn in request.conversation if turn.role != "system"]
        if content:
            messages.append({"role": "user", "content": content})  # type: ignore[dict-item]  # parts beside texts
        longest = model.limits.max_output_tokens or _MAX_TOKENS
        value: dict[str, Any] = {"messages": messages, "max_tokens": min(_MAX_TOKENS, longest)}
        if system := "\n\n".join(turn.text for turn in request.conversation if turn.role == "system"):
            value["system"] = system
        return Payload(
            provider=self.name,
            model=request.model,
            operation=_OPERATION,
            input=value | request.parameters,
            unplaced=tuple(each for each in request.attachments if _part(each, model) is None),
        )

    async def call(self, payload: Payload, *, idempotency_key: str | None) -> ProviderResponse:  # noqa: ARG002 - it takes none
        model = await self.model(payload.model, payload.operation)
        value = await sent(payload.input, self.file_paths(payload, model), _source, self.files, above=1)
        answer = await self._opened().messages.with_raw_response.create(
            model=payload.model,
            # Said, so that the SDK does not guess from `max_tokens` that the answer would take too long for one piece.
            timeout=self.settings.timeout_s,
            **value,
        )
        found = _document(await answer.read())
        parts = [part for part in found["content"] if isinstance(part, dict)]
        used = found.get("usage") or {}
        cached = int(used.get("cache_read_input_tokens") or 0)
        prompt = int(used.get("input_tokens") or 0) + int(used.get("cache_creation_input_tokens") or 0) + cached
        completion = int(used.get("output_tokens") or 0)
        reason = found.get("stop_reason")
        return ProviderResponse(
            provider=self.name,
            model=payload.model,
            operation=_OPERATION,
            id=found.get("id"),
            output=found["content"],
            text="".join(str(part.get("text") or "") for part in parts if part.get("type") == "text"),
            finish=reason,
            refusal=_refusal(found) if reason == "refusal" else None,
            usage=Usage(
                input_tokens=prompt,
                output_tokens=completion,
                cached_input_tokens=cached,
                cost_micro_usd=self.prices.of_tokens(
                    payload.model, prompt=prompt, completion=completion, cached=cached
                ),
            ),
        )

    def fault(self, error: Exception, model: str | None) -> ProviderError | None:
        import anthropic  # noqa: PLC0415 - behind the extra

        if isinstance(error, anthropic.APIStatusError):
            response = error.response
            return of_status(self.name, error.status_code, response.content, response.headers, model=model)
        return super().fault(error, model)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _opened(self) -> anthropic.AsyncAnthropic:
        if self._client is None:
            import anthropic  # noqa: PLC0415 - behind the extra

            self._client = anthropic.AsyncAnthropic(
                api_key=self.key,
                base_url=self.reach.base_url or DEFAULT_BASE_URL,
                max_retries=0,  # the caller's business
                # A key goes nowhere but to the endpoint it was given for.
                http_client=anthropic.DefaultAsyncHttpxClient(timeout=None, follow_redirects=False),
            )
        return self._client


def _part(attachment: Attachment, model: ModelInfo) -> dict[str, Any] | None:
    kind = modality_of(attachment)
    if kind not in model.takes:
        return None
    source = {"type": "url", "url": attachment.ref}
    match kind:
        case "image":
            return {"type": "image", "source": source}
        case "file":
            title = {"title": attachment.name} if attachment.name else {}
            return {"type": "document", "source": source, **title}
    return None


async def _source(file: File) -> dict[str, Any]:
    if file.media_type.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": file.data.decode("utf-8", "replace")}
    return {"type": "base64", "media_type": file.media_type, "data": base64.b64encode(file.data).decode()}


def _refusal(found: Mapping[str, Any]) -> str:
    details = found.get("stop_details") or {}
    return ": ".join(str(each) for each in (details.get("category"), details.get("explanation")) if each)


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProviderAnswerError(f"anthropic answered with no JSON: {error}", subject="anthropic") from error
    if not isinstance(found, dict) or not isinstance(found.get("content"), list):
        raise ProviderAnswerError("anthropic's answer has no content", subject="anthropic")
    return found
