"""A batch's rows and a folder's files, brought together as the report's values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from actors.settings import ReadLimits
from cluster.brief import BriefFile
from cluster.folder import Folder, FolderFile
from cluster.intake import Intake
from cluster.report.model import Item, Mark, Preview, Report
from cluster.report.preview import preview
from storage import verifications
from storage.engine import Database
from storage.errors import HyvveError
from storage.verifications import VerificationResult

_PAGE = 1_000
# Contents shown in the report; more make a file that nobody can open. Duplicates and originals are shown besides.
_PREVIEWS = 1_000
_AT_ONCE = 8
_NOT_JUDGED = "The batch ended before this file was judged."


async def rows(database: Database, batch_id: UUID) -> list[VerificationResult]:
    """All result rows of the batch."""
    found: list[VerificationResult] = []
    while True:
        async with database.read() as session:
            page = await verifications.results(
                session, batch_id, limit=_PAGE, after=found[-1].result_id if found else None
            )
        found.extend(page)
        if len(page) < _PAGE:
            return found


async def report(
    database: Database,
    folder: Folder,
    brief: BriefFile,
    intake: Intake,
    *,
    limits: ReadLimits,
    seconds: float,
    finished_at: datetime,
    version: str,
    advance: Callable[[int], None] = lambda _count: None,
) -> Report:
    """The report of the intake's batch: one item per file, in order of submission. `advance` hears of previews made."""
    assert intake.batch_id is not None
    results = {
        intake.indexes[row.contribution_id]: row
        for row in await rows(database, intake.batch_id)
        if row.contribution_id in intake.indexes
    }
    async with database.read() as session:
        state = (await verifications.batch(session, intake.batch_id)).state
    shown = _shown(results, intake, len(folder.files))
    previews = await _previews(folder, shown, limits, advance)
    ids = {index: str(contribution_id) for contribution_id, index in intake.indexes.items()}
    items = [
        _item(
            index,
            file,
            results.get(index),
            intake=intake,
            contribution_id=ids.get(index),
            shown=previews.get(index),
        )
        for index, file in enumerate(folder.files)
    ]
    return Report(
        brief=brief,
        folder=str(folder.root),
        campaign=intake.onchain_campaign_id,
        batch=str(intake.batch_id),
        items=tuple(items),
        state=state,
        skipped=tuple(folder.skipped),
        hidden=folder.hidden,
        finished_at=finished_at,
        seconds=seconds,
        version=version,
    )


def _shown(results: dict[int, VerificationResult], intake: Intake, count: int) -> list[int]:
    """Whose contents the report shows: the first ones, and every duplicate with its original."""
    wanted = set(range(min(count, _PREVIEWS)))
    pairs = [(index, row.duplicate_of) for index, row in results.items() if row.duplicate_of in intake.indexes]
    for index, original in pairs[:_PREVIEWS]:
        wanted |= {index, intake.indexes[original]} if original is not None else {index}
    return sorted(wanted - intake.refused.keys())


async def _previews(
    folder: Folder, shown: list[int], limits: ReadLimits, advance: Callable[[int], None]
) -> dict[int, Preview]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(index: int) -> tuple[int, Preview | None]:
        file = folder.files[index]
        async with gate:
            try:
                data = await asyncio.to_thread(file.file.read_bytes)
                return index, await preview(data, limits, file_name=file.path)
            except (OSError, HyvveError):  # gone or changed since it was taken in; its row stands all the same
                return index, None
            finally:
                advance(1)

    return {index: made for index, made in await asyncio.gather(*map(one, shown)) if made is not None}


def _item(
    index: int,
    file: FolderFile,
    row: VerificationResult | None,
    *,
    intake: Intake,
    contribution_id: str | None,
    shown: Preview | None,
) -> Item:
    number = index + 1
    if row is None:
        error = intake.refused.get(index)
        return Item(
            number=number,
            path=file.path,
            contributor=file.contributor,
            size=file.size,
            verdict="ERROR",
            reasoning=f"Could not be taken in: {error.message}." if error else _NOT_JUDGED,
            error_code=error.code if error else "not_judged",
            contribution_id=contribution_id,
        )
    original = intake.indexes.get(row.duplicate_of) if row.duplicate_of is not None else None
    return Item(
        number=number,
        path=file.path,
        contributor=file.contributor,
        size=file.size,
        verdict=row.verdict,
        reasoning=row.reasoning,
        contribution_id=contribution_id,
        score=row.score,
        raw_score=row.raw_score,
        adjustment=row.adjustment,
        confidence=row.confidence,
        marks=tuple(Mark(str(mark["criterion"]), float(mark["value"]), str(mark["reason"])) for mark in row.marks),
        scorer=row.scorer,
        scorer_version=row.scorer_version,
        content_hash=row.content_hash,
        media_type=row.media_type,
        left_out=tuple(row.left_out),
        error_code=row.error_code,
        original=None if original is None else original + 1,
        duplicate_kind=row.duplicate_kind,
        similarity=row.similarity,
        preview=shown,
    )
