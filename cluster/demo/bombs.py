"""Broken and hostile files that no text editor makes: bombs, lies about their type, halves of files."""

from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np
from PIL import Image

from cluster.demo import pdf


def expanding_pdf(megabytes: int) -> bytes:
    """A PDF of some hundred kilobytes whose page expands to this size."""
    return pdf.from_streams([b"BT /F1 11 Tf 56 780 Td (bread) Tj ET " + b" " * (megabytes * 1024 * 1024)])


def zip_of_zeros(megabytes: int) -> bytes:
    """A zip archive that expands to this size."""
    entry = zipfile.ZipInfo("bread.txt", (2024, 1, 1, 0, 0, 0))  # a fixed date, so that the bytes are always the same
    entry.compress_type = zipfile.ZIP_DEFLATED
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(entry, b"0" * (megabytes * 1024 * 1024))
    return out.getvalue()


def pixel_bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that decodes to side × side pixels."""
    header = side.to_bytes(4, "big") * 2 + bytes((1, 0, 0, 0, 0))  # one bit grey
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def long_pdf(pages: int) -> bytes:
    """Many pages of rules that have nothing to do with anything."""
    return pdf.of_pages(
        [
            [
                f"Terms of use of the Dock Road car park, page {page} of {pages}",
                "",
                f"{page}.1 Tickets are valid on level {page % 7} only and must be shown on request.",
                f"{page}.2 Vehicles above {180 + page % 40} centimetres may not enter ramp {page % 5}.",
                f"{page}.3 Lost tickets are charged with {12 + page % 9} hours at the day rate.",
                f"{page}.4 The operator is not liable for damage by other users of the car park.",
            ]
            for page in range(1, pages + 1)
        ]
    )


def noise(seed: int, size: int) -> bytes:
    """Bytes without meaning."""
    return np.random.default_rng(seed).bytes(size)


def program() -> bytes:
    """The beginning of a Windows executable: harmless, and not a text."""
    return b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00" + noise(7, 2000)


def tiny_png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 140, 70)).save(out, "PNG")
    return out.getvalue()
