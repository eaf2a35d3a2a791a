"""Uploaded files, read whole and within their limit."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass

from fastapi import UploadFile
from fastapi.exceptions import RequestValidationError

from serve.errors import BodyTooLargeError
from serve.schemas.fields import CONTROLS

# A directory in a file's name is the client's own business; either system's separator.
_SEPARATORS = re.compile(r"[/\\]")
# From about here on hashing takes longer than a thread to do it in, and ten megabytes would hold all requests up.
_THREADED = 256 * 1024
_CHARSET = re.compile(r";\s*charset\s*=\s*(\"?)([a-z0-9][a-z0-9._:+-]{0,39})\1\s*(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it was sent. `name` is its base name, `declared_type` what the client says it is, if anything: a media
    type, and the charset where one is named.
    """

    data: bytes
    name: str
    declared_type: str | None

    async def digest(self, *fields: str) -> bytes:
        """What stands for this upload and the form's other fields when requests are compared."""
        large = len(self.data) > _THREADED
        hashed = await asyncio.to_thread(hashlib.sha256, self.data) if large else hashlib.sha256(self.data)
        parts = (*fields, self.name, self.declared_type or "", hashed.hexdigest())
        return "\n".join(parts).encode()


async def read(file: UploadFile, field: str, *, limit: int) -> Upload:
    """The file. Raises `BodyTooLargeError`, or a 422 for a name that reads other than it is."""
    name = _SEPARATORS.split(file.filename or "")[-1]
    if found := CONTROLS.search(name):
        message = f"the file's name holds the character U+{ord(found[0]):04X}, which is refused"
        raise RequestValidationError([{"type": "control_character", "loc": ("body", field), "msg": message}])
    data = await file.read(limit + 1)
    if len(data) > limit:
        raise BodyTooLargeError(f"the file is larger than the {limit} bytes that this address takes", subject=name)
    return Upload(data, name[:255], _declared(file.content_type or ""))


def _declared(content_type: str) -> str | None:
    media_type = content_type.partition(";")[0].strip().lower()
    # Clients that do not know say so by this type.
    if media_type in {"", "application/octet-stream"}:
        return None
    charset = _CHARSET.search(content_type)
    return media_type if charset is None else f"{media_type}; charset={charset[2].lower()}"
