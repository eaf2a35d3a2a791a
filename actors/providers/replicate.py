"""Models on Replicate, through its SDK: predictions that are accepted, polled for, told of by webhook, and cancelled.

Wire format: https://replicate.com/docs/reference/http. The SDK repeats reads up to ten times by itself and drops the
headers of an error; a transport of ours hands it no error to repeat.
"""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import math
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from pydantic import SecretStr

from actors.errors import (
    JobCanceledError,
    JobFailedError,
    MissingExtraError,
    MissingKeyError,
    ProviderAnswerError,
    ProviderError,
    ProviderUnavailableError,
    UnknownModelError,
)
from actors.providers import openapi
from actors.providers.faults import HTTPFault, of_status, of_words
from actors.providers.files import File, Files, at, sent
from actors.providers.jobs import JobProvider
from actors.providers.models import (
    Capabilities,
    Job,
    Limits,
    Modality,
    ModelInfo,
    OutputFile,
    Payload,
    ProviderResponse,
    Usage,
)
from actors.providers.placing import senses
from actors.providers.schema import file_paths
from actors.settings import ProviderReach, ProviderSettings

if TYPE_CHECKING:
    import replicate.client
    from replicate.prediction import Prediction

log = logging.getLogger(__name__)

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_MODEL = re.compile(rf"(?P<owner>{_PART})/(?P<name>{_PART})(?::(?P<version>[A-Za-z0-9]{{1,100}}))?")
_JOB = re.compile(r"[A-Za-z0-9_-]{1,100}")
_OPERATION = "predictions"
# One request, the upload of a file apart.
_REQUEST_S = 30.0
# https://replicate.com/docs/topics/predictions/error-codes: what another try may cure.
_PASSING = re.compile(
    r"\(code: PA\)|please retry|try again|\bE(1000|6716|8367|8765|9243|9825|004)\b|queue is full", re.IGNORECASE
)
_LOG_CHARS = 2000
# For so long it is not asked again for a secret that it did not tell.
_UNTOLD_S = 60.0


