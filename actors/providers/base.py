"""What an AI provider is. Held by `tests/conformance/ai_provider.py`.

A provider of your own is one file: a subclass of `AIProvider`, or of `jobs.JobProvider` where work is accepted first
and done later, named by an entry point of the group `hyvve.providers`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from typing import ClassVar, TypeVar, final

from actors.errors import (
    MissingExtraError,
    MissingKeyError,
    PayloadFaultsError,
    ProviderAnswerError,
    ProviderError,
    ProviderUnavailableError,
    UnknownModelError,
)
from actors.providers import audit, placing, schema
from actors.providers.faults import of_exception
from actors.providers.files import Files, Path
from actors.providers.models import (
    Audit,
    Capabilities,
    Issue,
    ModelInfo,
    Payload,
    ProviderRequest,
    ProviderResponse,
)
from actors.providers.prices import ProviderPrices
from actors.settings import ProviderReach, ProviderSettings
from storage.errors import HyvveError

log = logging.getLogger(__name__)

T = TypeVar("T")


class AIProvider(ABC):
    """One provider, as configured. Opens nothing before it is asked; then it belongs to the event loop that asked.

    A call is tried once: whoever calls decides about another try, by the error's class. `sdk` is the module of the
    provider's library, `extra` what installs it, `key_setting` where its key comes from.
    """

    name: ClassVar[str]
    sdk: ClassVar[str | None] = None
    extra: ClassVar[str | None] = None
    key_setting: ClassVar[str | None] = None
    # Models to offer before anybody names one.
    featured: ClassVar[tuple[str, ...]] = ()

    def __init__(self, reach: ProviderReach, settings: ProviderSettings, files: Files) -> None:
        self.reach = reach
        self.settings = settings
        self.files = files
        self.prices = ProviderPrices(settings.prices)
        self._models: dict[tuple[str, str | None], tuple[float, ModelInfo]] = {}

    # What a provider must say.

    @abstractmethod
    def describe(self) -> Capabilities:
        """What it can do, without asking anybody; `models` are those offered, without schemas."""

    @abstractmethod
    async def look_up(self, model: str, operation: str | None) -> ModelInfo:
        """The model with its `input_schema`, asked of the provider where it tells. Raises `UnknownModelError`."""

    @abstractmethod
    async def call(self, payload: Payload, *, idempotency_key: str | None) -> ProviderResponse:
        """One call, once, with the payload's files sent along. Errors of the library may come as they are."""

    # What it may say better.

    def fault(self, error: Exception, model: str | None) -> ProviderError | None:
        """The error of ours that one of the library's is, or `None`: then it is judged by what it is made of."""
        return of_exception(self.name, error, model=model)

    def fields(self, operation: str) -> Collection[str]:  # noqa: ARG002 - for subclasses
        """Names that may stand in an input beside those of the schema."""
        return ()

    def compose(self, request: ProviderRequest, model: ModelInfo) -> Payload:
        """The request in the model's words: its fields filled from prompt, attachments and parameters."""
        return placing.by_schema(self.name, request, model)

    def file_paths(self, payload: Payload, model: ModelInfo) -> list[Path]:
        """Where in the input files stand."""
        return schema.file_paths(payload.input, model.input_schema or {})

    async def moderate(self, text: str) -> tuple[str, ...] | None:  # noqa: ARG002 - for subclasses
        """The provider's own moderation marks of a text; `None` where it has no moderation."""
        return None

    async def close(self) -> None:  # noqa: B027 - most have nothing to end
        """Ends what was opened. Closing twice is no error."""

    # What others ask.

    @final
    async def get_capabilities(self, model: str | None = None, operation: str | None = None) -> Capabilities:
        """What the provider can do. With `model`, `models` is that one alone, with its schemas, limits and prices.

        Raises `UnknownModelError`, or what asking the provider raises; without `model`, nothing.
        """
        found = self.describe().model_copy(update={"missing": self._missing(), "available": self._missing() is None})
        if model is None:
            return found
        return found.model_copy(update={"models": (await self.model(model, operation),)})

    @final
    async def create_payload(self, request: ProviderRequest) -> Payload:
        """What would be sent for the request. What of it has no place stands in `unplaced` and `notes`."""
        return self.compose(request, await self.model(request.model, request.operation))

    @final
    async def validate_payload(self, payload: Payload) -> list[Issue]:
        """The payload's faults, errors first. An empty list, or warnings alone, means that it may be sent."""
        model = await self.model(payload.model, payload.operation)
        found = schema.issues(payload.input, model.input_schema or {}, known=self.fields(payload.operation))
        found += placing.left_over(payload)
        return sorted(found, key=lambda issue: ("error", "warning", "info").index(issue.severity))

    @final
    async def execute(
        self, payload: Payload, *, idempotency_key: str | None = None, timeout_s: float | None = None
    ) -> ProviderResponse:
        """What the model answers to the payload. A cancelled or timed out call is stopped at the provider, too.

        Raises `PayloadFaultsError` before anything is sent, then an error of the class that says what can be done.
        """
        limit = timeout_s or self.settings.timeout_s

        async def call() -> ProviderResponse:
            async with asyncio.timeout(limit):
                return await self.call(payload, idempotency_key=idempotency_key)

        await self.require_valid(payload)
        return await self.guarded(call, payload.model, limit)

    @final
    async def audit_response(self, response: ProviderResponse) -> Audit:
        """What can be said of it by rule: shape, emptiness, refusal, moderation, what it used."""
        try:
            model: ModelInfo | None = await self.model(response.model, response.operation)
        except ProviderError:
            model = None  # then its shape is not judged
        return audit.audited(response, None if model is None else model.output_schema)

    # For subclasses.

    async def model(self, model: str, operation: str | None = None) -> ModelInfo:
        """The model as the provider describes it, remembered for a while."""
        known = self._models.get((model, operation))
        if known is not None and time.monotonic() < known[0] + self.settings.model_ttl_s:
            return known[1]
        found = _checked(self.name, await self.guarded(lambda: self.look_up(model, operation), model, None))
        if len(self._models) >= 1000:
            self._models.clear()
        self._models[model, operation] = (time.monotonic(), found)
        return found

    def require(self) -> None:
        """Raises `MissingExtraError` or `MissingKeyError`, each with the way out."""
        if self.sdk is not None and importlib.util.find_spec(self.sdk) is None:
            raise MissingExtraError(
                f"the {self.name} provider needs: pip install 'hyvve[{self.extra}]'",
                subject=self.name,
                extra=self.extra,
            )
        if self.key_setting is not None and self.reach.api_key is None:
            raise MissingKeyError(f"the {self.name} provider has no key: set {self.key_setting}", subject=self.name)

    @property
    def key(self) -> str:
        return "" if self.reach.api_key is None else self.reach.api_key.get_secret_value()

    def offered(self) -> tuple[str, ...]:
        """Model ids to offer: those that were set first."""
        prefix = f"{self.name}:"
        chosen = (each.removeprefix(prefix) for each in self.settings.models if each.startswith(prefix))
        return tuple(dict.fromkeys((*chosen, *self.featured)))

    async def guarded(self, call: Callable[[], Awaitable[T]], model: str | None, limit: float | None) -> T:
        """What `call` answers; its exceptions as errors of ours."""
        self.require()
        who = f"{model} at {self.name}" if model else self.name
        try:
            return await call()
        except HyvveError:
            raise
        except Exception as error:
            if type(error) is TimeoutError and limit is not None:
                said = f"{who} did not answer within {limit:g} s"
                raise ProviderUnavailableError(said, subject=model or self.name) from error
            if (found := self.fault(error, model)) is not None:
                raise found from error
            log.exception("%s failed in a way nobody foresaw", who)
            said = f"{type(error).__name__}: {error}"[:500]
            raise ProviderError(f"{who} failed in a way nobody foresaw: {said}", subject=model or self.name) from error

    async def require_valid(self, payload: Payload) -> None:
        """Raises `PayloadFaultsError` for a payload that would be refused: nothing was sent, nothing was paid."""
        if payload.provider != self.name:
            raise UnknownModelError(
                f"the payload is for {payload.provider[:50]}, not for {self.name}", subject=payload.model
            )
        if faults := [issue for issue in await self.validate_payload(payload) if issue.severity == "error"]:
            first = faults[0]
            raise PayloadFaultsError(
                f"the payload is not what {payload.model} takes: {first.field}: {first.message}; {first.fix}"[:1000],
                subject=payload.model,
                errors=[issue.model_dump(mode="json") for issue in faults],
            )

    def _missing(self) -> str | None:
        try:
            self.require()
        except (MissingExtraError, MissingKeyError) as error:
            return error.message
        return None


def _checked(provider: str, model: ModelInfo) -> ModelInfo:
    """The model, if what it is told to take can be checked; what it is told to give is left out where it cannot."""
    if (reason := schema.fault_of(model.input_schema or {})) is not None:
        raise ProviderAnswerError(f"{provider} says of {model.id} what is no JSON Schema: {reason}", subject=model.id)
    return (
        model
        if schema.fault_of(model.output_schema or {}) is None
        else model.model_copy(update={"output_schema": None})
    )
