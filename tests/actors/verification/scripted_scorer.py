"""A scorer whose contents say what becomes of it. Real in its effects: told to kill, it kills its process.

Passed to verification as its scorer factory; no setting leads here.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from actors.errors import ScorerUnavailableError
from actors.settings import ScorerSettings
from actors.verification.models import Brief, Content, Criterion, Mark, Score
from storage.errors import HyvveError


class ScriptedScorer:
    """Gives the mark a text asks for ("mark 80"), after "wait 0.5" seconds. "kill" ends the process, "hang" never ends,
    "crash" raises, "refuse" is a provider's error, "curse" puts NULs into its reasons, "alone" is a vote
    that others missed. Each score given is a line in the file named by `settings.model`.
    """

    name = "scripted"
    version = "1"

    def __init__(self, settings: ScorerSettings, **_: object) -> None:
        self._journal = Path(settings.model) if settings.model else None

    async def score_many(self, brief: Brief, contents: Sequence[Content]) -> list[Score | HyvveError]:  # noqa: ARG002  # the contents alone say it
        return list(await asyncio.gather(*(self._score(content) for content in contents)))

    async def close(self) -> None: ...

    async def _score(self, content: Content) -> Score | HyvveError:
        words = content.text
        if wait := re.search(r"wait ([\d.]+)", words):
            await asyncio.sleep(float(wait[1]))
        if "kill" in words:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in words:
            await asyncio.Event().wait()
        if "crash" in words:
            raise RuntimeError("nobody foresaw this")
        if "refuse" in words:
            return ScorerUnavailableError("the provider is down")
        mark = float(found[1]) if (found := re.search(r"mark (-?[\d.]+)", words)) else 90.0
        if self._journal is not None:
            # One write of a short line is atomic among processes that append.
            with self._journal.open("a") as journal:
                journal.write(f"{content.content_hash}\n")
        told = "as\x00 told" if "curse" in words else "as told"
        return Score(
            marks=tuple(Mark(criterion, mark, told) for criterion in Criterion),
            total=mark, confidence=0.95, reasoning=told, scorer=self.name, scorer_version=self.version,
            usage={"calls": 1}, partial="alone" in words,
        )  # fmt: skip
