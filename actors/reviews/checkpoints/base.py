"""What a checkpoint is: a place in a run where it is measured and, by the run's policy, a person decides.

A checkpoint of your own is one file: a subclass of `Checkpoint`, named by an entry point of the group
`hyvve.checkpoints`. It says where it stands and what it measures; asking, deciding and the record are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from actors.providers.base import AIProvider
from actors.providers.models import Audit, Issue, ModelInfo, Payload, ProviderResponse
from actors.reviews.forms.models import Form, FormRequest
from actors.reviews.quality import Quality
from actors.reviews.safety import Scan
from actors.reviews.thresholds import Finding, Measures, Thresholds

Place = Literal["information", "before_call", "after_call"]
"""`information`: the form is filled. `before_call`: the payload is final and nothing was sent. `after_call`: there is a
response."""


class NoOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The run as a checkpoint finds it. What there is not yet is `None`.

    `suggested` is the payload's input as it was first made, `refusal` what the provider said to the last try. `scan`
    looks for safety flags with what the run's owner chose; `judge` marks a response's quality.
    """

    request: FormRequest
    provider: AIProvider
    model: ModelInfo
    form: Form
    thresholds: Thresholds
    scan: Callable[[Any], Awaitable[Scan]]
    judge: Callable[[ProviderResponse], Awaitable[Quality]]
    payload: Payload | None = None
    suggested: dict[str, Any] | None = None
    issues: tuple[Issue, ...] = ()
    refusal: dict[str, Any] | None = None
    response: ProviderResponse | None = None
    audit: Audit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a checkpoint found. `measures` are held against the run's thresholds; `findings` are the checkpoint's own,
    held against its options. `stops` says why a person must look whatever the thresholds say.
    """

    measures: Measures = field(default_factory=Measures)
    findings: tuple[Finding, ...] = ()
    stops: str | None = None


class Checkpoint(ABC):
    """One checkpoint with its options. Made once for a run's graph and shared by its steps: it keeps no state."""

    name: ClassVar[str]
    # One line for the queue of reviews.
    title: ClassVar[str]
    stands: ClassVar[Place]
    options_model: ClassVar[type[BaseModel]] = NoOptions

    def __init__(self, options: BaseModel | None = None) -> None:
        self.options: Any = options if options is not None else self.options_model()

    @abstractmethod
    async def measure(self, moment: Moment) -> Measured:
        """What decides whether a person is asked. Raises nothing for what the run holds, however odd."""