class ReplicateProvider(JobProvider):
    """Models by `owner/name`, or `owner/name:version`. A job that nobody stops ends itself at the settings' limit."""

    name = "replicate"
    sdk = "replicate"
    extra = "replicate"
    key_setting = "REPLICATE_API_TOKEN"
    featured = ("black-forest-labs/flux-schnell", "openai/whisper", "meta/meta-llama-3-70b-instruct")

    webhook_setting = "REPLICATE_WEBHOOK_SECRET"

    _client: replicate.client.Client | None = None

    def __init__(self, reach: ProviderReach, settings: ProviderSettings, files: Files) -> None:
        super().__init__(reach, settings, files)
        self._asking = asyncio.Lock()
        self._secret: SecretStr | None = None
        self._secret_until = -math.inf

    def describe(self) -> Capabilities:
        return Capabilities(
            provider=self.name,
            available=True,
            operations=(_OPERATION,),
            models=tuple(
                ModelInfo(id=model, operation=_OPERATION, prices=self.prices.of(model)) for model in self.offered()
            ),
            # A prediction that is asked for twice is made twice.
            idempotent=False,
            cancellable=True,
            webhooks=True,
            files=("url", "upload"),
        )

    async def look_up(self, model: str, operation: str | None) -> ModelInfo:
        named = _MODEL.fullmatch(model)
        if named is None:
            raise UnknownModelError(
                f"{model[:100]!r} is no model of Replicate: name it owner/name or owner/name:version",
                subject=model[:100],
            )
        if operation not in (None, _OPERATION):
            raise UnknownModelError(f"Replicate has no operation {operation!r}: use {_OPERATION}", subject=model)
        found = await self._opened().models.async_get(f"{named['owner']}/{named['name']}")
        version = found.latest_version
        if named["version"]:
            version = await found.versions.async_get(named["version"])
        if version is None:
            raise UnknownModelError(f"{model} has no version that can be run", subject=model)
        takes = openapi.component(version.openapi_schema, "Input")
        gives = openapi.component(version.openapi_schema, "Output")
        if takes is None:
            raise ProviderAnswerError(f"Replicate does not say what {model} takes", subject=model)
        example = found.default_example.input if found.default_example is not None else None
        return ModelInfo(
            id=model,
            operation=_OPERATION,
            description=found.description,
            version=version.id,
            # Not said in the document, and enforced by nobody but us: what a model does not know it silently ignores.
            input_schema={"additionalProperties": False, **takes},
            output_schema=gives,
            example_input=example,
            takes=_taken(takes),
            gives=_given(gives),
            limits=Limits(max_file_bytes=100 * 1024 * 1024, timeout_s=self.settings.timeout_s),
            prices=self.prices.of(model),
        )

    async def begin(self, payload: Payload, *, idempotency_key: str | None) -> Job:  # noqa: ARG002 - it takes none
        model = await self.model(payload.model, payload.operation)
        client = self._opened()
        value = await sent(payload.input, self.file_paths(payload, model), self._upload, self.files)
        more: dict[str, Any] = {}
        if self.reach.webhook_url is not None:
            more = {"webhook": self.reach.webhook_url, "webhook_events_filter": ["completed"]}
        _, _, version = payload.model.partition(":")
        if version:
            made = await client.predictions.async_create(version=version, input=value, **more)
            return self._job(made, payload.model)
        try:
            made = await client.models.predictions.async_create(model=payload.model, input=value, **more)
        except HTTPFault as fault:
            # Only Replicate's official models are run by name; nothing was begun.
            if fault.status != 404 or model.version is None:
                raise
            made = await client.predictions.async_create(version=model.version, input=value, **more)
        return self._job(made, payload.model)

    async def look(self, job: Job, payload: Payload) -> ProviderResponse | Job:
        found = await self._opened().predictions.async_get(_checked(job.id))
        match found.status:
            case "succeeded":
                return await self._response(found, payload)
            case "failed":
                raise _failed(found, payload.model)
            case "canceled":
                raise JobCanceledError(f"the prediction {found.id} was canceled", subject=found.id)
        return self._job(found, payload.model)

    async def stop(self, job: Job) -> None:
        await self._opened().predictions.async_cancel(_checked(job.id))

    def webhook_job(self, body: Mapping[str, Any]) -> Job | None:
        found, status = body.get("id"), body.get("status")
        if not (isinstance(found, str) and _JOB.fullmatch(found) and isinstance(status, str)):
            return None
        return Job(id=found, provider=self.name, model=str(body.get("model") or "")[:200], status=status[:50])

    async def signing_secret(self) -> SecretStr | None:
        """The one that was set, or else this account's, which Replicate tells; remembered for a while, and so is that
        it did not, for anybody may send webhooks that ask for it.
        """
        if self.reach.webhook_secret is not None:
            return self.reach.webhook_secret
        async with self._asking:
            if time.monotonic() >= self._secret_until:
                try:
                    self._secret, wait_s = await self._told_secret(), self.settings.model_ttl_s
                except (ProviderError, MissingKeyError, MissingExtraError) as error:
                    log.warning("replicate does not say what it signs webhooks with: %s", error)
                    self._secret, wait_s = None, _UNTOLD_S
                self._secret_until = time.monotonic() + wait_s
            return self._secret

    async def _told_secret(self) -> SecretStr:
        async def ask() -> SecretStr:
            return SecretStr(str((await self._opened().webhooks.default.async_secret()).key))

        return await self.guarded(ask, None, None)

    def fault(self, error: Exception, model: str | None) -> ProviderError | None:
        if isinstance(error, HTTPFault):
            return of_status(self.name, error.status, error.body, error.headers, model=model)
        if type(error).__name__ == "ValidationError" and "given=aborted" in str(error).replace("'", ""):
            # A status younger than the SDK: past its deadline before it was begun.
            return JobCanceledError("the prediction was aborted before it began", subject=model)
        return super().fault(error, model)

    async def close(self) -> None:
        if self._client is not None:
            await self._client._async_client.aclose()  # noqa: SLF001 - the SDK has no close of its own
            self._client = None

    def _opened(self) -> replicate.client.Client:
        if self._client is None:
            import httpx  # noqa: PLC0415 - behind the extra
            from replicate.client import Client  # noqa: PLC0415 - behind the extra

            from actors.providers.replicate_transport import StraightTransport  # noqa: PLC0415 - it needs httpx

            self._client = Client(
                api_token=self.key,
                base_url=(self.reach.base_url or "https://api.replicate.com").rstrip("/"),
                timeout=httpx.Timeout(_REQUEST_S),
                transport=StraightTransport(),
                # A job that its host has lost does not cost on; 5 s is the least that Replicate takes.
                headers={"Cancel-After": f"{max(5, math.ceil(self.settings.timeout_s))}s"},
            )
        return self._client

    async def _upload(self, file: File) -> str:
        made = await self._opened().files.async_create(
            io.BytesIO(file.data), filename=file.name, content_type=file.media_type
        )
        return str(made.urls["get"])

    def _job(self, prediction: Prediction, model: str) -> Job:
        return Job(id=prediction.id, provider=self.name, model=model, status=prediction.status)

    async def _response(self, prediction: Prediction, payload: Payload) -> ProviderResponse:
        model = await self.model(payload.model, payload.operation)
        output = prediction.output
        paths = file_paths({"output": output}, {"properties": {"output": model.output_schema or {}}})
        files = [await self._copied(at({"output": output}, path)) for path in paths]
        seconds = (prediction.metrics or {}).get("predict_time")
        seconds = float(seconds) if isinstance(seconds, int | float) else None
        counted = prediction.metrics or {}
        tokens = {
            name: int(counted[key])
            for name, key in (("input_tokens", "input_token_count"), ("output_tokens", "output_token_count"))
            if isinstance(counted.get(key), int | float)
        }
        return ProviderResponse(
            provider=self.name,
            model=payload.model,
            operation=_OPERATION,
            id=prediction.id,
            output=output,
            text="" if files else _text(output),
            files=tuple(files),
            finish="succeeded",
            usage=Usage(seconds=seconds, cost_micro_usd=self.prices.of_seconds(payload.model, seconds), **tokens),
            logs=(prediction.logs or "")[-_LOG_CHARS:] or None,
        )

    async def _copied(self, url: str) -> OutputFile:
        if not url.startswith("data:"):
            return await self.files.copied(url)
        head, _, written = url.partition(",")
        data = base64.b64decode(written) if head.endswith(";base64") else unquote_to_bytes(written)
        return await self.files.kept(data, head.removeprefix("data:").partition(";")[0] or None)


