"""Blobs as files: `<root>/<first two digits>/<sha-256 hex>`. Equal bytes are one file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import tempfile
import time
from pathlib import Path

from storage.errors import BlobNotFoundError, BlobRejectedError, BlobTooLargeError, BlobUnavailableError

BLOB_ID = re.compile(r"[0-9a-f]{64}")
# A writer that died leaves its temporary file; no write takes an hour.
_STALE_S = 3600.0


class LocalBlobStore:
    """A stored blob survives a crash, and a get answers exactly the bytes that were put or an error.

    Ids are the sha-256 of the bytes, in hex; what is not such an id is never used as a path. Several processes may use
    one root at once; machines need one file system shared between them. Disk work runs in threads.
    """

    name = "local"

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._incoming = root / "incoming"
        self._swept = False

    async def put(self, data: bytes) -> str:
        """Answers when the bytes and their name are on disk. Equal bytes heal a damaged file."""
        if len(data) > self._max_bytes:
            raise _too_large(len(data), self._max_bytes)
        return await asyncio.to_thread(self._put, bytes(data))

    async def get(self, blob_id: str) -> bytes:
        if not BLOB_ID.fullmatch(blob_id):
            raise _not_found(blob_id)
        return await asyncio.to_thread(self._get, blob_id)

    async def close(self) -> None:
        """Nothing is held open."""

    def _put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        try:
            if not _holds(path, data):
                self._write(path, data)
            # Also where the file was there already: its writer may not have come this far yet.
            _sync_directory(path.parent)
        except OSError as error:
            raise _disk(error, digest) from error
        return digest

    def _write(self, path: Path, data: bytes) -> None:
        self._make_directories(path.parent)
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)  # noqa: PTH105 - atomic by contract; Path.replace says the same in other words
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)  # noqa: PTH108 - beside its twin above
            raise

    def _make_directories(self, shard: Path) -> None:
        if not self._swept:
            self._incoming.mkdir(parents=True, exist_ok=True)
            _sweep(self._incoming)
            self._swept = True
        if not shard.is_dir():
            self._incoming.mkdir(parents=True, exist_ok=True)
            shard.mkdir(exist_ok=True)
            _sync_directory(self._root)
            _sync_directory(self._root.parent)

    def _get(self, blob_id: str) -> bytes:
        try:
            with self._path(blob_id).open("rb") as file:
                # One byte past the limit says that it is passed; the file itself may be anything.
                data = file.read(self._max_bytes + 1)
        except FileNotFoundError:
            raise _not_found(blob_id) from None
        except OSError as error:
            raise _disk(error, blob_id) from error
        if len(data) > self._max_bytes:
            raise _too_large(None, self._max_bytes, blob_id)
        if hashlib.sha256(data).hexdigest() != blob_id:
            raise BlobRejectedError(
                f"blob {blob_id} is damaged on disk: its bytes do not match its id; store it again", subject=blob_id
            )
        return data

    def _path(self, blob_id: str) -> Path:
        return self._root / blob_id[:2] / blob_id


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _sync_directory(directory: Path) -> None:
    """Make renames into the directory durable (fsync of a file says nothing of its name)."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(incoming: Path) -> None:
    oldest = time.time() - _STALE_S
    for path in incoming.iterdir():
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _not_found(blob_id: str) -> BlobNotFoundError:
    return BlobNotFoundError(f"no blob with id {blob_id[:80]!r} in the local store", subject=blob_id[:80])


def _too_large(size: int | None, limit: int, blob_id: str | None = None) -> BlobTooLargeError:
    what = "the blob is larger" if size is None else f"a blob of {size:,} bytes is larger"
    return BlobTooLargeError(f"{what} than the limit of {limit:,} bytes", subject=blob_id, limit=limit)


def _disk(error: OSError, blob_id: str) -> BlobUnavailableError:
    reason = error.strerror or type(error).__name__
    return BlobUnavailableError(f"the local blob store cannot use its disk: {reason}", subject=blob_id)
