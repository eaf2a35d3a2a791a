"""Models on Hugging Face, through its SDK: chat by the router, and the tasks of its inference endpoints.

Wire formats: https://huggingface.co/docs/inference-providers/tasks. What a model is for, its task, the Hub tells. The
SDK is always given a URL for a model, for by a name alone it would ask the Hub first, in the event loop; and files as
bytes, for a text it would take as a file of this machine.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from actors.errors import ProviderAnswerError, ProviderError, ProviderRefusedError, UnknownModelError
from actors.providers import placing
from actors.providers.base import AIProvider
from actors.providers.faults import of_status
from actors.providers.files import File, Path, at, data_uri, modality_of, replaced, sent
from actors.providers.models import (
    Capabilities,
    Limits,
    Modality,
    ModelInfo,
    OutputFile,
    Payload,
    ProviderRequest,
    ProviderResponse,
    Usage,
)
from actors.providers.openai_inputs import SCHEMAS, written

if TYPE_CHECKING:
    from huggingface_hub import AsyncInferenceClient

DEFAULT_BASE_URL = "https://router.huggingface.co"
DEFAULT_HUB_URL = "https://huggingface.co"
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(?::[a-z0-9-]{1,40})?")
_CHAT = "chat-completion"
_HUB_S = 30.0
_NOT_HERE = frozenset({"self", "model", "stream", "stream_options", "extra_body"})
_TYPES: Mapping[type, str] = MappingProxyType(
    {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
)


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the SDK does it: its method, what must be given, and where in the answer the text is."""

    method: str
    texts: tuple[str, ...] = ()
    file: str | None = None
    takes: tuple[Modality, ...] = ("text",)
    gives: tuple[Modality, ...] = ("json",)
    answer: str | None = None


_TASKS: Mapping[str, Task] = MappingProxyType(
    {
        _CHAT: Task("chat_completion", takes=("text", "image"), gives=("text",)),
        "text-to-image": Task("text_to_image", ("prompt",), gives=("image",)),
        "image-to-image": Task("image_to_image", file="image", takes=("image", "text"), gives=("image",)),
        "text-to-speech": Task("text_to_speech", ("text",), gives=("audio",)),
        "automatic-speech-recognition": Task(
            "automatic_speech_recognition", file="audio", takes=("audio",), gives=("text",), answer="text"
        ),
        "image-to-text": Task(
            "image_to_text", file="image", takes=("image",), gives=("text",), answer="generated_text"
        ),
        "image-classification": Task("image_classification", file="image", takes=("image",)),
        "object-detection": Task("object_detection", file="image", takes=("image",)),
        "summarization": Task("summarization", ("text",), gives=("text",), answer="summary_text"),
        "translation": Task("translation", ("text",), gives=("text",), answer="translation_text"),
        "text-classification": Task("text_classification", ("text",)),
        "token-classification": Task("token_classification", ("text",)),
        "zero-shot-classification": Task("zero_shot_classification", ("text", "candidate_labels")),
    }
)
# Of a model that only goes on with a text, and of one that sees, the Hub says another task.
_CHATTY = frozenset({"text-generation", "image-text-to-text", "conversational", "text2text-generation"})


