"""What every blob store must do. A test module subclasses `BlobStoreSpec` and gives it the store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from storage import references
from storage.blobs.base import BlobStore
from storage.errors import BlobNotFoundError, BlobTooLargeError

MAX_BYTES = 300_000


class BlobStoreSpec:
    """Fixtures to give: `store`, which takes `MAX_BYTES` at most; `reopen`, which opens another one on the same
    content; `unknown_id`, well-formed."""

    @pytest.mark.parametrize(
        "data",
        [b"x", "Grüße, 世界".encode(), b"\x00\xff\xfe\r\n\x00", bytes(range(256)) * 40, os.urandom(MAX_BYTES)],
        ids=["one byte", "text", "control bytes", "every byte", "as large as may be"],
    )
    async def test_the_same_bytes_come_back(self, store: BlobStore, data: bytes) -> None:
        assert await store.get(await store.put(data)) == data

    async def test_equal_bytes_have_an_id_each_can_be_read_by(self, store: BlobStore) -> None:
        first, again, other = [await store.put(data) for data in (b"rice", b"rice", b"beans")]
        assert [await store.get(blob_id) for blob_id in (first, again, other)] == [b"rice", b"rice", b"beans"]
        assert other not in {first, again}

    async def test_a_blob_outlives_the_store_that_took_it(
        self, store: BlobStore, reopen: Callable[[], BlobStore]
    ) -> None:
        blob_id = await store.put(b"kept")
        await store.close()
        other = reopen()
        assert await other.get(blob_id) == b"kept"
        await other.close()

    async def test_an_id_is_a_reference_that_a_contribution_can_carry(self, store: BlobStore) -> None:
        blob_id = await store.put(b"referred to")
        found = references.parse(blob_id)
        assert isinstance(found, references.LocalBlob | references.WalrusBlob)
        assert found.blob_id == blob_id

    async def test_an_unknown_id_is_not_found_and_named(self, store: BlobStore, unknown_id: str) -> None:
        with pytest.raises(BlobNotFoundError) as caught:
            await store.get(unknown_id)
        assert caught.value.subject == unknown_id

    @pytest.mark.parametrize(
        "blob_id",
        ["", ".", "..", "/etc/passwd", "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "a" * 64 + "/../x",
         "ab/" + "a" * 64, "a\x00b", "A" * 5000, "?epochs=1", "%00", "☃"],
    )  # fmt: skip
    async def test_what_is_no_id_is_not_found_and_never_a_path(self, store: BlobStore, blob_id: str) -> None:
        with pytest.raises(BlobNotFoundError):
            await store.get(blob_id)

    async def test_too_large_is_refused_with_the_limit(self, store: BlobStore) -> None:
        with pytest.raises(BlobTooLargeError, match=f"{MAX_BYTES:,}"):
            await store.put(bytes(MAX_BYTES + 1))

    async def test_many_at_once_do_not_mix(self, store: BlobStore) -> None:
        contents = [b"%d" % (number % 20) * 100 for number in range(60)]
        ids = await asyncio.gather(*(store.put(data) for data in contents))
        assert await asyncio.gather(*(store.get(blob_id) for blob_id in ids)) == contents

    async def test_closing_twice_is_no_error(self, store: BlobStore) -> None:
        await store.put(b"x")
        await store.close()
        await store.close()
