"""Reading: bytes that anyone may have sent become a `Content`, or an error that says why not.

What the bytes are is decided by what they hold; a name or declared type that says otherwise is refused. Texts and
tables are read here; PDFs and images, whose parsers are large and whose authors may be hostile, in a decoder process.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Literal

import orjson

from actors.errors import ContentTooLargeError, EmptyContentError, UnsupportedTypeError
from actors.settings import ReadLimits
from actors.verification.models import Content
from actors.verification.readers import csv, sniff, text
from actors.verification.readers.isolation import decoders
from actors.verification.readers.language import identify

Extract = Literal["full", "preview"]

# A text below this is read in well under a millisecond, less than handing it to a thread takes under load.
_INLINE_BYTES = 64 * 1024


async def read(
    data: bytes,
    limits: ReadLimits,
    *,
    file_name: str | None = None,
    declared_type: str | None = None,
    extract: Extract = "full",
) -> Content:
    """The content, whole up to `limits.max_tokens` (what that drops is named in `left_out`), or its short form.

    `extract="preview"` is the first paragraph, a PDF's first paragraph, a table's header and first row. Raises
    `EmptyContentError`, `ContentTooLargeError`, `UnsupportedTypeError` or their parent `UnreadableError`; each
    message says what was found and, where a limit is passed, the limit.
    """
    if not data:
        raise EmptyContentError("the content is empty: 0 bytes")
    if len(data) > limits.max_bytes:
        raise ContentTooLargeError(
            f"the content has {len(data):,} bytes; the limit is {limits.max_bytes:,}", limit=limits.max_bytes
        )
    kind = sniff.sniff(data)
    if kind is None:
        if len(data) <= _INLINE_BYTES:
            content = _read_text(data, limits, file_name, declared_type, extract)
        else:
            content = await asyncio.to_thread(_read_text, data, limits, file_name, declared_type, extract)
        if content is not None:
            return content
        kind = sniff.PDF  # junk before the header, which viewers forgive
    sniff.check_claims(kind, file_name, declared_type)
    if kind.family == "pdf":
        return await _read_pdf(data, limits, extract)
    if kind.family == "image":
        return await _read_image(data, limits, kind)
    raise sniff.refuse(kind)


def _read_text(
    data: bytes, limits: ReadLimits, file_name: str | None, declared_type: str | None, extract: Extract
) -> Content | None:
    """The text's content; `None` where the bytes are a PDF after all."""
    try:
        decoded = text.decode(data, charset=_charset(declared_type))
    except UnsupportedTypeError:
        kind = sniff.sniff_binary(data)
        if kind is sniff.PDF:
            return None
        sniff.check_claims(kind, file_name, declared_type)
        if kind is sniff.BINARY:
            raise
        raise sniff.refuse(kind) from None
    body, found = text.clean(decoded.text)
    notes = list(found)
    body = text.require_some(body)
    kind = sniff.sniff_text(body) or (sniff.JSON if _is_json(body) else sniff.TEXT)
    sniff.check_claims(kind, file_name, declared_type)
    # A mere family leaves open which text it is.
    claimed = [claim for _, claim in sniff.claims(file_name, declared_type) if claim.media_type]
    if decoded.encoding not in {"utf-8", "ascii"}:
        notes.append(f"decoded as {decoded.encoding}")
    left_out: tuple[str, ...] = ()
    if kind is sniff.TEXT and (sniff.CSV in claimed or (not claimed and csv.looks_like_table(body))):
        table = csv.read_table(
            body, max_rows=limits.max_csv_rows, max_tokens=limits.max_tokens, preview=extract == "preview"
        )
        body, left_out, kind = table.text, table.left_out, sniff.CSV
        notes += table.notes
    else:
        if kind is sniff.TEXT:
            if sniff.JSON in claimed:
                notes.append("said to be JSON, but does not parse as JSON")
            kind = next((claim for claim in claimed if claim in {sniff.MARKDOWN, sniff.HTML, sniff.XML}), kind)
        if extract == "preview":
            body, more = text.first_paragraph(body)
            left_out = ("everything after the first paragraph",) if more else ()
        body, dropped = text.keep_beginning(body, limits.max_tokens)
        if dropped:
            left_out = (f"{text.about(dropped)} of text after the first {limits.max_tokens:,}", *left_out)
    return Content(
        content_hash=_hash(data),
        kind="text",
        media_type=kind.media_type,
        size=len(data),
        text=body,
        language=identify(body),
        left_out=left_out,
        notes=tuple(notes),
    )


async def _read_pdf(data: bytes, limits: ReadLimits, extract: Extract) -> Content:
    request = {
        "read": "pdf",
        "max_pages": limits.max_pages,
        "max_tokens": limits.max_tokens,
        "max_expanded_bytes": limits.max_expanded_bytes,
        "preview": extract == "preview",
        "scans": False,
        # Streams, what is parsed of them, and the text.
        "memory": 8 * limits.max_expanded_bytes,
    }
    found = await decoders().run(request, data, timeout_s=limits.timeout_s, what="the PDF")
    body, notes = text.clean(str(found["text"]))
    return Content(
        content_hash=_hash(data),
        kind="text",
        media_type=sniff.PDF.media_type,
        size=len(data),
        text=body,
        language=identify(body),
        left_out=tuple(found["left_out"]),
        notes=(*found["notes"], *notes),
    )


async def _read_image(data: bytes, limits: ReadLimits, kind: sniff.Kind) -> Content:
    request = {
        "read": "image",
        "format": sniff.FORMATS[kind.media_type],
        "max_pixels": limits.max_pixels,
        # Four bytes a pixel, and as much again for each of the copies that conversion and rotation make.
        "memory": 16 * limits.max_pixels,
    }
    found = await decoders().run(request, data, timeout_s=limits.timeout_s, what=f"the {request['format']} image")
    return Content(
        content_hash=_hash(data),
        kind="image",
        media_type=kind.media_type,
        size=len(data),
        image=data,
        width=int(found["width"]),
        height=int(found["height"]),
        image_hash=bytes.fromhex(found["hash"]),
        left_out=tuple(found["left_out"]),
        notes=tuple(found["notes"]),
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _charset(declared_type: str | None) -> str | None:
    if not declared_type or "charset" not in declared_type.lower():
        return None
    value = declared_type.lower().split("charset", 1)[1].lstrip(" =").split(";", 1)[0]
    return value.strip(" \"'") or None


def _is_json(body: str) -> bool:
    if (body[0], body[-1]) not in {("{", "}"), ("[", "]")}:
        return False
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True
