"""Gemini's chat models, over REST.

Wire format: https://ai.google.dev/api/generate-content; streams are server-sent events, each a whole response object.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, cast

from actors.errors import MissingExtraError
from actors.settings import LLMProviderSettings, LLMSettings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


def installed() -> bool:
    """Whether the extra is there; imports nothing."""
    return importlib.util.find_spec("langchain_google_genai") is not None


def open_chat(model: str, provider: LLMProviderSettings, settings: LLMSettings) -> BaseChatModel:
    """The model. Raises `MissingExtraError`."""
    if not installed():
        raise MissingExtraError("Gemini needs: pip install 'hyvve[gemini]'", subject="google")
    import httpx  # noqa: PLC0415 - an extra, and seconds to import
    from google.genai import Client  # noqa: PLC0415
    from google.genai.types import HttpOptions  # noqa: PLC0415
    from langchain_google_genai import ChatGoogleGenerativeAI  # noqa: PLC0415

    assert provider.api_key is not None
    chat = ChatGoogleGenerativeAI(
        model=model,
        google_api_key=provider.api_key,
        vertexai=False,
        max_retries=1,  # the first try only: a step is tried again by whoever runs it, and says so
        timeout=settings.timeout_s,
    )
    # A transport of our own: over aiohttp the SDK meets a lost connection with a sleep of up to 10 s and a try of its
    # own, of which nobody would know.
    transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))
    options = HttpOptions(base_url=provider.base_url, async_client_args={"transport": transport})
    chat.client = Client(api_key=provider.api_key.get_secret_value(), http_options=options)
    return chat


async def close_chat(chat: BaseChatModel) -> None:
    """Ends its connections."""
    from langchain_google_genai import ChatGoogleGenerativeAI  # noqa: PLC0415

    model = cast(ChatGoogleGenerativeAI, chat)
    client, model.client = model.client, None
    if client is not None:
        await client.aio.aclose()
        client.close()
