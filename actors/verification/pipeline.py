"""Read, score, decide: the whole way of a contribution, as plain async functions over many at a time.

One contribution's failure never reaches another: whatever goes wrong with it becomes its own ERROR row, so rows out
equal rows in. What fails for all alike (the database is gone) is raised, for the caller to try again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from actors.errors import ItemTimeoutError
from actors.verification import duplicates, score_cache
from actors.verification.models import Brief, Content, Duplicate, Score, Thresholds
from actors.verification.read import read
from actors.verification.rows import COPY, Prepared, Submission, judged_row, unexpected
from actors.verification.scoring import Outcome, scores
from actors.verification.workplace import Workplace
from storage import fingerprints
from storage.campaigns import Campaign
from storage.errors import HyvveError
from storage.fingerprints import FingerprintRow
from storage.verifications import ResultRow

log = logging.getLogger(__name__)

T = TypeVar("T")

# Contents of one chunk that are fetched at once: enough to hide a gateway's latency, few enough to be polite.
_FETCHES = 16


def brief_of(campaign: Campaign) -> Brief:
    """What the campaign asks for, its prose split into bullets."""
    return Brief(
        title=campaign.title,
        description=campaign.description,
        data_requirements=Brief.bullets(campaign.data_requirements),
        quality_criteria=Brief.bullets(campaign.quality_criteria),
        campaign_type=campaign.campaign_type,
        required_score=campaign.required_quality_score,
        thresholds=None if campaign.thresholds is None else Thresholds(**campaign.thresholds),
    )


async def prepare_many(workplace: Workplace, campaign_id: UUID, submissions: Sequence[Submission]) -> list[Prepared]:
    """Each submission fetched, read and fingerprinted, in order; the fingerprints are registered, in bulk, when it
    returns, so that later submissions can be found to repeat them, and hold the places that they have there.
    """
    gate = asyncio.Semaphore(_FETCHES)

    async def one(submission: Submission) -> Prepared:
        async with gate:
            return await _prepare(workplace, submission)

    prepared = list(await asyncio.gather(*(one(submission) for submission in submissions)))
    rows = [item.fingerprint for item in prepared if item.fingerprint is not None]
    if not rows:
        return prepared
    async with workplace.database.begin() as session:
        registered = await fingerprints.register(session, campaign_id, rows)
    placed = iter(registered)
    return [item if item.fingerprint is None else replace(item, fingerprint=next(placed)) for item in prepared]


async def _prepare(workplace: Workplace, submission: Submission) -> Prepared:
    started = time.perf_counter()

    async def fetch_and_read() -> tuple[Content, FingerprintRow]:
        found = await workplace.fetcher.fetch(submission.data_url, blob_id=submission.blob_id)
        return await read_one(
            workplace,
            submission,
            found.data,
            file_name=found.file_name,
            declared_type=submission.file_type or found.media_type,
        )

    outcome = await guarded(fetch_and_read, timeout_s=workplace.settings.fanout.item_timeout_s)
    seconds = time.perf_counter() - started
    if isinstance(outcome, HyvveError):
        return Prepared(submission, None, None, outcome, seconds)
    return Prepared(submission, *outcome, None, seconds)


async def read_one(
    workplace: Workplace, submission: Submission, data: bytes, *, file_name: str | None, declared_type: str | None
) -> tuple[Content, FingerprintRow]:
    """The content of these bytes and its fingerprint. Raises `UnreadableError`."""
    content = await read(data, workplace.settings.read, file_name=file_name, declared_type=declared_type)
    return content, fingerprint_row(submission, content)


def fingerprint_row(submission: Submission, content: Content) -> FingerprintRow:
    """What makes this content findable as this submission's."""
    return duplicates.row(
        content,
        # A loose file is compared and never registered; any id serves.
        contribution_id=submission.contribution_id or UUID(int=0),
        seq=submission.seq,
        contributor=submission.contributor,
    )


