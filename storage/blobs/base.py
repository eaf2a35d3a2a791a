"""What a blob store is: bytes in, an id out, the same bytes back. Held by `tests/conformance/blob_store.py`."""

from __future__ import annotations

from typing import Protocol


class BlobStore(Protocol):
    name: str

    async def put(self, data: bytes) -> str:
        """Store the bytes durably; answers their id. Equal bytes may answer an equal id.

        Raises `BlobTooLargeError`, `BlobRejectedError` or `BlobUnavailableError` (after its own retries).
        """
        ...

    async def get(self, blob_id: str) -> bytes:
        """The bytes of this id. Raises `BlobNotFoundError`, `BlobTooLargeError`, `BlobUnavailableError`."""
        ...

    async def close(self) -> None: ...
