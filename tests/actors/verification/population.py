"""Campaigns with contributions whose bytes lie in the local blob store."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from storage import campaigns, contributions, verifications
from storage.engine import Database
from storage.settings import StorageSettings
from tests.storage.test_campaigns import campaign_body


@dataclass(frozen=True)
class Population:
    campaign_id: UUID
    onchain_campaign_id: str
    contribution_ids: list[UUID]


async def populate(
    database: Database, storage: StorageSettings, contents: Sequence[bytes | str], **campaign: Any
) -> Population:
    """A campaign with one contribution per content, each from a wallet of its own. A `str` is a data_url as it stands."""
    async with database.begin() as session:
        made, _ = await campaigns.create(session, campaign_body(**campaign))
    ids: list[UUID] = []
    for start in range(0, len(contents), 1000):
        part = contents[start : start + 1000]
        urls = [put(storage, each) if isinstance(each, bytes) else each for each in part]
        async with database.begin() as session:
            ids += await contributions.submit_many(
                session, made.campaign_id, [_body(start + index, url) for index, url in enumerate(urls)]
            )
    return Population(made.campaign_id, made.onchain_campaign_id, ids)


def put(storage: StorageSettings, data: bytes) -> str:
    """The bytes where the local store keeps them, without its two syncs to disk each; answers their id."""
    blob_id = hashlib.sha256(data).hexdigest()
    path: Path = storage.data_dir / "blobs" / blob_id[:2] / blob_id
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return blob_id


def distinct(count: int, *, words: int = 24, asking: str = "mark 90", salt: str = "") -> list[bytes]:
    """Texts that are no near-copies of each other, each ending with what the scripted scorer is asked for."""
    return [f"{_prose(f'{salt} {number}', words)} {asking}".encode() for number in range(count)]


def _prose(seed: str, words: int) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choices(_VOCABULARY, k=words))


_VOCABULARY = [
    "".join(random.Random(number).choices("abcdefghijlmnoprstuvwz", k=3 + number % 7)) for number in range(20_000)
]


def _body(number: int, url: str) -> dict[str, Any]:
    return {
        "onchain_contribution_id": "", "contributor": f"0x{number:04x}", "data_url": url, "blob_id": None,
        "file_type": None, "transaction_hash": "", "claimed_quality_score": None,
        "claimed_ai_verification_score": None, "reputation_score": None,
    }  # fmt: skip


async def open_batch(database: Database, campaign_id: UUID) -> UUID:
    async with database.begin() as session:
        return (await verifications.open_batch(session, campaign_id)).batch_id


async def rows_of(database: Database, batch_id: UUID) -> list[verifications.VerificationResult]:
    async with database.read() as session:
        return list(await verifications.results(session, batch_id, limit=1_000_000))
