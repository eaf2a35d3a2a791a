"""Which blob store the settings ask for. A new store is a file beside this one and a line here."""

from __future__ import annotations

from storage.blobs.base import BlobStore
from storage.blobs.local import LocalBlobStore
from storage.blobs.walrus import WalrusBlobStore
from storage.errors import BlobRejectedError
from storage.settings import StorageSettings


def open_store(settings: StorageSettings) -> BlobStore:
    """The configured store, connected on first use. Raises `BlobRejectedError` where Walrus lacks an address."""
    if settings.blob_store == "local":
        return open_local(settings)
    missing = [
        name
        for name, url in (
            ("WALRUS_PUBLISHER_URL", settings.walrus.publisher_url),
            ("WALRUS_AGGREGATOR_URL", settings.walrus.aggregator_url),
        )
        if url is None
    ]
    if missing:
        raise BlobRejectedError(f"the blob store is Walrus, so {' and '.join(missing)} must be set", missing=missing)
    return WalrusBlobStore(settings.walrus)


def open_local(settings: StorageSettings) -> LocalBlobStore:
    """The local store under the data directory; also read where new blobs go elsewhere."""
    return LocalBlobStore(settings.data_dir / "blobs", max_bytes=settings.fetch.max_bytes)
