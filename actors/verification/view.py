"""What a person is shown of a content: its text, table, pages or picture, within bounds, and never the bytes.

Beside `read`, which is for judges: this one also shows as text what no judge reads (an SVG, a file that is not what its
name says), for a person has to see why. PDFs and images are decoded where `read` decodes them, in a process of their
own.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from actors.agents.documents import depth_of
from actors.errors import ContentTooLargeError, UnreadableError, UnsupportedTypeError
from actors.settings import ReadLimits
from actors.verification.readers import csv, sniff, text
from actors.verification.readers.isolation import decoders
from storage.errors import HyvveError

MAX_CHARS = 60_000
MAX_ROWS, MAX_COLUMNS, MAX_CELL = 200, 40, 500
_MAX_JSON = 256 * 1024
_MAX_DEPTH = 32
_PICTURE_SIDE = 1_600


@dataclass(frozen=True, slots=True)
class Media:
    """What a browser plays: by which element, and of which type."""

    kind: Literal["audio", "video"]
    media_type: str


# By what the content itself proves to be. WebM is Matroska to its first bytes; what a browser cannot play it says.
_PLAYED = {
    "audio/mpeg": Media("audio", "audio/mpeg"), "audio/flac": Media("audio", "audio/flac"),
    "audio/ogg": Media("audio", "audio/ogg"), "video/mp4": Media("video", "video/mp4"),
    "video/x-matroska": Media("video", "video/webm"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One content. `text` of kind text; `value` of json; `rows` of table, the first its header where `header` says so;
    `pages` of pdf, as (number, text); those of `scans` hold pictures alone, drawn by `page_picture`. An image is drawn
    by `picture`; audio and video are played as they are, by a browser that is told their `media_of`. `left_out` says
    what the bounds have cut.
    """

    kind: Literal["text", "json", "table", "pdf", "image", "audio", "video", "nothing"]
    name: str
    size: int
    text: str = ""
    value: Any = None
    rows: tuple[tuple[str, ...], ...] = ()
    header: bool = False
    pages: tuple[tuple[int, str], ...] = ()
    scans: frozenset[int] = frozenset()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def view(data: bytes, limits: ReadLimits, *, file_name: str | None, declared_type: str | None) -> View:
    """The content as a person sees it. Never raises for what the content holds: what cannot be shown says why."""
    kind = sniff.sniff(data)
    try:
        if kind is None or kind is sniff.SVG:
            return await asyncio.to_thread(_text, data, file_name, declared_type)
        if kind is sniff.PDF:
            return await _pdf(data, limits)
        if kind.family == "image":
            return View(kind="image", name=kind.name, size=len(data))
    except UnsupportedTypeError as error:
        found = sniff.sniff_binary(data)
        if found is sniff.PDF:
            return await view(data[data.index(b"%PDF-") :], limits, file_name=file_name, declared_type=declared_type)
        return _played(data) or View(kind="nothing", name=found.name, size=len(data), notes=(error.message,))
    except HyvveError as error:
        name = kind.name if kind is not None else "a file"
        return View(kind="nothing", name=name, size=len(data), notes=(error.message,))
    note = f"the content is {kind.name}: it is not shown"
    return _played(data) or View(kind="nothing", name=kind.name, size=len(data), notes=(note,))


