"""A small PDF writer for the sample: lines of text on A4 pages, or any objects and streams a hostile file needs.

Written by hand so that the bytes are the same on every run, and so that broken and hostile files can be made of it.
ISO 32000-1: header (7.5.2), cross-reference table (7.5.4), trailer (7.5.5), streams (7.3.8).
"""

from __future__ import annotations

import textwrap
import zlib
from collections.abc import Sequence

_LINES_A_PAGE = 46
_LINE_WIDTH = 88


def document(text: str) -> bytes:
    """A readable PDF of the text; its characters must be those of Windows-1252."""
    lines: list[str] = []
    for paragraph in text.strip().split("\n"):
        lines += textwrap.wrap(paragraph, _LINE_WIDTH) or [""]
    return of_pages([lines[start : start + _LINES_A_PAGE] for start in range(0, len(lines), _LINES_A_PAGE)])


def of_pages(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF with exactly these pages of lines."""
    return from_streams([_page_stream(lines) for lines in pages])


def from_streams(streams: Sequence[bytes]) -> bytes:
    """A PDF with one page per content stream, each compressed."""
    objects: list[bytes] = [
        b"",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    kids: list[int] = []
    for stream in streams:
        packed = zlib.compress(stream, 9)
        objects.append(b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(packed), packed))
        content = len(objects)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % content
        )
        kids.append(len(objects))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%b] >>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids))
    return _file(objects)


def _page_stream(lines: Sequence[str]) -> bytes:
    shown = b"".join(b"(%b) Tj T*\n" % _escaped(line) for line in lines)
    return b"BT /F1 11 Tf 15 TL 56 780 Td\n%bET" % shown


def _escaped(line: str) -> bytes:
    return line.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _file(objects: Sequence[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
