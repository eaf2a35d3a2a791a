"""What this room must be told. Built once in `cluster/settings.py`, passed in, never read from the environment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationInfo, field_validator

from actors.agents.review_policy import ReviewPolicy
from storage.settings import CENTURY_S

ScorerKind = Literal["local", "openai", "gemini", "atoma", "vote"]


class ReadLimits(BaseModel):
    """Bounds on reading one contribution."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    # What of a text reaches a scorer; about 4 characters a token. The rest is named in `left_out`.
    max_tokens: int = Field(default=24_000, ge=1)
    max_pages: int = Field(default=500, ge=1)
    max_csv_rows: int = Field(default=100_000, ge=1)
    # Decompression bombs: pixels of an image, and bytes that a PDF's streams expand to.
    max_pixels: int = Field(default=50_000_000, ge=1)
    max_expanded_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
    timeout_s: float = Field(default=20.0, gt=0)


class ScorerSettings(BaseModel):
    """One scorer: which, and how to reach and pace it. `model` is a model id or a path."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ScorerKind = "local"
    model: str | None = None
    base_url: str | None = None
    api_key: SecretStr | None = None
    # Atoma's confidential mode goes through its SDK (extra `atoma`).
    confidential: bool = False
    vision: bool = True
    # All workers together; `None` is no limit.
    concurrency: int = Field(default=64, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    timeout_s: float = Field(default=60.0, gt=0)
    retries: int = Field(default=4, ge=0)
    # `vote`: the members, and the spread of totals (points) past which a person decides.
    members: tuple[ScorerSettings, ...] = ()
    max_disagreement: float = Field(default=20.0, ge=0, le=100)


class FanoutSettings(BaseModel):
    """How a batch is cut and where its chunks run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    chunk_size: int = Field(default=128, ge=1)
    # Chunks judged at once; `None` is as many as the cluster's CPUs (or GPUs) take.
    max_chunks_in_flight: int | None = Field(default=None, ge=1)
    # Resources of one chunk task. CPUs: `None` is 1 where the scorer computes, 0.4 where it waits for a provider.
    num_cpus: float | None = Field(default=None, gt=0)
    # Set above 0 to judge on GPU workers.
    num_gpus: float = Field(default=0.0, ge=0)
    item_timeout_s: float = Field(default=300.0, gt=0)
    # Before a failed chunk is judged item by item. A file that kills its worker costs a worker each time.
    chunk_retries: int = Field(default=1, ge=0)


class VerificationSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scorer: ScorerSettings = ScorerSettings()
    read: ReadLimits = ReadLimits()
    fanout: FanoutSettings = FanoutSettings()
    # Verdicts: within this many points of the required score, or below this confidence, a person decides.
    review_margin: float = Field(default=5.0, ge=0, le=100)
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    # Estimated similarity from which two contents count as the same.
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    # The fairness adjustment never moves a score by more than this many points.
    fairness_bound: float = Field(default=1.0, ge=0, le=5)
    score_cache_ttl_s: int = Field(default=7 * 24 * 3600, ge=1, le=CENTURY_S)
    # Whether each verdict REVIEW on a contribution waits for a person in the queue of reviews.
    review_verdicts: bool = True
    # Who decides those, how many must agree, and what becomes of one that nobody decides in time.
    verdict_reviews: ReviewPolicy = ReviewPolicy()

    @field_validator("verdict_reviews")
    @classmethod
    def _reachable(cls, policy: ReviewPolicy) -> ReviewPolicy:
        if (fault := policy.agreement.fault_among(policy.reviewers)) is not None:
            raise ValueError(fault)
        return policy


