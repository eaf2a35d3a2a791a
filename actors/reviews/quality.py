"""How good a response is, by a scorer of verification: what was asked is the brief, the response the contribution."""

from __future__ import annotations

import hashlib
import math
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from actors.verification.models import Brief, Content
from actors.verification.scorers.base import Scorer
from storage.errors import HyvveError


class Quality(BaseModel):
    """`value` 0–1, `None` where nothing could judge; `confidence` is the scorer's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None = Field(default=None, ge=0, le=1)
    reason: str
    scorer: str
    scorer_version: str
    confidence: float | None = None
    marks: dict[str, float] = {}


class JudgesResponses(Protocol):
    """Judges what a model answered. Raises nothing: what cannot be judged is a `Quality` without a value."""

    async def quality(self, asked: str, response: Content) -> Quality: ...


class ScoredQuality:
    """Judges by a scorer of verification. A scorer that marks nothing, or is not sure at all, gives no value."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    async def quality(self, asked: str, response: Content) -> Quality:
        brief = Brief(
            title="An answer of an AI model",
            description=asked,
            data_requirements=(asked,),
            quality_criteria=("answers what was asked, wholly", "is right and well made"),
            campaign_type="response",
        )
        name, version = self._scorer.name, self._scorer.version
        outcome = (await self._scorer.score_many(brief, [response]))[0]
        if isinstance(outcome, HyvveError):
            return Quality(reason=f"{outcome.code}: {outcome.message}", scorer=name, scorer_version=version)
        marks = {mark.criterion.value: mark.value for mark in outcome.marks}
        known = bool(marks) and outcome.confidence > 0 and math.isfinite(outcome.total) and 0 <= outcome.total <= 100
        return Quality(
            value=round(outcome.total / 100, 4) if known else None,
            reason=outcome.reasoning,
            scorer=outcome.scorer,
            scorer_version=outcome.scorer_version,
            confidence=outcome.confidence,
            marks=marks,
        )


def text_content(text: str) -> Content:
    """A response's text as a scorer takes it."""
    data = text.encode("utf-8", "replace")
    digest = hashlib.sha256(data).hexdigest()
    return Content(content_hash=digest, kind="text", media_type="text/plain", size=len(data), text=text)
