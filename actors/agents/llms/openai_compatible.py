"""Chat models of OpenAI and of every endpoint that speaks its chat completions, Atoma's among them.

Wire format: https://platform.openai.com/docs/api-reference/chat/create; streams end with a chunk of usage alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from pydantic import SecretStr

from actors.settings import LLMProviderSettings, LLMSettings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


def opener(base_url: str) -> Callable[[str, LLMProviderSettings, LLMSettings], BaseChatModel]:
    """Opens models at `base_url`, unless another address is set."""

    def open_chat(model: str, provider: LLMProviderSettings, settings: LLMSettings) -> BaseChatModel:
        import openai  # noqa: PLC0415 - half a second that only asking should cost
        from langchain_openai import ChatOpenAI  # noqa: PLC0415

        return ChatOpenAI(
            model=model,
            base_url=(provider.base_url or base_url).rstrip("/"),
            # The client wants one, also for servers without keys.
            api_key=provider.api_key or SecretStr("none"),
            # Left to itself it answers from another API for some models, which other servers do not have.
            use_responses_api=False,
            # Off by default at other addresses than OpenAI's; without it a streamed answer cannot be counted.
            stream_usage=True,
            max_retries=0,  # a step is tried again by whoever runs it, and says so
            timeout=None,  # `LLM.ask` bounds each call,
            stream_chunk_timeout=settings.silence_s,  # and this each silence
            # A key goes nowhere but to the endpoint it was given for.
            http_async_client=openai.DefaultAioHttpClient(timeout=None, follow_redirects=False),
        )

    return open_chat


async def close_chat(chat: BaseChatModel) -> None:
    """Ends its connections."""
    from langchain_openai import ChatOpenAI  # noqa: PLC0415

    await cast(ChatOpenAI, chat).root_async_client.close()
