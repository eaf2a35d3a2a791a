"""`RayVerification` by a name that a deployment can carry: the process that deploys need not load what verifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.settings import VerificationSettings
    from actors.verification.service import VerificationService
    from storage.engine import Database
    from storage.settings import StorageSettings


def open_on_cluster(
    database: Database, storage: StorageSettings, verification: VerificationSettings
) -> VerificationService:
    """Verification on the Ray cluster that this process is connected to."""
    from actors.verification.actor import RayVerification  # noqa: PLC0415 - of the replica alone

    return RayVerification(database, storage, verification)