async def judge_parts(
    workplace: Workplace, campaign_id: UUID, brief: Brief, prepared: Sequence[Prepared], *, chunks: int = 1
) -> AsyncGenerator[list[ResultRow], None]:
    """One row per prepared submission, in parts, as they are judged. Fingerprints of all that come before them must be
    registered already. `chunks` is how many are judged at once, on all workers.
    """
    started = time.perf_counter()
    found = await find_duplicates(workplace, campaign_id, prepared)

    def rows(part: Sequence[tuple[Prepared, Outcome]]) -> list[ResultRow]:
        seconds = time.perf_counter() - started
        return [
            judged_row(
                workplace.settings,
                campaign_id,
                brief,
                item,
                outcome,
                duplicate=found.get(item.fingerprint.contribution_id) if item.fingerprint else None,
                seconds=item.seconds + seconds,
            )
            for item, outcome in part
        ]

    settled: list[tuple[Prepared, Outcome]] = []
    wanted: list[Prepared] = []
    contents: list[tuple[Content, str]] = []
    for item in prepared:
        duplicate = found.get(item.fingerprint.contribution_id) if item.fingerprint else None
        if item.content is None:
            settled.append((item, item.error or unexpected("it was neither read nor refused")))
        elif duplicate is not None and duplicate.kind == "exact":
            settled.append((item, COPY))
        else:
            wanted.append(item)
            contents.append((item.content, item.submission.contributor))
    if settled:
        yield rows(settled)
    async with aclosing(score_parts(workplace, brief, contents, chunks=chunks)) as parts:
        async for part in parts:
            yield rows([(wanted[index], outcome) for index, outcome in part])


async def find_duplicates(
    workplace: Workplace, campaign_id: UUID, prepared: Sequence[Prepared]
) -> dict[UUID, Duplicate]:
    """The earlier contribution that each one repeats, where it does."""
    rows = [item.fingerprint for item in prepared if item.fingerprint is not None]
    if not rows:
        return {}
    async with workplace.database.read() as session:
        return await duplicates.find(session, campaign_id, rows, threshold=workplace.settings.near_duplicate)


async def score_parts(
    workplace: Workplace, brief: Brief, contents: Sequence[tuple[Content, str]], *, chunks: int = 1
) -> AsyncGenerator[list[tuple[int, Outcome]], None]:
    """Every content's index with its score or its error, in parts: from the cache where known, else as it is scored.

    `contents` are contents and their contributors.
    """
    if not contents:
        return
    scorer, cache, digest = workplace.scorer, workplace.score_cache, brief.digest
    keys = [
        score_cache.key(
            content.content_hash, contributor, digest, scorer.name, scorer.version, media_type=content.media_type
        )
        for content, contributor in contents
    ]
    known = await cache.get_many(keys)
    if cached := [(index, score) for index, score in enumerate(known) if score is not None]:
        yield [(index, replace(score, usage={"cached": 1})) for index, score in cached]
    missing = [index for index, score in enumerate(known) if score is None]
    fresh = scores(scorer, brief, [contents[index][0] for index in missing], settings=workplace.settings, chunks=chunks)
    async with aclosing(fresh) as parts:
        async for part in parts:
            given = [(missing[place], outcome) for place, outcome in part]
            kept = {keys[index]: score for index, score in given if isinstance(score, Score) and not score.partial}
            await cache.put_many(kept)
            yield given


async def score_one(workplace: Workplace, brief: Brief, content: Content, contributor: str) -> Outcome:
    """The content's score, or the error that became of it."""
    async with aclosing(score_parts(workplace, brief, [(content, contributor)])) as parts:
        async for part in parts:
            return part[0][1]
    return unexpected("it was neither scored nor refused")


async def guarded(work: Callable[[], Awaitable[T]], *, timeout_s: float) -> T | HyvveError:
    """What `work` gives, or the error that it became: a timeout and a library's surprise are errors of this item."""
    try:
        async with asyncio.timeout(timeout_s):
            return await work()
    except HyvveError as error:
        return error
    except TimeoutError:
        return ItemTimeoutError(f"not done within {timeout_s:g} s", limit=timeout_s)
    except Exception as error:  # an item's surprise is that item's error, not the chunk's
        log.exception("an item failed in a way nobody foresaw")
        return unexpected(f"{type(error).__name__}: {error}")
