"""Pictures drawn anew: decoded, and made no larger than they are looked at. Runs in the decoder process.

Nothing of the bytes that were sent reaches a browser: what leaves here is a file of pixels, without metadata, profiles,
further frames or anything behind the image's end.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageOps

from actors.errors import ContentTooLargeError, UnreadableError


def draw(data: bytes, *, format_name: str, max_pixels: int, side: int) -> dict[str, Any]:
    """`{"png", "width", "height"}`: a PNG in base64 of at most `side` pixels each way, and the size of the original.

    Raises `ContentTooLargeError` past `max_pixels` pixels before decoding one, `UnreadableError` for what is broken.
    """

    def png(small: Image.Image) -> bytes:
        clean = Image.new(small.mode, small.size)
        clean.paste(small)
        out = io.BytesIO()
        clean.save(out, "PNG")
        return out.getvalue()

    written, width, height = _drawn(data, png, format_name=format_name, max_pixels=max_pixels, side=side)
    return {"png": base64.b64encode(written).decode(), "width": width, "height": height}


def flatten(data: bytes, *, format_name: str, max_pixels: int, side: int, quality: int) -> dict[str, Any]:
    """`{"jpeg"}`: the same as a JPEG. Raises as `draw` does."""

    def jpeg(small: Image.Image) -> bytes:
        # JPEG has no transparency: on white, as a page shows it.
        flat = Image.new("RGB", small.size, "white")
        flat.paste(small, mask=small.getchannel("A") if small.mode == "RGBA" else None)
        out = io.BytesIO()
        flat.save(out, "JPEG", quality=quality)
        return out.getvalue()

    written, _, _ = _drawn(data, jpeg, format_name=format_name, max_pixels=max_pixels, side=side)
    return {"jpeg": base64.b64encode(written).decode()}


def _drawn(
    data: bytes, write: Callable[[Image.Image], bytes], *, format_name: str, max_pixels: int, side: int
) -> tuple[bytes, int, int]:
    """What `write` makes of the image, upright and small, in RGB or RGBA; and the size of the original."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=[format_name]) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            if width * height > max_pixels:
                raise ContentTooLargeError(
                    f"the image has {width:,} × {height:,} pixels; the limit is {max_pixels:,}", limit=max_pixels
                )
            image.draft("RGB", (side, side))  # a JPEG is decoded at a fraction of its size
            shown = ImageOps.exif_transpose(image)
            small = shown.convert("RGBA" if shown.has_transparency_data else "RGB")
            small.thumbnail((side, side))
            return write(small), width, height
    except MemoryError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
            ArithmeticError, AssertionError, NotImplementedError, RuntimeError) as error:  # fmt: skip
        # Pillow's plugins trust the file in places: whatever they trip over, the file is at fault.
        raise UnreadableError(f"the {format_name} image is broken: {str(error)[:200]}") from None
