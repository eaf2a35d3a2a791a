"""OpenAI's responses, chat and images, through its SDK; any server that speaks them, with `OPENAI_BASE_URL`.

Wire format: https://platform.openai.com/docs/api-reference. Answers are read as they came, for other servers leave out
what the SDK's types require.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from actors.errors import (
    ProviderAnswerError,
    ProviderError,
    ProviderModerationError,
    ProviderRefusedError,
    ProviderUnavailableError,
    UnknownModelError,
)
from actors.providers.base import AIProvider
from actors.providers.faults import of_status, of_words
from actors.providers.files import Path, at, data_uri, replaced, sent
from actors.providers.models import (
    Capabilities,
    Limits,
    ModelInfo,
    OutputFile,
    Payload,
    ProviderRequest,
    ProviderResponse,
    Usage,
)
from actors.providers.openai_inputs import INLINE_ONLY, SCHEMAS, written

if TYPE_CHECKING:
    import openai

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_MODEL = re.compile(r"[\w.:@+-][\w.:/@+-]{0,199}")
_DRAWS = ("gpt-image", "dall-e", "chatgpt-image")
# What would make an answer come in another way than all at once.
_NOT_HERE = frozenset({"model", "stream", "stream_options", "background", "partial_images", "response_format_url"})
_MODERATION_MODEL = "omni-moderation-latest"


class OpenAIProvider(AIProvider):
    """`responses` by default, `chat` at servers that are not OpenAI's own, `images` for models that draw."""

    name = "openai"
    sdk = "openai"
    extra = "openai"
    key_setting = "OPENAI_API_KEY"
    featured = ("gpt-5-mini", "gpt-5", "gpt-4.1", "gpt-image-1")

    _client: openai.AsyncOpenAI | None = None

    def describe(self) -> Capabilities:
        return Capabilities(
            provider=self.name,
            available=True,
            operations=tuple(SCHEMAS),
            models=tuple(self._described(model, self._operation(model)) for model in self.offered()),
            # Its endpoints take no idempotency key: the key goes along as a request id that its support can find.
            idempotent=False,
            cancellable=False,
            files=("url", "inline"),
        )

    async def look_up(self, model: str, operation: str | None) -> ModelInfo:
        if _MODEL.fullmatch(model) is None or ".." in model:
            raise UnknownModelError(f"{model[:100]!r} is no model's id", subject=model[:100])
        operation = operation or self._operation(model)
        if operation not in SCHEMAS:
            raise UnknownModelError(
                f"OpenAI has no operation {operation!r} here: use {', '.join(SCHEMAS)}", subject=model
            )
        await self._opened().models.with_raw_response.retrieve(model)
        return self._described(model, operation).model_copy(update={"input_schema": SCHEMAS[operation]})

    def fields(self, operation: str) -> Collection[str]:
        from openai.types.chat.completion_create_params import CompletionCreateParamsBase  # noqa: PLC0415 - behind the extra
        from openai.types.image_generate_params import ImageGenerateParamsBase  # noqa: PLC0415
        from openai.types.responses.response_create_params import ResponseCreateParamsBase  # noqa: PLC0415

        kinds: Mapping[str, Any] = {
            "responses": ResponseCreateParamsBase,
            "chat": CompletionCreateParamsBase,
            "images": ImageGenerateParamsBase,
        }
        return set(kinds[operation].__annotations__) - _NOT_HERE

    def compose(self, request: ProviderRequest, model: ModelInfo) -> Payload:
        value, unplaced = written(request, model.operation)
        return Payload(
            provider=self.name, model=request.model, operation=model.operation, input=value, unplaced=unplaced
        )

    async def call(self, payload: Payload, *, idempotency_key: str | None) -> ProviderResponse:
        model = await self.model(payload.model, payload.operation)
        paths = self.file_paths(payload, model)
        headers = {"X-Client-Request-Id": _ascii(idempotency_key)} if idempotency_key else {}
        match payload.operation:
            case "images":
                return await self._images(payload, paths, headers)
            case "chat":
                return await self._chat(payload, paths, headers)
        return await self._responses(payload, paths, headers)

    async def moderate(self, text: str) -> tuple[str, ...] | None:
        async def ask() -> tuple[str, ...]:
            client = self._opened()
            found = await client.moderations.with_raw_response.create(model=_MODERATION_MODEL, input=text)
            [result] = _document(found.content, "results")["results"]
            return tuple(sorted(name for name, flagged in result["categories"].items() if flagged))

        return await self.guarded(ask, _MODERATION_MODEL, None)

    def fault(self, error: Exception, model: str | None) -> ProviderError | None:
        import openai  # noqa: PLC0415 - behind the extra

        if isinstance(error, openai.APIStatusError):
            response = error.response
            return of_status(self.name, error.status_code, response.content, response.headers, model=model)
        return super().fault(error, model)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _opened(self) -> openai.AsyncOpenAI:
        if self._client is None:
            import openai  # noqa: PLC0415 - half a second that only this provider should cost

            self._client = openai.AsyncOpenAI(
                api_key=self.key,
                base_url=self.reach.base_url or DEFAULT_BASE_URL,
                max_retries=0,  # the caller's business
                timeout=None,  # `execute` bounds each call
                # A key goes nowhere but to the endpoint it was given for.
                http_client=openai.DefaultAioHttpClient(timeout=None, follow_redirects=False),
            )
        return self._client

    def _operation(self, model: str) -> str:
        if model.rpartition("/")[2].startswith(_DRAWS):
            return "images"
        own = self.reach.base_url is None or re.match(r"https://([\w-]+\.)*openai\.com(/|$)", self.reach.base_url)
        return "responses" if own else "chat"

    def _described(self, model: str, operation: str) -> ModelInfo:
        draws = operation == "images"
        return ModelInfo(
            id=model,
            operation=operation,
            takes=("text", "image") if draws else ("text", "image", "file"),
            gives=("image",) if draws else ("text",),
            limits=Limits(max_file_bytes=50 * 1024 * 1024, timeout_s=self.settings.timeout_s),
            prices=self.prices.of(model),
        )

    async def _responses(self, payload: Payload, paths: list[Path], headers: dict[str, str]) -> ProviderResponse:
        value = _inlined(await sent(payload.input, paths, _as_uri, self.files), paths)
        answer = await self._opened().responses.with_raw_response.create(
            model=payload.model, extra_headers=headers, **value
        )
        found = _document(answer.content, "output")
        if found.get("status") == "failed":
            raise _failed(found.get("error") or {}, payload.model)
        items = [item for item in found["output"] if isinstance(item, dict)]
        parts = [part for item in items if item.get("type") == "message" for part in item.get("content") or ()]
        refusals = [str(part.get("refusal")) for part in parts if part.get("type") == "refusal"]
        files = []
        for item in items:
            if item.get("type") == "image_generation_call" and item.get("result"):
                files.append(await self.files.kept(base64.b64decode(item["result"])))
                item["result"] = None
        used = found.get("usage") or {}
        return ProviderResponse(
            provider=self.name,
            model=payload.model,
            operation=payload.operation,
            id=found.get("id"),
            output=found["output"],
            text="".join(str(part.get("text") or "") for part in parts if part.get("type") == "output_text"),
            files=tuple(files),
            finish=(found.get("incomplete_details") or {}).get("reason") or found.get("status"),
            refusal="\n".join(refusals) if refusals else None,
            usage=self._used(
                payload.model,
                used.get("input_tokens"),
                used.get("output_tokens"),
                (used.get("input_tokens_details") or {}).get("cached_tokens"),
            ),
        )

    async def _chat(self, payload: Payload, paths: list[Path], headers: dict[str, str]) -> ProviderResponse:
        inline = [path for path in paths if path[-1] == INLINE_ONLY]
        value = await sent(payload.input, inline, _as_uri, self.files, web=True)
        value = await sent(value, [path for path in paths if path not in inline], _as_uri, self.files)
        answer = await self._opened().chat.completions.with_raw_response.create(
            model=payload.model, extra_headers=headers, **value
        )
        found = _document(answer.content, "choices")
        choices = [each for each in found["choices"] if isinstance(each, dict)]
        messages = [each.get("message") or {} for each in choices]
        used = found.get("usage") or {}
        return ProviderResponse(
            provider=self.name,
            model=payload.model,
            operation=payload.operation,
            id=found.get("id"),
            output=found["choices"],
            text="\n\n".join(str(message.get("content") or "") for message in messages),
            finish=next((str(each["finish_reason"]) for each in choices if each.get("finish_reason")), None),
            refusal=next((str(message["refusal"]) for message in messages if message.get("refusal")), None),
            usage=self._used(
                payload.model,
                used.get("prompt_tokens"),
                used.get("completion_tokens"),
                (used.get("prompt_tokens_details") or {}).get("cached_tokens"),
            ),
        )

    async def _images(self, payload: Payload, paths: list[Path], headers: dict[str, str]) -> ProviderResponse:
        images = self._opened().images
        if paths:
            # An edit sends its images as parts of a form: by an address they cannot be given.
            value = await sent(payload.input, paths, _as_part, self.files, web=True)
            answer = await images.with_raw_response.edit(model=payload.model, extra_headers=headers, **value)
        else:
            answer = await images.with_raw_response.generate(
                model=payload.model, extra_headers=headers, **payload.input
            )
        found = _document(answer.content, "data")
        files = [await self._image(each) for each in found["data"] if isinstance(each, dict)]
        used = found.get("usage") or {}
        return ProviderResponse(
            provider=self.name,
            model=payload.model,
            operation=payload.operation,
            output=[{"revised_prompt": each.get("revised_prompt")} for each in found["data"]],
            files=tuple(file for file in files if file is not None),
            finish="completed",
            usage=self._used(payload.model, used.get("input_tokens"), used.get("output_tokens"), 0),
        )

    async def _image(self, told: Mapping[str, Any]) -> OutputFile | None:
        if told.get("b64_json"):
            return await self.files.kept(base64.b64decode(told["b64_json"]))
        return await self.files.copied(told["url"]) if told.get("url") else None

    def _used(self, model: str, prompt: Any, completion: Any, cached: Any) -> Usage:
        prompt, completion, cached = (int(each or 0) for each in (prompt, completion, cached))
        known = prompt or completion
        return Usage(
            input_tokens=prompt,
            output_tokens=completion,
            cached_input_tokens=cached,
            cost_micro_usd=self.prices.of_tokens(model, prompt=prompt, completion=completion, cached=cached)
            if known
            else None,
        )


