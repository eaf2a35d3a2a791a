"""Files that a run's answer leaves to its wallet, which may then name them in another request."""

from __future__ import annotations

import mimetypes

from actors.providers.models import ProviderResponse
from actors.runs.group_commit import Table
from actors.runs.step import current
from storage.clock import now
from storage.ids import new_id

STORED_FILES = Table(
    "stored_files",
    ("owner", "blob_id", "name", "file_id", "store", "media_type", "size", "created_at"),
    ("text", "text", "text", "uuid", "text", "text", "int8", "timestamptz"),
    ("owner", "blob_id", "name"),
    "ignore",
)


def leave(response: ProviderResponse | None, *, store: str) -> None:
    """Record our copies of the answer's files as the wallet's: in the step that ends the run, so that what a reviewer
    took out or rejected is nobody's. A run of no wallet leaves none.
    """
    context = current()
    if response is None or context.owner is None:
        return
    for number, file in enumerate(response.files, 1):
        if file.ref is not None and file.size is not None:
            media_type = file.media_type or "application/octet-stream"
            name = f"{context.run_id}-{number}{mimetypes.guess_extension(media_type) or ''}"
            row = (context.owner, file.ref, name, new_id(), store, media_type, file.size, now())
            context.record(STORED_FILES, row)