def media_of(data: bytes) -> Media | None:
    """How a browser plays it, where it is sound or film."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return Media("audio", "audio/wav")
    return _PLAYED.get((sniff.sniff(data) or sniff.sniff_binary(data)).media_type)


async def picture(data: bytes, limits: ReadLimits, *, side: int = _PICTURE_SIDE) -> bytes:
    """The image drawn anew, as a PNG of at most `side` pixels each way. Raises `UnreadableError`."""
    kind = sniff.sniff(data)
    if kind is None or kind.media_type not in sniff.FORMATS:
        raise UnsupportedTypeError(f"the content is {kind.name if kind else 'no image'}: it is not shown as a picture")
    if len(data) > limits.max_bytes:
        raise ContentTooLargeError(f"the image has {len(data):,} bytes; the limit is {limits.max_bytes:,}")
    request = {
        "read": "picture", "format": sniff.FORMATS[kind.media_type], "max_pixels": limits.max_pixels, "side": side,
        "memory": 16 * limits.max_pixels,
    }  # fmt: skip
    found = await decoders().run(request, data, timeout_s=limits.timeout_s, what=kind.name)
    return base64.b64decode(found["png"])


async def page_picture(data: bytes, number: int, limits: ReadLimits, *, side: int = _PICTURE_SIDE) -> bytes:
    """The pictures on this page of a PDF drawn anew, as a PNG. Raises `UnreadableError`."""
    found = sniff.sniff(data)
    if found is not sniff.PDF:
        raise UnsupportedTypeError(f"the content is {found.name if found else 'no PDF'}: it has no pages to draw")
    if len(data) > limits.max_bytes:
        raise ContentTooLargeError(f"the PDF has {len(data):,} bytes; the limit is {limits.max_bytes:,}")
    request = {
        "read": "pdf_page", "number": number, "max_pages": limits.max_pages, "max_pixels": limits.max_pixels,
        "max_expanded_bytes": limits.max_expanded_bytes, "side": side,
        "memory": 16 * limits.max_pixels + limits.max_expanded_bytes,
    }  # fmt: skip
    drawn = await decoders().run(request, data, timeout_s=limits.timeout_s, what="the PDF")
    return base64.b64decode(drawn["png"])


def _played(data: bytes) -> View | None:
    media = media_of(data)
    if media is None:
        return None
    name = "sound" if media.kind == "audio" else "film"
    return View(kind=media.kind, name=f"{name} ({media.media_type})", size=len(data))


def _text(data: bytes, file_name: str | None, declared_type: str | None) -> View:
    decoded = text.decode(data, charset=None)
    body, notes = text.clean(decoded.text)
    claimed = {claim.media_type for _, claim in sniff.claims(file_name, declared_type)}
    if sniff.sniff(data) is sniff.SVG:
        note = "an SVG drawing can hold scripts, so it is shown as the text that it is"
        return _plain(body, sniff.SVG.name, len(data), (note, *notes))
    if len(data) <= _MAX_JSON and body.lstrip()[:1] in {"{", "["}:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
        else:
            if depth_of(value) > _MAX_DEPTH:
                return _plain(body, sniff.JSON.name, len(data), notes)
            return View(kind="json", name=sniff.JSON.name, size=len(data), value=value, text=body, notes=notes)
    kind = sniff.sniff_text(body)
    if kind is None and ("text/csv" in claimed or (not claimed and csv.looks_like_table(body))):
        return _table(body, len(data), notes)
    return _plain(body, (kind or sniff.TEXT).name, len(data), notes)


def _plain(body: str, name: str, size: int, notes: tuple[str, ...]) -> View:
    cut = f"{len(body) - MAX_CHARS:,} characters after the first {MAX_CHARS:,}"
    left_out = (cut,) if len(body) > MAX_CHARS else ()
    return View(kind="text", name=name, size=size, text=body[:MAX_CHARS], left_out=left_out, notes=notes)


def _table(body: str, size: int, notes: tuple[str, ...]) -> View:
    rows: list[tuple[str, ...]] = []
    more = columns = 0
    try:
        for row in csv.records(body):
            if len(rows) > MAX_ROWS:
                more += 1
                continue
            columns = max(columns, len(row))
            rows.append(tuple(cell[:MAX_CELL] for cell in row[:MAX_COLUMNS]))
    except UnreadableError as error:
        return _plain(body, sniff.TEXT.name, size, (*notes, error.message))
    left_out = []
    if more:
        left_out.append(f"{more:,} rows after the first {len(rows) - 1:,}")
    if columns > MAX_COLUMNS:
        left_out.append(f"{columns - MAX_COLUMNS:,} columns after the first {MAX_COLUMNS}")
    if not rows:
        return _plain(body, sniff.TEXT.name, size, notes)
    return View(
        kind="table", name=sniff.CSV.name, size=size, rows=tuple(rows),
        header=csv.has_header(list(rows[0]), [list(row) for row in rows[1:]]), left_out=tuple(left_out), notes=notes,
    )  # fmt: skip


async def _pdf(data: bytes, limits: ReadLimits) -> View:
    request = {
        "read": "pdf", "max_pages": limits.max_pages, "max_tokens": MAX_CHARS // text.BYTES_PER_TOKEN,
        "max_expanded_bytes": limits.max_expanded_bytes, "preview": False, "scans": True,
        "memory": 8 * limits.max_expanded_bytes,
    }  # fmt: skip
    found = await decoders().run(request, data, timeout_s=limits.timeout_s, what="the PDF")
    body, starts = str(found["text"]), [(int(number), int(at)) for number, at in found["starts"]]
    ends = [at for _, at in starts[1:]] + [len(body)]
    # A PDF of scans alone has no text that begins anywhere.
    pages = [(number, body[at:end].strip()) for (number, at), end in zip(starts, ends, strict=False)]
    pages += [(int(number), "") for number in found["scans"]]
    return View(
        kind="pdf", name=sniff.PDF.name, size=len(data), pages=tuple(sorted(pages)), scans=frozenset(found["scans"]),
        left_out=tuple(found["left_out"]), notes=tuple(found["notes"]),
    )  # fmt: skip
