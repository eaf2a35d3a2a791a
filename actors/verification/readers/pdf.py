"""PDF to text, page by page. Runs in the decoder process (`decoder.py`), never in a worker: PDFs are hostile."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import pypdf
from pypdf.errors import LimitReachedError, PyPdfError
from pypdf.generic import ArrayObject, StreamObject

from actors.errors import ContentTooLargeError, UnreadableError
from actors.verification.readers.text import BYTES_PER_TOKEN, about, clean, first_paragraph, keep_beginning

# Between pages.
_BREAK = "\n\n"
_SPACES = re.compile(r"[ \t\u00a0]+")


# Pages without text whose pictures a person is shown.
_MOST_SCANS = 40


def read_pdf(
    data: bytes, *, max_pages: int, max_tokens: int, max_expanded_bytes: int, preview: bool, scans: bool = False
) -> dict[str, Any]:
    """`{"text", "starts", "left_out", "notes", "pages", "scans"}` of a PDF's pages, as many as fit the token budget.

    `starts` says where in `text` which page begins: `[[number, offset], …]`. `scans`, where they are asked for, are the
    pages that hold no text, and pictures (`pdf_pictures.py`).

    Raises `ContentTooLargeError` past `max_pages` pages or where the pages' streams expand past
    `max_expanded_bytes`; `UnreadableError` for what is encrypted, broken or holds no text and no scans.
    """
    with decoding(max_expanded_bytes):
        return _read(data, max_pages, max_tokens, max_expanded_bytes, preview=preview, scans=scans)


@contextlib.contextmanager
def decoding(max_expanded_bytes: int) -> Iterator[None]:
    """The library within bounds, with whatever it raises as an error of ours."""
    try:
        with pypdf.apply_configuration(
            zlib_maximum_output_length=max_expanded_bytes,
            lzw_maximum_output_length=max_expanded_bytes,
            run_length_maximum_output_length=max_expanded_bytes,
            array_based_stream_maximum_output_length=max_expanded_bytes,
            # pypdf would run this program if it found one.
            jbig2dec_binary=None,
        ):
            yield
    except LimitReachedError as error:
        raise ContentTooLargeError(
            f"the PDF expands past a limit ({max_expanded_bytes:,} bytes of streams): {error}", limit=max_expanded_bytes
        ) from None
    except (PyPdfError, RecursionError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
            AssertionError, NotImplementedError, ArithmeticError, OSError) as error:  # fmt: skip
        # pypdf trusts the file in many places: whatever it trips over, the file is at fault.
        raise UnreadableError(f"the PDF is broken: {type(error).__name__}: {str(error)[:200]}") from None


def _read(
    data: bytes, max_pages: int, max_tokens: int, max_expanded_bytes: int, *, preview: bool, scans: bool
) -> dict[str, Any]:
    reader, pages = opened(data, max_pages)
    texts: list[str] = []
    kept_pages: list[int] = []
    left_out: list[str] = []
    blank: list[int] = []
    expanded = used = 0
    for number in range(1, pages + 1):
        page = reader.pages[number - 1]
        expanded += _expanded(page)
        if expanded > max_expanded_bytes:
            raise ContentTooLargeError(
                f"the PDF's pages expand to more than {max_expanded_bytes:,} bytes, reached on page {number:,} of "
                f"{pages:,}",
                limit=max_expanded_bytes,
            )
        text = _tidy(page.extract_text())
        if not text:
            blank.append(number)
            continue
        if preview:
            paragraph, more = first_paragraph(text)
            texts.append(keep_beginning(paragraph, max_tokens)[0])
            kept_pages.append(number)
            if more:
                left_out.append(f"the rest of page {number:,}")
            if number < pages:
                left_out.append(_pages(number + 1, pages))
            break
        size = len(text.encode(errors="replace")) + 2
        if used + size > max_tokens * BYTES_PER_TOKEN:
            if not texts:
                kept, dropped = keep_beginning(text, max_tokens)
                texts.append(kept)
                kept_pages.append(number)
                left_out.append(f"{about(dropped)} of page {number:,}")
                number += 1  # noqa: PLW2901  # this page is kept in part; the next is the first left out whole
            if number <= pages:
                left_out.append(_pages(number, pages))
            break
        used += size
        texts.append(text)
        kept_pages.append(number)
    scanned = [number for number in blank if scans and _has_pictures(reader.pages[number - 1])]
    if not texts and not scanned:
        what = "its page holds" if pages == 1 else f"its {pages:,} pages hold"
        raise UnreadableError(
            f"the PDF has no text: {what} only pictures or nothing (a scan?); submit the text, or the pages as images"
        )
    notes = [f"a PDF of {pages:,} page{'s' * (pages != 1)}"]
    if blank:
        notes.append(f"no text on {_listed(blank)}")
    if len(scanned) > _MOST_SCANS:
        left_out.append(f"the pictures of {len(scanned) - _MOST_SCANS:,} further pages")
    starts, offset = [], 0
    for number, text in zip(kept_pages, texts, strict=True):
        starts.append([number, offset])
        offset += len(text) + len(_BREAK)
    return {
        "text": _BREAK.join(texts), "starts": starts, "left_out": left_out, "notes": notes, "pages": pages,
        "scans": scanned[:_MOST_SCANS],
    }  # fmt: skip


def opened(data: bytes, max_pages: int) -> tuple[pypdf.PdfReader, int]:
    """The PDF and how many pages it has. Raises as `read_pdf` does, within `decoding`."""
    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        try:
            # Many PDFs are encrypted with an empty password, only to forbid printing: any viewer opens them.
            opened = reader.decrypt("")
        except Exception as error:  # noqa: BLE001  # DependencyError (no AES here) is no PyPdfError
            raise UnreadableError(f"the PDF is encrypted: {error}") from None
        if not opened:
            raise UnreadableError("the PDF is encrypted and needs a password; submit it without one")
    pages = len(reader.pages)
    if pages > max_pages:
        raise ContentTooLargeError(f"the PDF has {pages:,} pages; the limit is {max_pages:,}", limit=max_pages)
    if pages == 0:
        raise UnreadableError("the PDF has no pages")
    return reader, pages


def _has_pictures(page: pypdf.PageObject) -> bool:
    try:
        return bool(page.images.keys())
    except Exception:  # noqa: BLE001  # what cannot be found cannot be shown; the rest of the PDF can
        return False


def _tidy(text: str) -> str:
    text, _ = clean(text)
    return "\n".join(_SPACES.sub(" ", line).strip() for line in text.split("\n")).strip()


def _pages(first: int, last: int) -> str:
    return f"page {first:,}" if first == last else f"pages {first:,}–{last:,}"


def _listed(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = ", ".join(_pages(*run).split(" ", 1)[1] for run in runs[:10])
    return ("page " if len(numbers) == 1 else "pages ") + shown + ("…" if len(runs) > 10 else "")


def _expanded(page: Any) -> int:
    """Bytes of a page's content streams once decoded (pypdf keeps them, so this costs nothing twice)."""
    contents = page.get("/Contents")
    contents = contents.get_object() if contents is not None else None
    streams = [item.get_object() for item in contents] if isinstance(contents, ArrayObject) else [contents]
    return sum(len(stream.get_data()) for stream in streams if isinstance(stream, StreamObject))