async def _as_uri(file: Any) -> str:
    return data_uri(file)


async def _as_part(file: Any) -> tuple[str, bytes, str]:
    return (file.name, file.data, file.media_type)


def _inlined(value: Any, paths: list[Path]) -> Any:
    """A file that stands there whole has another field than one by its address."""
    for path in paths:
        uri = at(value, path)
        if path[-1] == "file_url" and isinstance(uri, str) and uri.startswith("data:"):
            part = {key: each for key, each in at(value, path[:-1]).items() if key != "file_url"}
            kind = uri.removeprefix("data:").partition(";")[0]
            named = part.get("filename") or f"file{mimetypes.guess_extension(kind) or '.bin'}"
            value = replaced(value, path[:-1], {**part, "filename": named, "file_data": uri})
    return value


def _document(body: bytes, needed: str) -> dict[str, Any]:
    """The answer, which has a list in the field `needed`. Raises `ProviderAnswerError`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProviderAnswerError(f"openai answered with no JSON: {error}", subject="openai") from error
    if not isinstance(found, dict) or not isinstance(found.get(needed), list):
        raise ProviderAnswerError(f"openai's answer has no {needed}", subject="openai")
    return found


def _failed(fault: Mapping[str, Any], model: str) -> ProviderError:
    code, said = str(fault.get("code") or ""), str(fault.get("message") or "it did not say why")
    kind: type[ProviderError] = of_words(f"{code} {said}") or ProviderRefusedError
    if code in {"server_error", "rate_limit_exceeded", "vector_store_timeout"}:
        kind = ProviderUnavailableError
    elif code in {"invalid_prompt", "bio_policy", "cyber_policy_violation"}:
        kind = ProviderModerationError
    return kind(f"{model} at openai failed: {said[:500]}", subject=model, provider_code=code)


def _ascii(key: str) -> str:
    # Its limit: https://platform.openai.com/docs/api-reference/debugging-requests.
    return re.sub(r"[^\x21-\x7e]", "-", key)[:512]
