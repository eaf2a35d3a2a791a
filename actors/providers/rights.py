"""Whose files may go into a call: those that the wallet of the run may read itself.

The rule is that of the agents' tools (`storage.stored_files.may_read`): a blob is for who stored it or contributed it
first, and for the creators of the campaigns that they contributed it to. Any other reference leads to the open web or
IPFS, past the address guard.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import FileForbiddenError
from actors.runs.step import current
from storage import stored_files
from storage.engine import Database
from storage.errors import AddressRefusedError, BadReferenceError
from storage.references import LocalBlob, WalrusBlob, parse

CODE = FileForbiddenError.code


def blob_of(ref: str) -> str | None:
    """The blob that it names; `None` where it names something else, or nothing at all."""
    try:
        named = parse(ref)
    except (BadReferenceError, AddressRefusedError):
        return None
    return named.blob_id if isinstance(named, LocalBlob | WalrusBlob) else None


async def forbidden(session: AsyncSession, wallet: str | None, refs: Iterable[str]) -> dict[str, str]:
    """Why the wallet may not read them, of those references that name a blob which it may not."""
    blobs = {ref: blob_id for ref in refs if (blob_id := blob_of(ref)) is not None}
    if not blobs:
        return {}
    allowed = set() if wallet is None else await stored_files.readable(session, wallet, set(blobs.values()))
    return {ref: reason(ref, wallet) for ref, blob_id in blobs.items() if blob_id not in allowed}


def reason(ref: str, wallet: str | None) -> str:
    """The same whether or not there is such a blob: who may not read it learns nothing of it."""
    if wallet is None:
        return f"the blob {ref.strip()} is somebody's, and this is nobody's run: give user_id, the wallet it belongs to"
    return f"the blob {ref.strip()} is neither a file of the wallet {wallet!r} nor content that it may read"


class Rights:
    """Of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def require(self, ref: str) -> None:
        """Raises `FileForbiddenError` where the run that this is a step of may not read what the reference names."""
        if faults := await self.faults([ref]):
            raise FileForbiddenError(faults[ref], subject=ref.strip())

    async def faults(self, refs: Iterable[str]) -> dict[str, str]:
        """Of these references those that the run may not read, each with the reason."""
        named = [ref for ref in refs if blob_of(ref) is not None]
        if not named:
            return {}
        async with self._database.read() as session:
            return await forbidden(session, current().owner, named)


async def anything(_: str) -> None:
    """For `Files.require`, where nobody but the owner of all that is stored names files."""
