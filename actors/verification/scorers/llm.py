"""What all scorers that ask a language model share: prompt, pace, tries, checked answer, one result per content."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.errors import ScorerError, ScorerRateLimitedError, ScorerUnavailableError
from actors.settings import ScorerSettings
from actors.verification.models import Brief, Content, Score
from actors.verification.scorers.answer import Judgement, parse
from actors.verification.scorers.pacing import Pacer
from actors.verification.scorers.prompt import PROMPT_VERSION, Prompt, PromptWriter
from actors.verification.scorers.retrying import RetryPolicy, retrying
from storage.errors import HyvveError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer to one prompt. `usage` counts tokens: `prompt_tokens`, `completion_tokens`."""

    text: str | None
    usage: dict[str, int] = field(default_factory=dict)


class LLMScorer(ABC):
    """Scores by asking a model. A provider implements `complete`, and `close` for its client.

    Belongs to the event loop it first scores on. As many contents are asked about at once as the pacer gives slots.
    """

    name: str

    def __init__(self, settings: ScorerSettings, *, model: str, pacer: Pacer, retry: RetryPolicy | None = None) -> None:
        self.settings = settings
        self.model = model
        # The same model id at another address is another model; without vision an image scores differently.
        told = f"{PROMPT_VERSION}|{settings.base_url}|{settings.vision}|{settings.confidential}"
        self.version = f"{model}/{hashlib.sha256(told.encode()).hexdigest()[:10]}"
        self._pacer = pacer
        self._retry = retry or RetryPolicy(retries=settings.retries)
        # Of the last brief: callers that score a campaign content by content need it written once.
        self._writer: PromptWriter | None = None

    @abstractmethod
    async def complete(self, prompt: Prompt, content: Content) -> Completion:
        """Ask once. Raises a `ScorerError` of the class that says whether another try can help."""

    async def score_many(self, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:
        """One entry per content, in order: its score, or the error that became of it."""
        if self._writer is None or self._writer.brief != brief:
            self._writer = PromptWriter(brief)
        writer = self._writer
        return list(await asyncio.gather(*(self._outcome(writer, content) for content in contents)))

    async def close(self) -> None:
        await self._pacer.close()

    async def _outcome(self, writer: PromptWriter, content: Content) -> Score | HyvveError:
        if content.kind == "image" and not self.settings.vision:
            nothing = Judgement((), 0.0, 0.0, f"{self.model} is set to text only; a person must look at the image")
            return self._score(nothing, {})
        usage = {"calls": 0}
        try:
            judgement = await retrying(lambda: self._attempt(writer, content, usage), self._retry)
        except HyvveError as error:
            return error
        except Exception as error:  # a library's surprise is this item's error, not the chunk's
            log.exception("the scorer %s failed on content %s", self.name, content.content_hash)
            return ScorerError(f"{self.name} failed in a way we do not know: {type(error).__name__}: {error}")
        return self._score(judgement, usage)

    async def _attempt(self, writer: PromptWriter, content: Content, usage: dict[str, int]) -> Judgement:
        async with self._pacer.slot():
            # A new marker for each try: a content that once provoked nonsense learned nothing from it. Written only
            # now, for thousands of long contents may be waiting.
            prompt = writer.write(content)
            usage["calls"] += 1
            try:
                async with asyncio.timeout(self.settings.timeout_s):
                    completion = await self.complete(prompt, content)
            except TimeoutError:
                limit = f"{self.settings.timeout_s:g} s"
                raise ScorerUnavailableError(f"{self.name} did not answer within {limit}") from None
            except ScorerRateLimitedError as error:
                asked = float(error.details.get("retry_after_s") or 0.0)
                # A longer wait is given up at once; the others need not wait for it.
                await self._pacer.slow_down(asked if asked <= self._retry.longest_wait_s else 0.0)
                raise
        self._pacer.succeeded()
        for unit, count in completion.usage.items():
            usage[unit] = usage.get(unit, 0) + count
        return parse(completion.text, shown=content.text)

    def _score(self, judgement: Judgement, usage: dict[str, int]) -> Score:
        return Score(
            marks=judgement.marks,
            total=judgement.total,
            confidence=judgement.confidence,
            reasoning=judgement.reasoning,
            scorer=self.name,
            scorer_version=self.version,
            usage=usage,
        )
