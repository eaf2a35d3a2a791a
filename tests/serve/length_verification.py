"""A real, small verification: the longer the content, the better. For tests of what stands around verification."""

from __future__ import annotations

import hashlib
from uuid import UUID

from actors.errors import EmptyContentError, UnsupportedTypeError
from storage import campaigns, contributions, verifications
from storage.engine import Database
from storage.verifications import ResultRow

_PNG = b"\x89PNG\r\n\x1a\n"


class LengthVerification:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.woken: list[UUID] = []

    async def verify_submission(
        self,
        *,
        onchain_campaign_id: str,
        wallet_address: str,
        data: bytes,
        file_name: str,  # noqa: ARG002 - its content alone decides
        declared_type: str | None,  # noqa: ARG002
    ) -> ResultRow:
        async with self._database.begin() as session:
            campaign = await campaigns.by_onchain_id(session, onchain_campaign_id)
            row = _judged(campaign.campaign_id, wallet_address, data, campaign.required_quality_score)
            await verifications.write_single(session, row)
        return row

    async def verify_contribution(self, contribution_id: UUID, *, data_url: str | None = None) -> ResultRow:
        async with self._database.begin() as session:
            contribution = await contributions.get(session, contribution_id)
            data = (data_url or contribution.data_url).encode()
            row = _judged(contribution.campaign_id, contribution.contributor, data, 70.0, contribution_id)
            await verifications.write_single(session, row)
        return row

    async def wake(self, batch_id: UUID) -> None:
        self.woken.append(batch_id)

    async def ready(self) -> None: ...


def _judged(
    campaign_id: UUID, contributor: str, data: bytes, required: float, contribution_id: UUID | None = None
) -> ResultRow:
    if not data:
        raise EmptyContentError("the file is empty")
    image = data.startswith(_PNG)
    if not image:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise UnsupportedTypeError("neither text nor an image") from error
    row = ResultRow(
        campaign_id=campaign_id,
        contributor=contributor,
        contribution_id=contribution_id,
        verdict="ERROR",
        reasoning="the scorer does not answer",
        content_hash=hashlib.sha256(data).hexdigest(),
        media_type="image/png" if image else "text/plain",
        scorer="length",
        scorer_version="1",
    )
    if data == b"provider down":
        row.error_code = "scorer_unavailable"
        return row
    score = min(100.0, float(len(data)))
    row.score = row.raw_score = score
    row.confidence = 1.0
    row.verdict = "ACCEPT" if score >= required else "REJECT"
    row.reasoning = f"{len(data)} bytes"
    return row
