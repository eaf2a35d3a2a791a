"""Scoring a chunk so that scores come out as they are given, and one stuck content cannot hold the others.

What is watched is progress, not the clock: a provider's pace is shared by all workers, so how long a chunk waits for
its turns says nothing about any one content. That none of its contents has finished for `item_timeout_s` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from math import ceil

from actors.errors import ItemTimeoutError, UnexpectedItemError
from actors.settings import ScorerSettings, VerificationSettings
from actors.verification.models import Brief, Content, Score
from actors.verification.scorers.base import Scorer
from storage.errors import HyvveError

log = logging.getLogger(__name__)

Outcome = Score | HyvveError

# Scores are handed on this many at once, or after this long: rows are cheaper in bulk, and safe once written.
_PART = 16
_PART_S = 1.0
# Contents that every chunk may ask about at once.
_FEWEST = 8
# How long a call that was given up may take to let go of its connection and its slot.
_CLEAN_UP_S = 5.0


def computes(settings: ScorerSettings) -> bool:
    """Whether the scorer computes here, in batches, rather than asks a provider, call by call."""
    return settings.kind == "local" or any(computes(member) for member in settings.members)


async def scores(
    scorer: Scorer, brief: Brief, contents: Sequence[Content], *, settings: VerificationSettings, chunks: int = 1
) -> AsyncGenerator[list[tuple[int, Outcome]], None]:
    """Every content's index with its score, or the error that became of it, in parts, as they come.

    A provider is asked about each content on its own. Each of the `chunks` that run at once asks about twice its share
    of the concurrency: enough to use what others leave, while one that took it all would get its answers in one burst
    and hold the slots until it has worked them off. A model that computes here gets all contents at once, and each
    alone if that fails, so that the one to blame is found. Raises nothing per item.
    """
    limit = settings.fanout.item_timeout_s
    if not computes(settings.scorer):
        at_once = max(_FEWEST, ceil(2 * settings.scorer.concurrency / chunks))
        async for part in _asked(scorer, brief, contents, quiet_s=limit, at_once=at_once):
            yield part
        return
    if len(contents) > 1 and (outcomes := await _together(scorer, brief, contents, limit_s=limit * len(contents))):
        yield list(enumerate(outcomes))
        return
    for index, content in enumerate(contents):
        async for part in _asked(scorer, brief, [content], quiet_s=limit, at_once=1):
            yield [(index, outcome) for _, outcome in part]


async def _together(
    scorer: Scorer, brief: Brief, contents: Sequence[Content], *, limit_s: float
) -> list[Outcome] | None:
    try:
        async with asyncio.timeout(limit_s):
            return _complete(await scorer.score_many(brief, contents), len(contents))
    except Exception:
        log.exception("%d contents could not be scored together; each is scored alone", len(contents))
        return None


async def _asked(
    scorer: Scorer, brief: Brief, contents: Sequence[Content], *, quiet_s: float, at_once: int
) -> AsyncGenerator[list[tuple[int, Outcome]], None]:
    """`at_once` contents at a time; those left are given up when none has finished for `quiet_s` seconds."""
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(at_once)

    async def ask(content: Content) -> list[Outcome]:
        async with gate:
            return await scorer.score_many(brief, [content])

    tasks = [loop.create_task(ask(content)) for content in contents]
    ready: list[int] = []
    last, left, enough = loop.time(), len(tasks), asyncio.Event()

    def finished(index: int) -> None:
        nonlocal last
        ready.append(index)
        last = loop.time()
        if len(ready) >= min(_PART, left):
            enough.set()

    # A callback each: `asyncio.wait` for the first of n, n times over, would be quadratic.
    for index, task in enumerate(tasks):
        task.add_done_callback(lambda _, index=index: finished(index))  # type: ignore[misc]  # the bound loop variable
    try:
        while left and (patience := last + quiet_s - loop.time()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), min(patience, _PART_S))
            part, ready = ready, []
            left -= len(part)
            enough.clear()
            if part:
                yield [(index, _outcome(tasks[index])) for index in part]
    finally:
        late = [task for task in tasks if not task.done()]
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_CLEAN_UP_S)
    if late:
        error = ItemTimeoutError(f"{scorer.name} gave no score within {quiet_s:g} s", limit=quiet_s)
        yield [(index, error) for index, task in enumerate(tasks) if task in late]


def _outcome(task: asyncio.Task[list[Outcome]]) -> Outcome:
    try:
        return _complete(task.result(), 1)[0]
    except HyvveError as error:
        return error
    except (Exception, asyncio.CancelledError) as error:  # a scorer's surprise is this content's error
        log.exception("the scorer failed in a way nobody foresaw")
        return UnexpectedItemError(f"an unforeseen error of the scorer: {type(error).__name__}: {error}"[:500])


def _complete(outcomes: list[Outcome], count: int) -> list[Outcome]:
    if len(outcomes) != count:
        raise UnexpectedItemError(f"the scorer gave {len(outcomes)} answers to {count} contents")
    return outcomes
