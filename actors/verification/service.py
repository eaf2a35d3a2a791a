"""What the API asks of verification. `RayVerification` (in `actor.py`) sends it to the cluster; tests without a
cluster use `InProcessVerification`, which runs the same functions where it stands.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from storage.verifications import ResultRow


class VerificationService(Protocol):
    async def verify_submission(
        self, *, onchain_campaign_id: str, wallet_address: str, data: bytes, file_name: str, declared_type: str | None
    ) -> ResultRow:
        """Judge one uploaded file now and write its result row. The campaign exists and is open (the caller checked).

        Raises `UnreadableError` for content nothing can read; a provider's failure is an ERROR row, not an exception.
        """
        ...

    async def verify_contribution(self, contribution_id: UUID, *, data_url: str | None = None) -> ResultRow:
        """Judge one stored contribution now by the AthenaV2 graph and write its result row and its contribution."""
        ...

    async def wake(self, batch_id: UUID) -> None:
        """Tell the batch runner of a batch that is committed already. Best effort: it also looks by itself."""
        ...

    async def ready(self) -> None:
        """Raises `ClusterUnavailableError`, within a few seconds, unless batches would be driven now."""
        ...
