from __future__ import annotations

from actors.agents.deps import AthenaDeps
from actors.verification.models import Content
from actors.verification.read import Extract


async def read_file_content(
    deps: AthenaDeps, *, data: bytes, file_name: str | None, declared_type: str | None, extract: Extract = "full"
) -> Content:
    """The file's content, whole or as a preview. Raises `UnreadableError`."""
    return await deps.read(data, deps.settings.read, file_name=file_name, declared_type=declared_type, extract=extract)