class LLMProviderSettings(BaseModel):
    """How to reach one provider of language models. `None` as `base_url` is its public address."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base_url: str | None = None
    api_key: SecretStr | None = None
    # Atoma: whatever is sent must be encrypted end to end. Agents cannot (no tool calls there), so they do not use it.
    confidential: bool = False


_PRICE = r"^[^=]+=\d+(\.\d{1,6})?(/\d+(\.\d{1,6})?){1,2}$"


class LLMSettings(BaseModel):
    """The language models that agents may choose."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    google: LLMProviderSettings = LLMProviderSettings()
    openai: LLMProviderSettings = LLMProviderSettings()
    atoma: LLMProviderSettings = LLMProviderSettings()
    # Further models, each `provider:model`; the first of a provider is what its short name means.
    models: tuple[Annotated[str, StringConstraints(pattern=r"^(google|openai|atoma):.+$")], ...] = ()
    # `model=input/output` or `model=input/output/cached input`, USD per million tokens; goes before the built-in table.
    prices: tuple[Annotated[str, StringConstraints(pattern=_PRICE)], ...] = ()
    # One whole answer, and the longest silence within a streamed one.
    timeout_s: float = Field(default=300.0, gt=0)
    silence_s: float = Field(default=120.0, gt=0)


SearchBackend = Literal["keyless", "duckduckgo", "wikipedia", "tavily", "brave", "serper"]


class SearchSettings(BaseModel):
    """Where `web_search` looks. `keyless` asks DuckDuckGo and, where that refuses, Wikipedia."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    backend: SearchBackend = "keyless"
    # Of the backend; `None` is its public address.
    base_url: str | None = None
    api_key: SecretStr | None = None
    timeout_s: float = Field(default=15.0, gt=0)


class ToolSettings(BaseModel):
    """Bounds on what agents' tools do and answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    search: SearchSettings = SearchSettings()
    timeout_s: float = Field(default=120.0, gt=0)
    # What of one result reaches the model; about 4 characters a token.
    max_result_chars: int = Field(default=24_000, ge=1_000)
    # `DataPreprocessorTool`: files in one call, and their bytes together.
    max_files: int = Field(default=200, ge=1)
    max_total_bytes: int = Field(default=64 * 1024 * 1024, ge=1)


class AgentsSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    llms: LLMSettings = LLMSettings()
    tools: ToolSettings = ToolSettings()


class RunSettings(BaseModel):
    """The run engine: how many hosts, how much at once, how long things are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Actors that drive runs; each owns an equal range of the shards.
    hosts: int = Field(default=2, ge=1, le=64)
    # Runs that one host drives at once; the others wait in their rows.
    max_driven: int = Field(default=500, ge=1)
    # A host looks for what it was not told of.
    sweep_s: float = Field(default=1.0, gt=0)
    # It says this often that it lives; one that was cut off takes its shards back after so long a silence of the other.
    beat_s: float = Field(default=2.0, gt=0)
    silent_s: float = Field(default=10.0, gt=0)
    # After which a step that does not heed its cancellation is left to itself; it can write no more.
    cancel_grace_s: float = Field(default=5.0, gt=0)
    # A run whose host died this often in a row under the same step is failed.
    max_recoveries: int = Field(default=10, ge=1)
    # Of one run; what is accepted is written whole.
    max_input_bytes: int = Field(default=4 * 1024 * 1024, ge=1)
    # Old checkpoints and events are removed this often.
    tidy_s: float = Field(default=300.0, gt=0)
    # Of one thread, however long it goes on; older ones are removed.
    kept_checkpoints: int = Field(default=1000, ge=1)
    # After a run's end: for so long any checkpoint can be forked from, then only the last one, then none.
    history_s: int = Field(default=7 * 24 * 3600, ge=0, le=CENTURY_S)
    checkpoints_s: int = Field(default=30 * 24 * 3600, ge=0, le=CENTURY_S)
    events_s: int = Field(default=90 * 24 * 3600, ge=0, le=CENTURY_S)
    # Then its row goes too, unless people decided about it.
    rows_s: int = Field(default=365 * 24 * 3600, ge=0, le=CENTURY_S)


class ProviderReach(BaseModel):
    """How to reach one AI provider. `None` as `base_url` is its public address."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base_url: str | None = None
    api_key: SecretStr | None = None
    # What the provider signs its webhooks with, where it has any.
    webhook_secret: SecretStr | None = None
    # Where it sends them; `None` is nowhere, and jobs are only polled for.
    webhook_url: str | None = None


_NAMED = r"^[a-z][a-z0-9_-]*=.+$"
_WEBHOOK = r"^[a-z][a-z0-9_-]*=https://.+$"
# A second of the machine, or a million tokens: in, out, cached in.
_PROVIDER_PRICE = r"^[^=]+=\d+(\.\d{1,6})?(/\d+(\.\d{1,6})?){0,2}$"


