"""`DataPreprocessorTool`: many files made one, kept for the wallet: tables merged, texts joined, pictures packed.

The same files in the same order give the same bytes, so a call that is repeated stores nothing twice.
"""

from __future__ import annotations

import asyncio
import csv
import io
import zipfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from actors.agents.deps import ToolContext
from actors.agents.tools.files import REFERENCE, Opened, open_file, require_wallet
from actors.agents.tools.tool import Arguments, Tool, ToolResult
from actors.agents.tools.walrus_storage import described, keep
from actors.errors import ContentTooLargeError, ToolArgumentsError, UnreadableError, UnsupportedTypeError
from actors.verification.models import Content
from actors.verification.readers import csv as tables
from actors.verification.readers import text
from storage.errors import HyvveError

NAME = "DataPreprocessorTool"

T = TypeVar("T")

_AT_ONCE = 8
# Of a table that somebody else made: more columns than this is no table to work with.
_MAX_COLUMNS = 2_000
_EXTENSIONS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}


class DataPreprocessorArguments(Arguments):
    operation: Annotated[
        Literal["merge_csv", "join_texts", "pack_images"],
        Field(
            description="merge_csv: rows of all tables under all their columns; join_texts; pack_images: into a zip."
        ),
    ]
    references: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=2_048)]],
        Field(min_length=1, description=f"The files, in order. Each is {REFERENCE}."),
    ]
    name: Annotated[str, Field(min_length=1, max_length=200, description="Name of the file to make.")]
    separator: Annotated[str, Field(max_length=200, description="join_texts: what stands between two texts.")] = ""


@dataclass(frozen=True, slots=True)
class _Made:
    data: bytes
    media_type: str
    about: dict[str, Any]
    notes: tuple[str, ...] = ()


async def preprocess(arguments: DataPreprocessorArguments, context: ToolContext) -> ToolResult:
    """The file made and stored, or the first file that cannot be used, by its reference."""
    wallet = require_wallet(context)
    limits = context.limits
    if len(arguments.references) > limits.max_files:
        raise ToolArgumentsError(
            f"{len(arguments.references):,} files are more than the limit of {limits.max_files:,}", subject=NAME
        )
    opened = await _open_all(arguments.references, context)
    match arguments.operation:
        case "merge_csv":
            made = await asyncio.to_thread(_merged, opened)
        case "join_texts":
            contents = await _read_all(opened, context, "text")
            made = _joined(contents, arguments.separator or "\n\n")
        case "pack_images":
            pictures = await _read_all(opened, context, "image")
            made = await asyncio.to_thread(_packed, opened, pictures)
    kept = await keep(context, wallet, arguments.name, made.data, media_type=made.media_type)
    return ToolResult(content={**described(kept), "files": len(opened), **made.about}, left_out=made.notes)


async def _open_all(references: Sequence[str], context: ToolContext) -> list[Opened]:
    gate = asyncio.Semaphore(_AT_ONCE)
    limit = context.limits.max_total_bytes
    total = 0

    async def one(reference: str) -> Opened:
        nonlocal total
        async with gate:
            opened = await _of(reference, lambda: open_file(context, reference))
        total += len(opened.data)
        if total > limit:
            raise ContentTooLargeError(
                f"the files together have more than the limit of {limit:,} bytes", subject=NAME, limit=limit
            )
        return opened

    return await _all([one(each) for each in references])


async def _read_all(opened: Sequence[Opened], context: ToolContext, kind: str) -> list[Content]:
    # Whole: nothing is asked of a model here, so no token budget applies.
    limits = context.verification.settings.read.model_copy(update={"max_tokens": context.limits.max_total_bytes})
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(file: Opened) -> Content:
        content = await context.verification.read(
            file.data, limits, file_name=file.file_name, declared_type=file.media_type
        )
        if content.kind != kind:
            raise UnsupportedTypeError(f"it is {content.media_type}, which is no {kind}")
        return content

    async def one(file: Opened) -> Content:
        async with gate:
            return await _of(file.reference, lambda: read(file))

    return await _all([one(file) for file in opened])


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order, or the first error, the rest being ended then."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _of(reference: str, work: Callable[[], Awaitable[T]]) -> T:
    """The result; an error of ours says whose it is."""
    try:
        return await work()
    except HyvveError as error:
        said = f"{reference[:100]}: {error.message}"
        raise type(error)(said, subject=reference[:100], **error.details) from error


def _merged(files: Sequence[Opened]) -> _Made:
    columns: dict[str, None] = {}
    found: list[dict[str, str]] = []
    overlong = 0
    for file in files:
        try:
            decoded = text.decode(file.data)
            rows = tables.records(decoded.text)
            header = [cell.strip() for cell in next(rows, [])]
            _check_header(header)
            columns |= dict.fromkeys(header)
            for row in rows:
                overlong += len(row) > len(header)
                found.append(dict(zip(header, row, strict=False)))
        except HyvveError as error:
            raise type(error)(f"{file.reference[:100]}: {error.message}", subject=file.reference[:100]) from error
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    dropped = f"{overlong:,} rows had more cells than their header; the further ones are left out"
    return _Made(
        out.getvalue().encode(),
        "text/csv",
        {"rows": len(found), "columns": list(columns)},
        (dropped,) if overlong else (),
    )


def _check_header(header: Sequence[str]) -> None:
    if not header:
        raise UnreadableError("it is no table: it has no rows")
    if len(header) > _MAX_COLUMNS:
        raise ContentTooLargeError(f"its {len(header):,} columns are more than the limit of {_MAX_COLUMNS:,}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UnreadableError(f"its header names {twice[0]!r} twice, so its cells cannot be told apart")


def _joined(contents: Sequence[Content], separator: str) -> _Made:
    joined = separator.join(content.text for content in contents)
    notes = [f"file {place}: {each}" for place, content in enumerate(contents, 1) for each in content.left_out]
    return _Made(joined.encode(), "text/plain", {"characters": len(joined)}, tuple(notes[:20]))


def _packed(files: Sequence[Opened], pictures: Sequence[Content]) -> _Made:
    out = io.BytesIO()
    names: list[str] = []
    # Pictures are compressed already.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for place, (file, picture) in enumerate(zip(files, pictures, strict=True), 1):
            stem = PurePosixPath((file.file_name or "").replace("\\", "/")).stem[:80] or "image"
            name = f"{place:04d}-{stem}{_EXTENSIONS.get(picture.media_type, '')}"
            # The oldest time a zip can say: equal pictures must give equal bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), file.data)
            names.append(name)
    return _Made(out.getvalue(), "application/zip", {"names": names})


TOOL = Tool(
    name=NAME,
    description="Make one file of many and store it: merge CSV tables, join texts, or pack pictures into a zip.",
    args_model=DataPreprocessorArguments,
    run=preprocess,
    effect="writes",
    timeout_s=300.0,
)
