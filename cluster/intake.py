"""A folder becomes a campaign: its files stored as blobs and handed in as contributions, a batch opened over them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from actors.errors import ContentTooLargeError, UnreadableError
from cluster.brief import BriefFile
from cluster.folder import Folder, FolderFile
from storage import activities, campaigns, contributions, verifications
from storage.blobs.base import BlobStore
from storage.engine import Database
from storage.errors import HyvveError
from storage.ids import new_id
from storage.verifications import ResultRow

CREATOR = "hyvve-verify"
# Files in memory at once, each at most as large as a contribution may be.
_AT_ONCE = 8
_ROWS_AT_ONCE = 500
# A folder's campaign takes nothing in later, but people may look at it as an open one for a while.
_OPEN_S = 7 * 24 * 3600


@dataclass(slots=True)
class Intake:
    """`indexes` leads from a contribution to its file's place in the folder; `refused` files never became one."""

    campaign_id: UUID
    onchain_campaign_id: str
    batch_id: UUID | None = None
    indexes: dict[UUID, int] = field(default_factory=dict)
    refused: dict[int, HyvveError] = field(default_factory=dict)


async def take_in(
    database: Database,
    store: BlobStore,
    folder: Folder,
    brief: BriefFile,
    *,
    max_bytes: int,
    advance: Callable[[int], None] = lambda _count: None,
) -> Intake:
    """A new campaign of this brief with the folder's files, in their order, and a batch over all of them.

    A file that is too large (it is not read then), unreadable or refused by the store is among `refused`, and has an
    ERROR row of its own. `advance` hears how many files are done.
    """
    count = len(folder.files)
    body = brief.campaign(
        f"folder_{new_id()}", count=count, expiration=int(time.time()) + _OPEN_S, creator=CREATOR
    )  # fmt: skip
    async with database.begin() as session:
        campaign, _ = await campaigns.create(session, body)
        activities.record(session, campaign.campaign_id, "campaign_created", CREATOR, folder=str(folder.root))
    intake = Intake(campaign.campaign_id, campaign.onchain_campaign_id)
    for start in range(0, count, _ROWS_AT_ONCE):
        files = folder.files[start : start + _ROWS_AT_ONCE]
        stored = await _store_all(store, files, max_bytes, advance)
        await _submit(database, intake, start, files, stored)
    async with database.begin() as session:
        # Whoever verifies a folder reads its report; nobody waits at a queue for it.
        batch = await verifications.open_batch(session, intake.campaign_id, asks_people=False)
        intake.batch_id = batch.batch_id
        activities.record(
            session, intake.campaign_id, "batch_started", CREATOR,
            batch_id=str(batch.batch_id), triggered_count=batch.triggered_count,
        )  # fmt: skip
    return intake


async def _store_all(
    store: BlobStore, files: Sequence[FolderFile], max_bytes: int, advance: Callable[[int], None]
) -> list[str | HyvveError]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(file: FolderFile) -> str | HyvveError:
        async with gate:
            try:
                return await store.put(await asyncio.to_thread(_bytes_of, file.file, max_bytes))
            except HyvveError as error:
                return error
            finally:
                advance(1)

    return list(await asyncio.gather(*(one(file) for file in files)))


async def _submit(
    database: Database, intake: Intake, start: int, files: Sequence[FolderFile], stored: Sequence[str | HyvveError]
) -> None:
    bodies = []
    places = []
    async with database.begin() as session:
        for index, (file, blob) in enumerate(zip(files, stored, strict=True), start=start):
            if isinstance(blob, HyvveError):
                intake.refused[index] = blob
                await verifications.write_single(session, _refusal(intake, file, blob))
                continue
            places.append(index)
            bodies.append(
                {
                    "onchain_contribution_id": "",
                    "contributor": file.contributor,
                    "data_url": blob,
                    "blob_id": blob,
                    # What the name claims to be; the readers hold it against what the content is.
                    "file_type": _extension(file.path),
                    "transaction_hash": "",
                    "claimed_quality_score": None,
                    "claimed_ai_verification_score": None,
                    "reputation_score": None,
                }
            )
        await campaigns.by_onchain_id(session, intake.onchain_campaign_id, lock=True)
        ids = await contributions.submit_many(session, intake.campaign_id, bodies)
    intake.indexes.update(zip(ids, places, strict=True))


def _refusal(intake: Intake, file: FolderFile, error: HyvveError) -> ResultRow:
    return ResultRow(
        campaign_id=intake.campaign_id,
        contributor=file.contributor,
        verdict="ERROR",
        reasoning=error.message,
        error_code=error.code,
    )


def _bytes_of(file: Path, max_bytes: int) -> bytes:
    try:
        with file.open("rb") as opened:
            # Its size when the folder was listed may be another by now, so the read itself is bounded.
            data = opened.read(max_bytes + 1)
            size = opened.seek(0, 2)
    except OSError as error:
        raise UnreadableError(f"the file cannot be opened: {error.strerror}") from error
    if len(data) > max_bytes:
        raise ContentTooLargeError(f"the file has {size:,} bytes; the limit is {max_bytes:,}", limit=max_bytes)
    return data


def _extension(path: str) -> str | None:
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    extension = extension.strip().lower()
    return extension if dot and extension.isascii() and extension.isalnum() and len(extension) <= 10 else None
