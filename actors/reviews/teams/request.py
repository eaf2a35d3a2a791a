"""What a team run is asked for: what somebody wants of a provider's model, and when a person looks at it.

These models hold the shape alone; whether provider, model, checkpoints and addresses exist is `service.py`'s to say.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from actors.agents.documents import MAX_DEPTH, depth_of, size_of, unstorable
from actors.providers.models import Attachment, Turn
from actors.reviews.agreement import Agreement
from actors.reviews.deadlines import Deadline, Final, OnTimeout
from actors.reviews.forms.models import FormRequest
from actors.reviews.policy import Policy
from actors.reviews.thresholds import Thresholds

MAX_DOCUMENT_BYTES = 1024 * 1024
"""Of `parameters` and of `example_input`, each."""
MAX_TURNS, MAX_ATTACHMENTS, MAX_BATCH, MAX_CANDIDATES = 200, 50, 500, 4
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32,88}={0,2}")


def _kept(value: Any) -> Any:
    if depth_of(value) > MAX_DEPTH:
        raise PydanticCustomError("too_deep", f"is nested deeper than the limit of {MAX_DEPTH} levels")
    if reason := unstorable(value):
        raise PydanticCustomError("unstorable", reason)
    if size_of(value) > MAX_DOCUMENT_BYTES:
        raise PydanticCustomError("too_large", f"is larger than the limit of {MAX_DOCUMENT_BYTES:,} bytes as JSON")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise PydanticCustomError("float_type", "must be a number")
    return value


def _secret(value: str) -> str:
    if not _SECRET.fullmatch(value):
        raise PydanticCustomError("secret", "must be `whsec_` and at least 24 bytes as base64")
    return value


Words = Annotated[str, StringConstraints(max_length=100_000), AfterValidator(_kept)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$"), AfterValidator(_kept)]
Document = Annotated[dict[str, Any], BeforeValidator(_kept)]
Seconds = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]


class _In(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TurnIn(_In):
    """What was said before, by whom."""

    role: Literal["system", "user", "assistant"]
    text: Words


class AttachmentIn(_In):
    """A file of the request: `ref` is a blob id, an IPFS content id or an https URL."""

    ref: Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(_kept)]
    name: Annotated[str, StringConstraints(max_length=300), AfterValidator(_kept)] | None = None
    media_type: Annotated[str, StringConstraints(max_length=200), AfterValidator(_kept)] | None = None


class RunInput(_In):
    """What is wanted of a model. `parameters` are values for its fields; `example_input` shows their shapes, and no
    value of it is used. `user_id` is the wallet that the run belongs to, `session_id` the caller's own word for what it
    is part of: runs are listed by it.
    """

    prompt: Words = ""
    user_id: Name | None = None
    session_id: Name | None = None
    conversation: Annotated[tuple[TurnIn, ...], MaxLen(MAX_TURNS)] = ()
    attachments: Annotated[tuple[AttachmentIn, ...], MaxLen(MAX_ATTACHMENTS)] = ()
    provider: Name
    model: Name
    operation: Name | None = None
    example_input: Document = {}
    parameters: Document = {}

    @property
    def files(self) -> tuple[Attachment, ...]:
        return tuple(Attachment(**each.model_dump()) for each in self.attachments)

    def form_request(self) -> FormRequest:
        return FormRequest(
            prompt=self.prompt,
            conversation=tuple(Turn(**each.model_dump()) for each in self.conversation),
            attachments=self.files,
            parameters=self.parameters,
            example_input=self.example_input,
        )


class AskingConfig(_In):
    """Whom a run asks, for how long, and who is told.

    `form_llm` fills in the form beside the rules (a choice of `GET /agent-workflows/llms`; `none` for rules alone).
    `callback_url` is told when a person is asked and when the run ends, signed with `callback_secret` or else the
    installation's.
    """

    timeout_seconds: Annotated[Seconds, Ge(1), Le(366 * 24 * 3600)] | None = None
    on_timeout: OnTimeout = "fail"
    escalate_to: Annotated[tuple[Name, ...], MaxLen(10)] = ()
    finally_: Final = Field(default="fail", alias="finally")
    reviewers: Annotated[tuple[Name, ...], MaxLen(100)] = ()
    group: Name | None = None
    agreement: Agreement = Agreement()
    form_llm: Name | None = None
    deadline_seconds: Annotated[Seconds, Gt(0), Le(366 * 24 * 3600)] | None = None
    callback_url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    callback_secret: Annotated[str, StringConstraints(max_length=200), AfterValidator(_secret)] | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @field_validator("agreement")
    @classmethod
    def _reachable(cls, value: Agreement, info: ValidationInfo) -> Agreement:
        if (fault := value.fault_among(info.data.get("reviewers", ()))) is not None:
            raise PydanticCustomError("agreement", "{fault}", {"fault": fault})
        return value

    @model_validator(mode="after")
    def _possible(self) -> AskingConfig:
        try:
            self.deadline()
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        if self.callback_secret is not None and self.callback_url is None:
            raise ValueError("callback_secret signs what is sent to callback_url: give that too")
        return self

    def deadline(self) -> Deadline:
        """Of each review that the run asks."""
        return Deadline(
            timeout_s=self.timeout_seconds,
            on_timeout=self.on_timeout,
            escalate_to=self.escalate_to,
            finally_=self.finally_,
        )

    def kept(self) -> dict[str, Any]:
        """As the run's input has it; the secret stands apart, for an input is shown."""
        return self.model_dump(mode="json", by_alias=True, exclude={"callback_secret"})


