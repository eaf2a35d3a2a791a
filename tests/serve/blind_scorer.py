"""A scorer that gives texts the mark they ask for, and images none, as one without a vision model does."""

from __future__ import annotations

from actors.errors import ScorerRefusedError
from actors.verification.models import Content, Score
from storage.errors import HyvveError
from tests.actors.verification.scripted_scorer import ScriptedScorer


class BlindScorer(ScriptedScorer):
    async def _score(self, content: Content) -> Score | HyvveError:
        if content.kind == "image":
            return Score(
                marks=(), total=0.0, confidence=0.0, reasoning="images need a vision model",
                scorer=self.name, scorer_version=self.version,
            )  # fmt: skip
        if "forbidden" in content.text:
            return ScorerRefusedError("the provider knows no such key")
        return await super()._score(content)
