"""Verification while somebody waits: one uploaded file, or one stored contribution."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from actors.errors import UnreadableError
from actors.settings import ReadLimits
from actors.verification import duplicates
from actors.verification.models import Brief, Content, Duplicate, Score
from actors.verification.pipeline import (
    brief_of,
    find_duplicates,
    fingerprint_row,
    guarded,
    prepare_many,
    read_one,
    score_one,
)
from actors.verification.read import read
from actors.verification.rows import COPY, Prepared, Submission, error_row, judged_row, result_row
from actors.verification.workplace import Setup, Workplace
from storage import campaigns, contributions, fingerprints, verifications
from storage.campaigns import Campaign
from storage.contributions import Contribution
from storage.errors import HyvveError
from storage.tasks import end
from storage.verifications import ResultRow

_POOL = 4
# Earlier contributions that are read before one is judged, so that it is compared with them: this many, so many at
# once, within this time, for somebody waits.
_EARLIER, _EARLIER_AT_ONCE, _EARLIER_S = 64, 16, 10.0


async def verify_submission(
    workplace: Workplace,
    *,
    onchain_campaign_id: str,
    wallet_address: str,
    data: bytes,
    file_name: str,
    declared_type: str | None,
) -> ResultRow:
    """As `VerificationService.verify_submission`. The file is not registered: it may never be submitted.

    It is compared with the contributions that the campaign has read so far, by a batch or one by one. One that nobody
    has read yet is not found; the batch that judges them all finds it, and the earliest submitted is the original.
    """
    started = time.perf_counter()
    # A loose file may repeat any contribution, and none can repeat it.
    submission = Submission(contribution_id=None, seq=fingerprints.LAST, contributor=wallet_address, data_url="")
    async with workplace.database.read() as session:
        campaign = await campaigns.by_onchain_id(session, onchain_campaign_id)
    found = await guarded(
        lambda: read_one(workplace, submission, data, file_name=file_name, declared_type=declared_type),
        timeout_s=workplace.settings.fanout.item_timeout_s,
    )
    if isinstance(found, UnreadableError):
        raise found
    if isinstance(found, HyvveError):
        row = error_row(campaign.campaign_id, submission, found)
    else:
        row = await _judge_file(workplace, campaign, Prepared(submission, *found, None, 0.0), started)
    async with workplace.database.begin() as session:
        await verifications.write_single(session, row)
    return row


async def _judge_file(workplace: Workplace, campaign: Campaign, prepared: Prepared, started: float) -> ResultRow:
    assert prepared.content is not None
    assert prepared.fingerprint is not None
    brief = brief_of(campaign)
    found = await find_duplicates(workplace, campaign.campaign_id, [prepared])
    duplicate = found.get(prepared.fingerprint.contribution_id)
    copied = duplicate is not None and duplicate.kind == "exact"
    return judged_row(
        workplace.settings,
        campaign.campaign_id,
        brief,
        prepared,
        COPY if copied else await score_one(workplace, brief, prepared.content, prepared.submission.contributor),
        duplicate=duplicate,
        seconds=time.perf_counter() - started,
    )


def submission_of(contribution: Contribution, data_url: str | None) -> Submission:
    """What is to be judged. Under another `data_url` than its own it is no longer the contribution: the row says so,
    and neither names the contribution nor is mirrored on it, for anybody can name the URL of good content.
    """
    own = data_url is None or data_url == contribution.data_url
    return Submission(
        contribution_id=contribution.contribution_id if own else None,
        seq=contribution.seq,
        contributor=contribution.contributor,
        data_url=contribution.data_url if own else str(data_url),
        blob_id=contribution.blob_id if own else None,
        file_type=contribution.file_type if own else None,
        note=""
        if own
        else f"This is about the content of {str(data_url)[:300]!r}, which is not the content of contribution "
        f"{contribution.contribution_id}; the contribution itself was not judged.",
    )


async def verify_contribution(workplace: Workplace, contribution_id: UUID, *, data_url: str | None = None) -> ResultRow:
    """As `VerificationService.verify_contribution`: judged by the AthenaV2 graph, with the functions of a batch.

    With another `data_url` than its own, that content is judged in its place and the contribution is left as it is.

    Up to 64 earlier contributions that nobody has read yet are read first, oldest first, so that in a small campaign a
    copy is found whichever is verified first. In a larger one, or where they take longer than some seconds, what has
    not been read yet is not found; the batch that judges them all finds it, and the earliest submitted is the original.
    """
    # langgraph takes half a second that batches need not pay.
    from actors.agents import athena  # noqa: PLC0415
    from actors.agents.deps import AthenaDeps  # noqa: PLC0415

    started = time.perf_counter()
    async with workplace.database.read() as session:
        contribution = await contributions.get(session, contribution_id)
        campaign = await campaigns.get(session, contribution.campaign_id)
    brief, submission = brief_of(campaign), submission_of(contribution, data_url)

    async def find_duplicate(content: Content) -> Duplicate | None:
        fingerprint = fingerprint_row(submission, content)
        if submission.contribution_id is not None:
            # First of all, for where its content has changed it comes after more than were submitted before it.
            async with workplace.database.begin() as session:
                (fingerprint,) = await fingerprints.register(session, campaign.campaign_id, [fingerprint])
        await _read_earlier(workplace, campaign.campaign_id, before=fingerprint.seq)
        async with workplace.database.read() as session:
            found = await duplicates.find(
                session, campaign.campaign_id, [fingerprint], threshold=workplace.settings.near_duplicate
            )
        return found.get(fingerprint.contribution_id)

    async def score(brief: Brief, content: Content, contributor: str) -> Score | HyvveError:
        return await score_one(workplace, brief, content, contributor)

    limit_s = workplace.settings.fanout.item_timeout_s

    async def read_in_time(data: bytes, limits: ReadLimits, **claims: Any) -> Content:
        found = await guarded(lambda: read(data, limits, **claims), timeout_s=limit_s)
        if isinstance(found, HyvveError):
            raise found
        return found

    fetched = await guarded(
        lambda: workplace.fetcher.fetch(submission.data_url, blob_id=submission.blob_id), timeout_s=limit_s
    )
    if isinstance(fetched, HyvveError):
        row = error_row(campaign.campaign_id, submission, fetched)
    else:
        deps = AthenaDeps(settings=workplace.settings, score=score, read=read_in_time, find_duplicate=find_duplicate)
        judged = await athena.verify(
            deps,
            brief=brief,
            data=fetched.data,
            file_name=fetched.file_name,
            declared_type=submission.file_type or fetched.media_type,
            contributor=submission.contributor,
        )
        row = result_row(
            campaign.campaign_id,
            submission,
            judged.content,
            judged.score or judged.error or COPY,
            judged.decision,
            duplicate=judged.duplicate,
            seconds=time.perf_counter() - started,
        )
    async with workplace.database.begin() as session:
        await verifications.write_single(session, row, asks_people=workplace.settings.review_verdicts)
    return row


async def _read_earlier(workplace: Workplace, campaign_id: UUID, *, before: int) -> None:
    """Read and register earlier contributions that nobody has read yet: the oldest, as far as the time goes.

    Each is registered when it is read, so that one whose address is slow holds up no other, here or in the next call.
    """
    async with workplace.database.read() as session:
        found = await contributions.unread(session, campaign_id, before=before, limit=_EARLIER)
    gate = asyncio.Semaphore(_EARLIER_AT_ONCE)

    async def one(source: contributions.Source) -> None:
        async with gate:
            await prepare_many(workplace, campaign_id, [Submission.of(source)])

    reading = [asyncio.create_task(one(source)) for source in found]
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_EARLIER_S):
                await asyncio.gather(*reading)
    finally:
        await end(reading)


class OnlineVerifier:
    """Judges for people who wait: one process that keeps the model and the connections it has."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._workplace = Workplace(setup, pool_size=_POOL)

    async def verify(self, call: str, arguments: dict[str, Any]) -> ResultRow:
        """Runs the function of this module that is named `call`."""
        return await CALLS[call](self._workplace, **arguments)

    async def has(self, setup: Setup) -> bool:
        """Whether this is what it was set up with."""
        return self._setup == setup


CALLS: dict[str, Callable[..., Awaitable[ResultRow]]] = {
    "verify_submission": verify_submission,
    "verify_contribution": verify_contribution,
}