class HuggingFaceProvider(AIProvider):
    """Models by `owner/name`, or `owner/name:provider` to choose who runs a chat model."""

    name = "huggingface"
    sdk = "huggingface_hub"
    extra = "huggingface"
    key_setting = "HF_TOKEN"
    featured = (
        "openai/gpt-oss-120b",
        "black-forest-labs/FLUX.1-schnell",
        "openai/whisper-large-v3",
        "facebook/bart-large-cnn",
    )

    _chatting: AsyncInferenceClient | None = None
    _working: AsyncInferenceClient | None = None

    def describe(self) -> Capabilities:
        return Capabilities(
            provider=self.name,
            available=True,
            operations=tuple(_TASKS),
            # Which task a model has, the Hub is asked for when somebody asks.
            models=tuple(ModelInfo(id=model, operation="", prices=self.prices.of(model)) for model in self.offered()),
            idempotent=False,
            cancellable=False,
            files=("url", "inline"),
        )

    async def look_up(self, model: str, operation: str | None) -> ModelInfo:
        if _MODEL.fullmatch(model) is None or ".." in model:
            raise UnknownModelError(
                f"{model[:100]!r} is no model of Hugging Face: name it owner/name", subject=model[:100]
            )
        told = await asyncio.to_thread(self._ask_hub, model.partition(":")[0])
        operation = operation or (_CHAT if told in _CHATTY else told) or "nothing that the Hub names"
        if operation not in _TASKS:
            raise UnknownModelError(
                f"{model} is for {operation}, which is not done here: {', '.join(_TASKS)}", subject=model
            )
        task = _TASKS[operation]
        return ModelInfo(
            id=model,
            operation=operation,
            input_schema=_schema(operation, task),
            takes=task.takes,
            gives=task.gives,
            limits=Limits(timeout_s=self.settings.timeout_s),
            prices=self.prices.of(model),
        )

    def compose(self, request: ProviderRequest, model: ModelInfo) -> Payload:
        if model.operation != _CHAT:
            return placing.by_schema(self.name, request, model)
        seen = tuple(each for each in request.attachments if modality_of(each) == "image")
        value, _ = written(request.model_copy(update={"attachments": seen}), "chat")
        return Payload(
            provider=self.name,
            model=request.model,
            operation=_CHAT,
            input=value,
            unplaced=tuple(each for each in request.attachments if each not in seen),
        )

    async def call(self, payload: Payload, *, idempotency_key: str | None) -> ProviderResponse:  # noqa: ARG002 - it takes none
        model = await self.model(payload.model, payload.operation)
        paths = self.file_paths(payload, model)
        if payload.operation == _CHAT:
            return await self._chat(payload, paths)
        task = _TASKS[payload.operation]
        value = _decoded(await sent(payload.input, paths, _as_bytes, self.files, web=True), paths)
        url = f"{self._base()}/hf-inference/models/{payload.model.partition(':')[0]}"
        found = await getattr(self._worker(), task.method)(**value, model=url)
        files: tuple[OutputFile, ...] = ()
        if task.gives == ("image",):
            files = (await self.files.kept(await asyncio.to_thread(_png, found), "image/png"),)
        elif task.gives == ("audio",):
            if not isinstance(found, bytes):
                raise ProviderAnswerError(f"huggingface's answer is no {payload.operation}", subject=payload.model)
            files = (await self.files.kept(found),) if found else ()
        output = None if files else _plain(found)
        text = "" if task.answer is None else str(_told(found, task.answer, payload))
        return ProviderResponse(
            provider=self.name,
            model=payload.model,
            operation=payload.operation,
            output=output,
            text=text,
            files=files,
            finish="completed",
        )

    def fault(self, error: Exception, model: str | None) -> ProviderError | None:
        from huggingface_hub import errors  # noqa: PLC0415 - behind the extra

        if isinstance(error, errors.RepositoryNotFoundError):
            return UnknownModelError(
                f"Hugging Face has no model {model}, or this key may not see it", subject=model, status=404
            )
        if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
            response = error.response
            return of_status(self.name, response.status_code, response.content, response.headers, model=model)
        if type(error).__name__ == "UnidentifiedImageError":
            return ProviderAnswerError("huggingface's answer is no image", subject=model)
        return super().fault(error, model)

    async def close(self) -> None:
        for client in (self._chatting, self._working):
            if client is not None:
                await client.close()  # type: ignore[no-untyped-call]
        self._chatting = self._working = None

    async def _chat(self, payload: Payload, paths: list[Path]) -> ProviderResponse:
        value = await sent(payload.input, paths, _as_uri, self.files)
        found = await self._chatter().chat_completion(**value, model=payload.model)
        choices = getattr(found, "choices", None)
        if not isinstance(choices, list) or not all(hasattr(each, "message") for each in choices):
            raise ProviderAnswerError("huggingface's answer has no choices", subject=payload.model)
        used = getattr(found, "usage", None)
        prompt, completion = (int(getattr(used, f"{kind}_tokens", 0) or 0) for kind in ("prompt", "completion"))
        messages = [each.message for each in choices]
        return ProviderResponse(
            provider=self.name,
            model=payload.model,
            operation=_CHAT,
            id=getattr(found, "id", None),
            output=_plain(choices),
            text="\n\n".join(str(getattr(message, "content", None) or "") for message in messages),
            finish=next((str(each.finish_reason) for each in choices if each.finish_reason), None),
            refusal=next((str(said) for each in messages if (said := getattr(each, "refusal", None))), None),
            usage=Usage(
                input_tokens=prompt,
                output_tokens=completion,
                cost_micro_usd=self.prices.of_tokens(payload.model, prompt=prompt, completion=completion)
                if prompt or completion
                else None,
            ),
        )

    def _base(self) -> str:
        base = (self.reach.base_url or DEFAULT_BASE_URL).rstrip("/")
        if not base.startswith(("http://", "https://")):
            # The SDK would take it for a model's name, and the key would go elsewhere.
            raise ProviderRefusedError(
                f"huggingface's address {base[:100]!r} is no http URL: check its setting", subject=self.name
            )
        return base

    def _chatter(self) -> AsyncInferenceClient:
        if self._chatting is None:
            self._chatting = self._client(f"{self._base()}/v1")
        return self._chatting

    def _worker(self) -> AsyncInferenceClient:
        if self._working is None:
            self._working = self._client(None)
        return self._working

    def _client(self, base_url: str | None) -> AsyncInferenceClient:
        from huggingface_hub import AsyncInferenceClient  # noqa: PLC0415 - behind the extra

        return AsyncInferenceClient(base_url=base_url, api_key=self.key, timeout=self.settings.timeout_s)

    def _ask_hub(self, model: str) -> str | None:
        from huggingface_hub import HfApi  # noqa: PLC0415 - behind the extra

        hub = HfApi(endpoint=self.settings.huggingface_hub or DEFAULT_HUB_URL, token=self.key)
        return hub.model_info(model, timeout=_HUB_S, expand=["pipeline_tag"]).pipeline_tag


