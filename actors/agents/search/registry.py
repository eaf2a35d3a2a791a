"""Which web search a setting means. A new one is a file and a line here."""

from __future__ import annotations

from actors.agents.search import brave, duckduckgo, serper, tavily, wikipedia
from actors.agents.search.base import Search
from actors.agents.search.keyless import FirstThatAnswers
from actors.errors import MissingKeyError
from actors.settings import SearchSettings


def open_search(settings: SearchSettings) -> Search:
    """The search of `settings.backend`; no network is touched yet. Close it when done. Raises `MissingKeyError`."""
    url, timeout_s = settings.base_url, settings.timeout_s
    match settings.backend:
        case "duckduckgo":
            return duckduckgo.DuckDuckGo(timeout_s=timeout_s, base_url=url or duckduckgo.DEFAULT_BASE_URL)
        case "wikipedia":
            return wikipedia.Wikipedia(timeout_s=timeout_s, base_url=url or wikipedia.DEFAULT_BASE_URL)
        case "keyless":
            return FirstThatAnswers(
                (
                    duckduckgo.DuckDuckGo(timeout_s=timeout_s, base_url=url or duckduckgo.DEFAULT_BASE_URL),
                    wikipedia.Wikipedia(timeout_s=timeout_s, base_url=url or wikipedia.DEFAULT_BASE_URL),
                )
            )
        case "tavily":
            return tavily.Tavily(api_key=_key(settings), timeout_s=timeout_s, base_url=url or tavily.DEFAULT_BASE_URL)
        case "brave":
            return brave.Brave(api_key=_key(settings), timeout_s=timeout_s, base_url=url or brave.DEFAULT_BASE_URL)
        case "serper":
            return serper.Serper(api_key=_key(settings), timeout_s=timeout_s, base_url=url or serper.DEFAULT_BASE_URL)


def _key(settings: SearchSettings) -> str:
    if settings.api_key is None:
        name = f"{settings.backend.upper()}_API_KEY"
        raise MissingKeyError(f"web search by {settings.backend} has no key: set {name}", subject=settings.backend)
    return settings.api_key.get_secret_value()
