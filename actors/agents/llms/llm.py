"""A language model as an agent uses it: asked once, bounded in time, its errors classified, its tokens counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from actors.agents.llms.prices import PriceList, Usage

OnToken = Callable[[str], Awaitable[None] | None]
"""Called with each piece of text as it comes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`message` may hold tool calls, valid and invalid; text and tool calls are never both missing."""

    message: AIMessage
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class LLM:
    """`choice` is what the agent's configuration says, `model` the id that the provider knows."""

    choice: str
    provider: str
    model: str
    chat: BaseChatModel
    prices: PriceList
    timeout_s: float

    async def ask(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        on_token: OnToken | None = None,
    ) -> Answer:
        """One try; streamed where `on_token` is given. `tools` are schemas as `Tool.schema` gives them.

        Raises an `LLMError` of the class that says whether another try can help.
        """
        raise NotImplementedError
