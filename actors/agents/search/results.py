"""Reading the list of results out of a service's JSON."""

from __future__ import annotations

from typing import Any

from actors.agents.search.base import Hit
from actors.agents.search.markup import hit
from actors.errors import SearchError


def listed(answer: Any, key: str, *, names: tuple[str, str, str], who: str) -> tuple[Hit, ...]:
    """The hits under `key`, whose title, URL and snippet have these names. Raises `SearchError` for another shape."""
    found = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise SearchError(f"{who} answered without {key!r}: {str(answer)[:100]}", subject=who)
    title, url, snippet = names
    hits = (hit(each.get(title), each.get(url), each.get(snippet)) for each in found if isinstance(each, dict))
    return tuple(each for each in hits if each is not None)
