"""The pictures of a PDF's page that has no text, as of a scan: drawn anew. Runs in the decoder process (`decoder.py`).

A page is not rendered: what is shown are the pictures that stand on it, one below the other, turned as the page is.
"""

from __future__ import annotations

import base64
import io
import itertools
from typing import Any

from PIL import Image

from actors.errors import ContentTooLargeError, UnreadableError
from actors.verification.readers.pdf import decoding, opened

# Some scanners cut a page into strips.
_MOST_PICTURES = 32


def draw_page(
    data: bytes, *, number: int, max_pages: int, max_pixels: int, max_expanded_bytes: int, side: int
) -> dict[str, Any]:
    """`{"png"}`: a PNG in base64, of at most `side` pixels across, of the pictures on page `number`.

    Raises `ContentTooLargeError` past `max_pixels` pixels, `UnreadableError` for what is broken or has no pictures.
    """
    with decoding(max_expanded_bytes):
        reader, pages = opened(data, max_pages)
        if not 1 <= number <= pages:
            raise UnreadableError(f"the PDF has {pages:,} pages, and none with the number {number}")
        page = reader.pages[number - 1]
        drawn: list[Image.Image] = []
        pixels = height = 0
        for name in itertools.islice(page.images.keys(), _MOST_PICTURES):
            image = page.images[name].image
            if image is None:
                continue
            pixels += image.width * image.height
            if pixels > max_pixels:
                raise ContentTooLargeError(
                    f"the pictures on page {number} have more than the limit of {max_pixels:,} pixels", limit=max_pixels
                )
            drawn.append(_plain(image, side))
            height += drawn[-1].height
            if height > 2 * side:
                break
        if not drawn:
            raise UnreadableError(f"page {number} of the PDF has no picture")
        sheet = Image.new("RGB", (max(each.width for each in drawn), height), "white")
        top = 0
        for each in drawn:
            sheet.paste(each, (0, top))
            top += each.height
        out = io.BytesIO()
        sheet.rotate(-page.rotation, expand=True).save(out, "PNG")
    return {"png": base64.b64encode(out.getvalue()).decode()}


def _plain(image: Image.Image, side: int) -> Image.Image:
    """Its pixels alone, transparent parts white."""
    shown = image.convert("RGBA" if image.has_transparency_data else "RGB")
    shown.thumbnail((side, side))
    plain = Image.new("RGB", shown.size, "white")
    plain.paste(shown, mask=shown if shown.mode == "RGBA" else None)
    return plain
