from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.blobs.base import BlobStore
from storage.blobs.local import LocalBlobStore
from storage.blobs.open import open_store
from storage.errors import BlobNotFoundError, BlobRejectedError, BlobTooLargeError, BlobUnavailableError
from storage.settings import FetchSettings, StorageSettings, WalrusSettings
from tests.conformance.blob_store import MAX_BYTES, BlobStoreSpec


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs", max_bytes=MAX_BYTES)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


class TestLocal(BlobStoreSpec):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], BlobStore]:
        return lambda: LocalBlobStore(tmp_path / "blobs", max_bytes=MAX_BYTES)

    @pytest.fixture
    def unknown_id(self) -> str:
        return "0" * 64


async def test_the_id_is_the_sha_256_and_equal_bytes_are_one_file(store: LocalBlobStore, tmp_path: Path) -> None:
    ids = await asyncio.gather(*(store.put(b"hello") for _ in range(20)))
    assert set(ids) == {"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}
    assert files(tmp_path) == [tmp_path / "blobs" / "2c" / ids[0]]


async def test_an_empty_blob_is_kept(store: LocalBlobStore) -> None:
    assert await store.get(await store.put(b"")) == b""


@pytest.mark.parametrize("damaged", [b"", b"hell", b"jello", b"hello\x00"])
async def test_damage_on_disk_is_said_and_mended_by_the_next_put(
    store: LocalBlobStore, tmp_path: Path, damaged: bytes
) -> None:
    blob_id = await store.put(b"hello")
    (tmp_path / "blobs" / blob_id[:2] / blob_id).write_bytes(damaged)
    with pytest.raises(BlobRejectedError, match="damaged"):
        await store.get(blob_id)
    assert await store.put(b"hello") == blob_id
    assert await store.get(blob_id) == b"hello"


async def test_a_file_outside_the_store_cannot_be_read(store: LocalBlobStore, tmp_path: Path) -> None:
    await store.put(b"x")
    (tmp_path / "secret").write_text("secret")
    for blob_id in ("../secret", "../../secret", str(tmp_path / "secret"), "incoming"):
        with pytest.raises(BlobNotFoundError):
            await store.get(blob_id)


async def test_a_disk_that_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the directory should be")
    store = LocalBlobStore(tmp_path / "blobs", max_bytes=10)
    with pytest.raises(BlobUnavailableError, match="disk"):
        await store.put(b"x")
    with pytest.raises(BlobUnavailableError, match="disk"):
        await store.get("0" * 64)
    assert files(tmp_path) == [tmp_path / "blobs"]


async def test_what_a_dead_writer_left_is_swept_and_what_a_live_one_writes_is_not(
    store: LocalBlobStore, tmp_path: Path
) -> None:
    incoming = tmp_path / "blobs" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "dead").write_text("half")
    (incoming / "live").write_text("half")
    long_ago = time.time() - 7200
    os.utime(incoming / "dead", (long_ago, long_ago))
    await store.put(b"x")
    assert [path.name for path in incoming.iterdir()] == ["live"]


async def test_a_blob_above_a_lowered_limit_is_refused_not_read_whole(tmp_path: Path) -> None:
    blob_id = await LocalBlobStore(tmp_path, max_bytes=100).put(bytes(50))
    with pytest.raises(BlobTooLargeError, match="10 bytes"):
        await LocalBlobStore(tmp_path, max_bytes=10).get(blob_id)


def settings(tmp_path: Path, **changes: object) -> StorageSettings:
    return StorageSettings(database_url="", redis_url="", data_dir=tmp_path, **changes)


async def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    local = open_store(settings(tmp_path, fetch=FetchSettings(max_bytes=5)))
    assert local.name == "local"
    with pytest.raises(BlobTooLargeError):
        await local.put(b"123456")
    walrus = open_store(
        settings(
            tmp_path,
            blob_store="walrus",
            walrus=WalrusSettings(publisher_url="http://p.example", aggregator_url="http://a.example"),
        )
    )
    assert walrus.name == "walrus"


def test_walrus_without_an_address_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(BlobRejectedError, match="WALRUS_AGGREGATOR_URL") as caught:
        open_store(settings(tmp_path, blob_store="walrus", walrus=WalrusSettings(publisher_url="http://p.example")))
    assert "PUBLISHER" not in str(caught.value)
