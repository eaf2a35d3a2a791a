"""What a scorer is. Adding one is a file here and a line in `scorers/registry.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from actors.verification.models import Brief, Content, Score
from storage.errors import HyvveError


class Scorer(Protocol):
    """Marks contents against a brief.

    `name` and `version` stand in every result and in the cache key: `version` changes whenever the same input could
    score differently (prompt, model, calibration).
    """

    name: str
    version: str

    async def score_many(self, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:
        """One entry per content, in order: its score, or the error that became of it. Raises nothing per item."""
        ...

    async def close(self) -> None: ...
