from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.providers.files import Files
from actors.providers.rights import anything
from storage.blobs.local import LocalBlobStore
from storage.fetch import ContentFetcher
from storage.settings import FetchSettings, StorageSettings


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs", max_bytes=1_000_000)


@pytest.fixture
async def files(store: LocalBlobStore, tmp_path: Path) -> AsyncIterator[Files]:
    """Fetching under the guard, which lets the stubs' network pass."""
    settings = StorageSettings(
        data_dir=tmp_path,
        fetch=FetchSettings(allowed_networks=("127.0.0.0/8",)),
        database_url="postgresql://nowhere",
        redis_url="redis://nowhere",
    )
    fetcher = ContentFetcher(settings, store)
    yield Files.of(fetcher, store, anything)
    await fetcher.close()
