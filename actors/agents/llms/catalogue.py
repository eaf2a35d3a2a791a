"""Which language models there are, which are usable now, and how a name in an agent's configuration becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.agents.llms.prices import Price, PriceList
from actors.agents.llms.providers import PROVIDERS, Provider
from actors.errors import MissingKeyError, UnknownLLMError
from actors.settings import LLMProviderSettings, LLMSettings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from actors.agents.llms.llm import LLM


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMInfo:
    """One line of `GET /agent-workflows/llms`. `choice` is what `llm_choice` takes; `missing` says how to get it."""

    choice: str
    provider: str
    model: str
    available: bool
    missing: str | None = None
    price: Price | None = None


class LLMCatalogue:
    """Opens nothing before it is asked for. What is opened belongs to the event loop that asks it first.

    A choice is a short name (`google`, `openai`, `atoma`), a model id, or `provider:model`. An id is known if it is
    listed, was set (`HYVVE_LLM_MODELS`), or begins as that provider's ids do.
    """

    def __init__(self, settings: LLMSettings) -> None:
        self._settings = settings
        self.prices = PriceList(settings.prices)
        self._models = {name: list(provider.models) for name, provider in PROVIDERS.items()}
        for written in reversed(settings.models):
            name, _, model = written.partition(":")
            self._models[name] = [model, *(each for each in self._models[name] if each != model)]
        self._opened: dict[tuple[str, str], LLM] = {}

    def choices(self) -> tuple[str, ...]:
        """The names that are listed: short names first, then model ids."""
        return (*PROVIDERS, *dict.fromkeys(model for models in self._models.values() for model in models))

    def available(self) -> list[LLMInfo]:
        """Every listed model, with whether it can be used now and, where not, what is missing."""
        return [self._info(choice) for choice in self.choices()]

    def check(self, choice: str) -> None:
        """Raises `UnknownLLMError`, naming those known. A known one whose key is missing passes."""
        self._find(choice)

    def llm(self, choice: str) -> LLM:
        """The model to ask. Raises `UnknownLLMError`, `MissingKeyError` or `MissingExtraError`."""
        provider, model = self._find(choice)
        opened = self._opened.get((provider.name, model))
        if opened is None:
            reach = self._reach(provider)
            if missing := provider.missing(reach):
                raise MissingKeyError(f"the language model {choice!r} cannot be used: {missing}", subject=choice)
            # LangChain: more than a second that who only lists and checks should not wait for.
            from actors.agents.llms.llm import LLM  # noqa: PLC0415

            opened = self._opened[provider.name, model] = LLM(
                choice=choice,
                provider=provider.name,
                model=model,
                chat=provider.open(model, reach, self._settings),
                prices=self.prices,
                timeout_s=self._settings.timeout_s,
                silence_s=self._settings.silence_s,
            )
        return opened

    def open(self, choice: str) -> BaseChatModel:
        """The LangChain chat model behind it; raises as `llm` does."""
        return self.llm(choice).chat

    async def close(self) -> None:
        """Ends the connections of all that were opened."""
        opened, self._opened = self._opened, {}
        for each in opened.values():
            await PROVIDERS[each.provider].close(each.chat)

    def _find(self, choice: str) -> tuple[Provider, str]:
        if choice in PROVIDERS:
            return PROVIDERS[choice], self._models[choice][0]
        name, _, model = choice.partition(":")
        if name in PROVIDERS and model:
            return PROVIDERS[name], model
        for provider in PROVIDERS.values():
            if choice in self._models[provider.name] or (provider.prefixes and choice.startswith(provider.prefixes)):
                return provider, choice
        raise UnknownLLMError(
            f"there is no language model {choice[:100]!r}; use one of {', '.join(self.choices())}, or name it as "
            "provider:model",
            subject=choice[:100],
        )

    def _info(self, choice: str) -> LLMInfo:
        provider, model = self._find(choice)
        missing = provider.missing(self._reach(provider))
        return LLMInfo(
            choice=choice,
            provider=provider.name,
            model=model,
            available=missing is None,
            missing=missing,
            price=self.prices.of(model),
        )

    def _reach(self, provider: Provider) -> LLMProviderSettings:
        found: LLMProviderSettings = getattr(self._settings, provider.name)
        return found
