"""Who runs language models: one line a provider. A new one is a file with an opener and a line here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from actors.agents.llms import google, openai_compatible
from actors.settings import LLMProviderSettings, LLMSettings
from actors.verification.scorers import atoma, gemini
from actors.verification.scorers import openai_compatible as openai

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Open = Callable[[str, LLMProviderSettings, LLMSettings], "BaseChatModel"]
Close = Callable[["BaseChatModel"], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """`name` is the short name agents may choose; `models` are listed ids, the first being what the short name means.

    Any id that begins with one of `prefixes` is this provider's too. `missing` says what must be configured first.
    """

    name: str
    models: tuple[str, ...]
    open: Open
    close: Close
    missing: Callable[[LLMProviderSettings], str | None]
    prefixes: tuple[str, ...] = ()


def _google_missing(settings: LLMProviderSettings) -> str | None:
    if settings.api_key is None:
        return "set GOOGLE_API_KEY"
    return None if google.installed() else "install it: pip install 'hyvve[gemini]'"


def _openai_missing(settings: LLMProviderSettings) -> str | None:
    if settings.api_key is None and settings.base_url is None:
        return "set OPENAI_API_KEY, or OPENAI_BASE_URL of a server without keys"
    return None


def _atoma_missing(settings: LLMProviderSettings) -> str | None:
    if settings.confidential:
        # Its encrypted endpoint takes no tools, and a prompt meant to be encrypted must not go out plain.
        return "Atoma's confidential mode has no tool calls: unset HYVVE_ATOMA_CONFIDENTIAL, or choose another model"
    return "set ATOMASDK_BEARER_AUTH" if settings.api_key is None else None


PROVIDERS = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            Provider(
                name="google",
                models=(gemini.DEFAULT_MODEL, "gemini-3.5-flash-lite", "gemini-2.5-pro", "gemini-2.5-flash"),
                prefixes=("gemini-", "models/gemini-"),
                open=google.open_chat,
                close=google.close_chat,
                missing=_google_missing,
            ),
            Provider(
                name="openai",
                models=(openai.DEFAULT_MODEL, "gpt-4.1", "gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-mini", "o4-mini"),
                prefixes=("gpt-", "chatgpt-", "o1", "o3", "o4"),
                open=openai_compatible.opener(openai.DEFAULT_BASE_URL),
                close=openai_compatible.close_chat,
                missing=_openai_missing,
            ),
            Provider(
                name="atoma",
                models=(atoma.DEFAULT_MODEL,),
                open=openai_compatible.opener(f"{atoma.SERVER}/v1"),
                close=openai_compatible.close_chat,
                missing=_atoma_missing,
            ),
        )
    }
)
