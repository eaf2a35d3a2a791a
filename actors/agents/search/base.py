"""What a web search is. Adding one is a file here and a line in `search/registry.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Hit:
    """One result, as the service words it: plain text without markup. Strangers wrote it."""

    title: str
    url: str
    snippet: str


@dataclass(frozen=True, slots=True)
class Found:
    """Hits in the service's order; `source` is the service that gave them, `note` what a reader should know of that."""

    hits: tuple[Hit, ...]
    source: str
    note: str | None = None


class Search(Protocol):
    name: str

    async def search(self, query: str, *, limit: int) -> Found:
        """At most `limit` hits, perhaps none. Raises `SearchError`."""
        ...

    async def close(self) -> None: ...