class ProviderSettings(BaseModel):
    """The AI providers whose calls people review."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    replicate: ProviderReach = ProviderReach()
    openai: ProviderReach = ProviderReach()
    anthropic: ProviderReach = ProviderReach()
    huggingface: ProviderReach = ProviderReach()
    # Where Hugging Face tells about models; `None` is its public address.
    huggingface_hub: str | None = None
    # Of providers found by entry point, each `name=value`.
    keys: tuple[SecretStr, ...] = ()
    urls: tuple[Annotated[str, StringConstraints(pattern=_NAMED)], ...] = ()
    # Where they send their webhooks, and what they sign them with; those without a secret are refused.
    webhook_urls: tuple[Annotated[str, StringConstraints(pattern=_WEBHOOK)], ...] = ()
    webhook_secrets: tuple[SecretStr, ...] = ()
    # Models to offer beside the built-in ones, each `provider:model`.
    models: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*:.+$")], ...] = ()
    # `model=usd` a second, or `model=input/output` or `…/cached input`, USD per million tokens.
    prices: tuple[Annotated[str, StringConstraints(pattern=_PROVIDER_PRICE)], ...] = ()
    # One whole call, a job's waiting included.
    timeout_s: float = Field(default=600.0, gt=0)
    # How often a job is asked for; it slows down by itself up to `poll_cap_s`.
    poll_s: float = Field(default=0.5, gt=0)
    poll_cap_s: float = Field(default=5.0, gt=0)
    # For so long a running job's provider may be out of reach before the call fails; the job runs on meanwhile.
    poll_patience_s: float = Field(default=60.0, ge=0)
    # Webhooks signed longer ago, or further ahead, are refused.
    webhook_tolerance_s: int = Field(default=300, ge=1, le=CENTURY_S)
    # How long what a provider tells of a model is believed.
    model_ttl_s: float = Field(default=600.0, ge=0)

    @field_validator("keys", "webhook_secrets")
    @classmethod
    def _are_named(cls, given: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        if not all(re.match(_NAMED, each.get_secret_value()) for each in given):
            raise ValueError(f"each should be name={'key' if info.field_name == 'keys' else 'secret'}")
        return given

    def reach_of(self, name: str) -> ProviderReach:
        """How to reach the provider of that name: a built-in one, or one found by entry point."""
        if name in ("replicate", "openai", "anthropic", "huggingface"):
            found: ProviderReach = getattr(self, name)
            return found
        return ProviderReach(
            base_url=_of(name, self.urls),
            api_key=_secret_of(name, self.keys),
            webhook_url=_of(name, self.webhook_urls),
            webhook_secret=_secret_of(name, self.webhook_secrets),
        )


def _of(name: str, written: Iterable[str]) -> str | None:
    """The value of `name` among those written `name=value`."""
    return next((value for named, _, value in (each.partition("=") for each in written) if named == name), None)


def _secret_of(name: str, written: Iterable[SecretStr]) -> SecretStr | None:
    value = _of(name, (each.get_secret_value() for each in written))
    return None if value is None else SecretStr(value)


class ReviewSettings(BaseModel):
    """Runs that people review."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # The agents' model that fills in forms beside the rules; `None` is rules alone.
    form_llm: str | None = None
    # Who is in the groups that reviews are given or escalated to; a group that is not here is anybody.
    groups: dict[str, tuple[str, ...]] = {}
    # Checkpoints that are on in all runs beside the built-in three, each with its options.
    checkpoints: dict[str, dict[str, Any]] = {}
    # An API key is a front end's, whose people are told apart by name; else where several must agree it is one voice.
    keys_speak_for_many: bool = True

    @field_validator("groups")
    @classmethod
    def _have_members(cls, groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, members in groups.items():
            if not name.strip() or not members or not all(member.strip() for member in members):
                raise ValueError(f"the group {name!r} should have a name and at least one member, each with a name")
        return groups


class ActorsSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    verification: VerificationSettings = VerificationSettings()
    providers: ProviderSettings = ProviderSettings()
    reviews: ReviewSettings = ReviewSettings()
    runs: RunSettings = RunSettings()
    agents: AgentsSettings = AgentsSettings()
