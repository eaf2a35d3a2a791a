"""Errors as data: a stable code, the offending id, a sentence that says the way out.

`HyvveError` is the mechanism shared by every room; `StorageError` is this room's root. Ray carries errors
between processes by pickle, so all state lives in the constructor's arguments.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self


class HyvveError(Exception):
    """Root of all errors Hyvve raises on purpose.

    `code` is stable and public, `subject` is the id of the thing at fault, `details` is JSON-able context.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, subject: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.subject, self.details)

    def __str__(self) -> str:
        return self.message


def _rebuild(cls: type[HyvveError], message: str, subject: str | None, details: dict[str, Any]) -> HyvveError:
    return cls(message, subject=subject, **details)


class StorageError(HyvveError):
    code = "storage"


class NotFoundError(StorageError):
    """A row that the caller named does not exist."""

    code = "not_found"

    @classmethod
    def of(cls, noun: str, subject: str) -> Self:
        return cls(f"no {noun} with id {subject!r}", subject=subject, noun=noun)


class ConflictError(StorageError):
    """A row with the same public id, and a different body, exists already."""

    code = "conflict"


class BlobError(StorageError):
    """Bytes could not be stored or fetched."""

    code = "blob"


class BlobNotFoundError(BlobError):
    code = "blob_not_found"


class BlobTooLargeError(BlobError):
    code = "blob_too_large"


class BlobRejectedError(BlobError):
    """The store or server refused the request; trying again will not help."""

    code = "blob_rejected"


class BlobUnavailableError(BlobError):
    """The store or server is down, slow or overloaded; trying again may help."""

    code = "blob_unavailable"


class AddressRefusedError(BlobError):
    """A URL leads to an address that contributions must not reach (private, loopback, link-local…)."""

    code = "address_refused"


class BadReferenceError(BlobError):
    """A `data_url` is neither a blob id, a Walrus URL, an IPFS CID nor an https URL."""

    code = "bad_reference"


class DatabaseUnavailableError(StorageError):
    code = "database_unavailable"


class MigrationError(StorageError):
    """The database's schema is not the one this version of Hyvve needs."""

    code = "migration"


class CacheUnavailableError(StorageError):
    """Redis does not answer. What it holds may be lost: callers go on without."""

    code = "cache_unavailable"