def _schema(operation: str, task: Task) -> dict[str, Any]:
    """What the task takes: what must be given, and what else the SDK's own method does."""
    from huggingface_hub import AsyncInferenceClient  # noqa: PLC0415 - behind the extra

    fields: dict[str, Any] = {}
    required = list(task.texts)
    if operation == _CHAT:
        required = ["messages"]
    elif task.file is not None:
        required.append(task.file)
    for name, parameter in inspect.signature(getattr(AsyncInferenceClient, task.method)).parameters.items():
        if name in _NOT_HERE:
            continue
        if operation == _CHAT and name == "messages":
            fields[name] = SCHEMAS["chat"]["properties"]["messages"]
        elif name == task.file:
            fields[name] = {"type": "string", "format": "uri"}
        else:
            fields[name] = _typed(parameter.annotation)
    for name in task.texts:
        if fields[name].get("type") == "string":
            fields[name] = {"type": "string", "minLength": 1}
    return {"type": "object", "required": required, "additionalProperties": False, "properties": fields}


def _typed(annotation: Any) -> dict[str, Any]:
    choices = [typing.get_origin(each) or each for each in (typing.get_args(annotation) or (annotation,))]
    named = [_TYPES[each] for each in choices if isinstance(each, type) and each in _TYPES]
    return {"type": named[0]} if len(named) == 1 else {}


async def _as_bytes(file: File) -> bytes:
    return file.data


async def _as_uri(file: File) -> str:
    return data_uri(file)


def _decoded(value: Any, paths: list[Path]) -> Any:
    for path in paths:
        uri = at(value, path)
        if isinstance(uri, str):
            head, _, body = uri.partition(",")
            value = replaced(
                value, path, base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
            )
    return value


def _png(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def _told(found: Any, field: str, payload: Payload) -> Any:
    # One answer, or a list of one, as servers like.
    first = found[0] if isinstance(found, list) and found else found
    told = first.get(field) if isinstance(first, Mapping) else getattr(first, field, None)
    if not isinstance(told, str):
        raise ProviderAnswerError(f"huggingface's answer has no {field}", subject=payload.model)
    return told


def _plain(found: Any) -> Any:
    """The SDK's values as JSON has them: its classes are mappings of their fields."""
    if isinstance(found, Mapping):
        return {str(key): _plain(each) for key, each in found.items()}
    if isinstance(found, list | tuple):
        return [_plain(each) for each in found]
    return found if found is None or isinstance(found, str | int | float | bool) else str(found)
