"""What the steps of team runs work with in one process, and the measures that need more than the run itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from actors.agents.definition import NO_LLM
from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.llms.llm import LLM
from actors.agents.llms.prices import Usage
from actors.errors import ProviderError
from actors.providers.base import AIProvider
from actors.providers.files import Files
from actors.providers.jobs import Wakes
from actors.providers.models import Issue, Payload, ProviderResponse
from actors.providers.registry import ProviderRegistry
from actors.providers.rights import Rights
from actors.reviews.forms.asking import Ask, asked_by
from actors.reviews.quality import JudgesResponses, Quality, text_content
from actors.reviews.safety import Detector, Scan, WordDetector, from_provider
from actors.reviews.teams.named_files import foreign_issues
from actors.runs.step import current
from actors.settings import ReadLimits
from actors.verification.models import Content
from actors.verification.read import read
from storage.errors import HyvveError

# Of one question to a provider's moderation.
_MODERATED_CHARS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamWorkshop:
    """`store` names the blob store that `files` keeps in. `judge` is opened when a response is first judged. `form_llm`
    fills in forms where a run names no other; `wakes` is told when a provider says that a job is done.
    """

    providers: ProviderRegistry
    llms: LLMCatalogue
    files: Files
    store: str
    rights: Rights
    judge: Callable[[], JudgesResponses]
    read_limits: ReadLimits = field(default_factory=ReadLimits)
    detector: Detector = field(default_factory=WordDetector)
    form_llm: str | None = None
    wakes: Wakes | None = None

    def form_ask(self, chosen: str | None) -> Ask | None:
        """What asks a model about a form; `None` where rules alone fill it in. Raises as `LLMCatalogue.llm` does."""
        choice = chosen or self.form_llm
        if choice is None or choice == NO_LLM:
            return None
        return _accounted(self.llms.llm(choice))

    def scan(self, provider: AIProvider, by: str) -> Callable[[Any], Awaitable[Scan]]:
        """What looks for safety flags: our words, or the provider's moderation where it is asked for and there is one.

        A moderation that cannot be asked has not looked at everything, so a person does.
        """

        async def moderated(value: Any) -> Scan:
            text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
            name = f"{provider.name}'s moderation"
            try:
                marks = await provider.moderate(text[:_MODERATED_CHARS])
            except ProviderError as error:
                return Scan(detector=f"{name} ({error.code})", complete=False)
            if marks is None:
                return await self.detector.scan(value)
            return from_provider(name, marks).model_copy(update={"complete": len(text) <= _MODERATED_CHARS})

        return moderated if by == "provider" else self.detector.scan

    async def issues(self, provider: AIProvider, payload: Payload) -> list[Issue]:
        """What is wrong with the payload, errors first: what its provider would say, and files that the run's wallet
        may not read.
        """
        model = await provider.model(payload.model, payload.operation)
        foreign = await foreign_issues(self.rights, provider, payload, model)
        return [*foreign, *await provider.validate_payload(payload)]

    async def quality(self, asked: str, response: ProviderResponse) -> Quality:
        """How good the response is; without a value where nothing can judge it. Asked once for a step."""

        async def judged(_: str) -> dict[str, Any]:
            try:
                content = await self._content(response)
            except HyvveError as error:
                return _unknown(f"{error.code}: {error.message}").model_dump(mode="json")
            if content is None:
                return _unknown("the response holds nothing that can be judged").model_dump(mode="json")
            return (await self.judge().quality(asked, content)).model_dump(mode="json")

        return Quality.model_validate(await current().once("quality", judged))

    async def _content(self, response: ProviderResponse) -> Content | None:
        if response.text.strip():
            return text_content(response.text)
        for file in response.files:
            if file.ref is not None:
                # Our copy, which the run itself has made.
                return await read((await self.files.fetch(file.ref)).data, self.read_limits)
            if file.url is not None and not file.url.startswith("data:"):
                return await read((await self.files.read(file.url)).data, self.read_limits)
        if response.output in (None, "", [], {}):
            return None
        return text_content(orjson.dumps(response.output, default=str).decode())


def _accounted(llm: LLM) -> Ask:
    def used(usage: Usage) -> None:
        current().use(
            llm.model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost_micro_usd=usage.cost_micro_usd,
        )

    return asked_by(llm, on_usage=used)


def _unknown(reason: str) -> Quality:
    return Quality(reason=reason, scorer="none", scorer_version="none")