def _checked(job: str) -> str:
    if not _JOB.fullmatch(job):
        raise UnknownModelError(f"{job[:100]!r} is no prediction's id", subject=job[:100])
    return job


def _failed(prediction: Prediction, model: str) -> ProviderError:
    said = (prediction.error or "it did not say why")[:500]
    logs = (prediction.logs or "")[-_LOG_CHARS:]
    kind: type[ProviderError] = of_words(said) or (
        ProviderUnavailableError if _PASSING.search(said) else JobFailedError
    )
    return kind(f"{model} failed: {said}", subject=prediction.id, model=model, logs=logs)


def _text(output: Any) -> str:
    if isinstance(output, str):
        return output
    # Language models answer a list of pieces.
    if isinstance(output, list) and output and all(isinstance(each, str) for each in output):
        return "".join(output)
    return ""


def _taken(schema: Mapping[str, Any]) -> tuple[Modality, ...]:
    found: dict[Modality, None] = {}
    for name, field in (schema.get("properties") or {}).items():
        if file_paths("", field) or file_paths([""], field):
            found.update(dict.fromkeys(senses(name) or {"file"}))
        elif field.get("type") == "string" and "enum" not in field:
            found.setdefault("text")
    return tuple(found)


def _given(schema: Mapping[str, Any] | None) -> tuple[Modality, ...]:
    if not schema:
        return ("json",)
    if file_paths("", schema) or file_paths([""], schema):
        return ("file",)
    items = schema.get("items") or {}
    is_text = schema.get("type") == "string" or (isinstance(items, Mapping) and items.get("type") == "string")
    return ("text",) if is_text else ("json",)
