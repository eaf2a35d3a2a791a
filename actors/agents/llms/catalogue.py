"""Which language models there are, which are usable now, and how a name in an agent's configuration becomes one."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel

from actors.agents.llms.llm import LLM
from actors.agents.llms.prices import Price, PriceList
from actors.settings import LLMSettings


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
    """Belongs to one event loop; opens nothing before it is asked for. Close it when done."""

    def __init__(self, settings: LLMSettings) -> None:
        self._settings = settings
        self.prices = PriceList(settings.prices)

    def choices(self) -> tuple[str, ...]:
        """The names that are listed: short names first, then model ids."""
        raise NotImplementedError

    def available(self) -> list[LLMInfo]:
        """Every listed model, with whether it can be used now and, where not, what is missing."""
        raise NotImplementedError

    def check(self, choice: str) -> None:
        """Raises `UnknownLLMError`, naming those known. A known one whose key is missing passes."""
        raise NotImplementedError

    def llm(self, choice: str) -> LLM:
        """The model to ask. Raises `UnknownLLMError`, `MissingKeyError` or `MissingExtraError`."""
        raise NotImplementedError

    def open(self, choice: str) -> BaseChatModel:
        """The LangChain chat model behind it; raises as `llm` does."""
        return self.llm(choice).chat

    async def close(self) -> None:
        """Ends the connections of all that were opened."""
