"""`WalrusStorageTool`: files that an agent keeps for its wallet, in the blob store that the operator chose.

Whatever the store, what one wallet has stored another's agents can neither list nor read here. On Walrus itself every
blob is public to who knows its id.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from actors.agents.deps import ToolContext
from actors.agents.tools.files import as_uuid, open_file, require_wallet
from actors.agents.tools.tool import Arguments, Tool, ToolResult
from actors.errors import ToolArgumentsError
from storage import stored_files
from storage.stored_files import StoredFile

NAME = "WalrusStorageTool"
_UNCLEAN = re.compile(r"[\x00-\x1f\x7f/\\]")


class WalrusStorageArguments(Arguments):
    action: Annotated[Literal["store", "read", "list"], Field(description="What to do.")]
    name: Annotated[str, Field(max_length=200, description="store: the file's name, with its extension.")] = ""
    content: Annotated[str, Field(max_length=20_000_000, description="store: the file's content.")] = ""
    encoding: Annotated[Literal["text", "base64"], Field(description="store: how `content` is written.")] = "text"
    blob_id: Annotated[str, Field(max_length=200, description="read: the blob id of a file.")] = ""
    limit: Annotated[int, Field(ge=1, le=100, description="list: how many files at most, newest first.")] = 20
    after: Annotated[str, Field(max_length=36, description="list: `file_id` of the last file seen.")] = ""


async def walrus_storage(arguments: WalrusStorageArguments, context: ToolContext) -> ToolResult:
    """A file stored, read back or the list of them."""
    wallet = require_wallet(context)
    match arguments.action:
        case "store":
            if not arguments.name:
                raise ToolArgumentsError("store needs `name`: the file's name, with its extension", subject=NAME)
            kept = await keep(context, wallet, arguments.name, _bytes(arguments))
            return ToolResult(content=described(kept))
        case "read":
            return await _read(arguments, context)
        case "list":
            return await _list(arguments, context, wallet)


async def keep(
    context: ToolContext, wallet: str, name: str, data: bytes, *, media_type: str = "application/octet-stream"
) -> StoredFile:
    """The bytes in the blob store and the record of whose they are. Equal bytes under the same name are one file."""
    if _UNCLEAN.search(name):
        raise ToolArgumentsError(f"the name {name!r} holds slashes or control characters", subject=NAME)
    if not data:
        raise ToolArgumentsError(f"the file {name!r} would be empty", subject=NAME)
    blob_id = await context.store.put(data)
    async with context.database.begin() as session:
        return await stored_files.keep(
            session,
            owner=wallet,
            name=name,
            blob_id=blob_id,
            store=context.store.name,
            media_type=media_type,
            size=len(data),
        )


def described(file: StoredFile) -> dict[str, object]:
    """What a model is told of a file."""
    return {
        "blob_id": file.blob_id, "name": file.name, "size": file.size, "store": file.store,
        "created_at": file.created_at.isoformat(), "file_id": str(file.file_id),
    }  # fmt: skip


def _bytes(arguments: WalrusStorageArguments) -> bytes:
    if arguments.encoding == "text":
        return arguments.content.encode("utf-8", "replace")
    try:
        return base64.b64decode(arguments.content, validate=True)
    except binascii.Error as error:
        raise ToolArgumentsError(f"`content` is no base64: {error}", subject=NAME) from None


async def _read(arguments: WalrusStorageArguments, context: ToolContext) -> ToolResult:
    if not arguments.blob_id:
        raise ToolArgumentsError("read needs `blob_id`", subject=NAME)
    opened = await open_file(context, arguments.blob_id)
    content: dict[str, object] = {"blob_id": arguments.blob_id, "name": opened.file_name, "size": len(opened.data)}
    limit = context.limits.max_result_chars
    try:
        text = opened.data.decode("utf-8")
        kept, unit = text[:limit], "characters"
        content["text"], whole = kept, len(text)
    except UnicodeDecodeError:
        # Three bytes are four characters; read_file_content reads pictures and PDFs, this gives what they are.
        part = opened.data[: limit // 2]
        kept, unit = base64.b64encode(part).decode(), "bytes"
        content["base64"], whole = kept, len(opened.data)
        return ToolResult(content=content, left_out=_cut(len(part), whole, unit))
    return ToolResult(content=content, left_out=_cut(len(kept), whole, unit))


def _cut(kept: int, whole: int, unit: str) -> tuple[str, ...]:
    return (f"all {unit} after the first {kept:,} of {whole:,}",) if kept < whole else ()


async def _list(arguments: WalrusStorageArguments, context: ToolContext, wallet: str) -> ToolResult:
    after: UUID | None = None
    if arguments.after and (after := as_uuid(arguments.after)) is None:
        raise ToolArgumentsError("`after` is the `file_id` of a file listed before", subject=NAME)
    async with context.database.read() as session:
        files = await stored_files.of_owner(session, wallet, limit=arguments.limit + 1, after=after)
    shown = files[: arguments.limit]
    more = ("older files: list again with `after`",) if len(files) > len(shown) else ()
    return ToolResult(content={"files": [described(file) for file in shown]}, left_out=more)


TOOL = Tool(
    name=NAME,
    description="Store a file for later, read a stored file by its blob id, or list the stored files.",
    args_model=WalrusStorageArguments,
    run=walrus_storage,
    effect="writes",
)
