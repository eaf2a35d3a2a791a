"""What passes between a run and an AI provider: plain values that survive JSON, for they stand in checkpoints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["error", "warning", "info"]
Modality = Literal["text", "image", "audio", "video", "file", "json"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Value):
    """What one call may hold; `None` where the provider states no limit."""

    max_file_bytes: int | None = None
    max_files: int | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    # One call, as the settings bound it.
    timeout_s: float | None = None


class Price(_Value):
    """What something costs, in micro-USD per million `unit`s: tokens by kind, seconds of a machine, images."""

    unit: Literal["input_tokens", "output_tokens", "cached_input_tokens", "seconds", "images"]
    micro_usd_per_million: int


class ModelInfo(_Value):
    """One model. `input_schema` is a JSON Schema (draft 2020-12) of a payload's `input`; `None` until it is asked for.

    `operation` is which of the provider's endpoints the model speaks.
    """

    id: str
    operation: str
    description: str | None = None
    version: str | None = None
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    example_input: dict[str, Any] | None = None
    takes: tuple[Modality, ...] = ("text",)
    gives: tuple[Modality, ...] = ("text",)
    limits: Limits = Limits()
    prices: tuple[Price, ...] = ()


class Capabilities(_Value):
    """What a provider can do here and now. `missing` says what to set or install before it can be used at all."""

    provider: str
    available: bool
    missing: str | None = None
    operations: tuple[str, ...] = ()
    models: tuple[ModelInfo, ...] = ()
    idempotent: bool = Field(description="a call repeated with the same idempotency key is done once")
    cancellable: bool = Field(description="work that was begun can be stopped at the provider")
    webhooks: bool = False
    files: tuple[Literal["url", "upload", "inline"], ...] = ()


class Attachment(_Value):
    """A file that belongs to a request: `ref` is a blob id, an IPFS content id or an https URL."""

    ref: str
    name: str | None = None
    media_type: str | None = None


class Turn(_Value):
    role: Literal["system", "user", "assistant"]
    text: str


class ProviderRequest(_Value):
    """What somebody wants of a model, before it is in the model's own words.

    `parameters` are values for fields of the model's input; they go before anything derived from the rest.
    """

    model: str
    prompt: str = ""
    conversation: tuple[Turn, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    parameters: dict[str, Any] = {}
    operation: str | None = None


class Payload(_Value):
    """What will be sent, as a person can read and edit it. `input` is in the provider's wire format, except that files
    are named by reference (see `Attachment.ref`) and go to the provider when the call is made.

    `unplaced` are attachments that the model's input has no field for.
    """

    provider: str
    model: str
    operation: str
    input: dict[str, Any]
    unplaced: tuple[Attachment, ...] = ()
    # What else of the request found no place, in words.
    notes: tuple[str, ...] = ()


class Issue(_Value):
    """A fault of a payload, at the JSON path `field`, such as `$.input.width`.

    `fix` is for a person; where `auto_fixable`, `schema.repaired` puts `value` there (or, with `remove`, nothing).
    """

    field: str
    severity: Severity
    message: str
    fix: str
    auto_fixable: bool = False
    value: Any = None
    remove: bool = False


class Job(_Value):
    """Work that a provider has accepted and goes on with, whoever watches."""

    id: str
    provider: str
    model: str
    status: str


class Usage(_Value):
    """What a call used; cost in whole micro-USD, `None` where the price is not known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    seconds: float | None = None
    cost_micro_usd: int | None = None


class OutputFile(_Value):
    """A file that a model made. `url` is where the provider has it, often for an hour only; `ref` is our
    copy's blob id and `size` its bytes; `lost` says why there is none.
    """

    url: str | None = None
    ref: str | None = None
    media_type: str | None = None
    size: int | None = None
    lost: str | None = None


class ProviderResponse(_Value):
    """What a model answered. `output` is its own JSON; `text` and `files` are what a person looks at.

    `finish` is why it ended, in the provider's word; `refusal` what it said instead of answering; `flags` are the
    provider's own moderation marks.
    """

    provider: str
    model: str
    operation: str
    id: str | None = None
    output: Any = None
    text: str = ""
    files: tuple[OutputFile, ...] = ()
    finish: str | None = None
    refusal: str | None = None
    flags: tuple[str, ...] = ()
    usage: Usage = Usage()
    logs: str | None = None


class Finding(_Value):
    code: Literal["shape", "unchecked", "empty", "refusal", "moderation", "cut_off", "lost_file", "no_usage"]
    severity: Severity
    message: str


class Audit(_Value):
    """What can be said of a response by rule. `usable` is false where nothing can be made of it."""

    usable: bool
    findings: tuple[Finding, ...] = ()
    usage: Usage = Usage()