class HITLConfig(AskingConfig):
    """When a person looks. `AUTO` asks nobody: what checkpoints find, custom ones too, stands in the record and stops
    nothing.

    `allowed_steps` are the checkpoints that are on; none named means all that are enabled: the built-in three, those
    of the installation, and those of `checkpoints`, which names custom ones with their options. `moderation` is what
    looks for safety flags: the built-in words, or the provider's own moderation where it has one. `max_responses`
    bounds how often a reviewer's words may send the run back.
    """

    policy: Policy = Policy.AUTO_WITH_THRESHOLDS
    review_thresholds: Thresholds = Thresholds()
    allowed_steps: Annotated[tuple[Name, ...], MaxLen(50)] = ()
    checkpoints: Annotated[dict[Name, Document], MaxLen(20)] = {}
    moderation: Literal["words", "provider"] = "words"
    max_responses: Annotated[int, Ge(0), Le(10)] = 3


class Candidate(_In):
    """One of those that are compared; its `parameters` go before those of the comparison."""

    provider: Name
    model: Name
    operation: Name | None = None
    parameters: Document = {}


class Compared(_In):
    """What every candidate is asked."""

    prompt: Words = ""
    user_id: Name | None = None
    session_id: Name | None = None
    conversation: Annotated[tuple[TurnIn, ...], MaxLen(MAX_TURNS)] = ()
    attachments: Annotated[tuple[AttachmentIn, ...], MaxLen(MAX_ATTACHMENTS)] = ()
    parameters: Document = {}

    def of(self, candidate: Candidate) -> RunInput:
        """What this candidate is asked."""
        shared = {name: getattr(self, name) for name in Compared.model_fields}
        return RunInput(
            **{
                **shared,
                "provider": candidate.provider,
                "model": candidate.model,
                "operation": candidate.operation,
                "parameters": {**self.parameters, **candidate.parameters},
            }
        )


class ComparisonConfig(AskingConfig):
    """Who picks. That nobody picked in time is no pick: a deadline rejects or fails, after its escalations."""

    @model_validator(mode="after")
    def _picks(self) -> ComparisonConfig:
        if "approve" in {self.on_timeout, self.finally_}:
            raise ValueError("a comparison that nobody decides has no winner: on_timeout and finally reject or fail")
        return self
