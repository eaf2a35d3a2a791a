"""PDFs and images as contributors would send them, made here byte by byte."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image


def pdf_of_streams(streams: Sequence[bytes], *, flate: bool = False) -> bytes:
    """A PDF with one page per content stream (already compressed where `flate`)."""
    count = len(streams)
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, stream in enumerate(streams):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        kind = b" /Filter /FlateDecode" if flate else b""
        objects.append(b"<< /Length %d%b >>\nstream\n%b\nendstream" % (len(stream), kind, stream))
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    xref = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, xref)
    return bytes(out)


def pdf(pages: Sequence[str]) -> bytes:
    """A PDF with these texts; an empty line in one is a paragraph's end, an empty text a blank page."""
    streams = []
    for text in pages:
        lines = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in text.split("\n")]
        shown = " T* ".join(f"({line}) Tj" if line else "" for line in lines)
        streams.append(f"BT /F1 11 Tf 14 TL 72 720 Td {shown} ET".encode("cp1252") if text else b"")
    return pdf_of_streams(streams)


def scanned(*pages: Image.Image) -> bytes:
    """A PDF of pictures, as a scanner makes one."""
    return encoded(pages[0], "PDF", save_all=True, append_images=pages[1:])


def pdf_bomb(expanded: int) -> bytes:
    """A small PDF whose one page expands to so many bytes of spaces."""
    return pdf_of_streams([zlib.compress(b" " * expanded, 9)], flate=True)


def noise(width: int = 240, height: int = 160, seed: int = 0) -> Image.Image:
    """A sharp picture: coarse noise, so that it survives compression."""
    small = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, format_name: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()
