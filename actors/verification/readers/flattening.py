"""Images as small JPEGs, made where they are read: in a decoder process, a few at a time, under its limits."""

from __future__ import annotations

import base64

from actors.errors import UnsupportedTypeError
from actors.verification.readers.isolation import decoders
from actors.verification.readers.sniff import FORMATS


async def jpeg(data: bytes, media_type: str, *, side: int, quality: int, max_pixels: int, timeout_s: float) -> bytes:
    """The image upright, on white, of at most `side` pixels each way.

    Raises `ContentTooLargeError` past `max_pixels` pixels, `UnreadableError` for what cannot be decoded in time.
    """
    if media_type not in FORMATS:
        raise UnsupportedTypeError(f"{media_type} is no image that is read here", actual=media_type)
    request = {
        "read": "flat", "format": FORMATS[media_type], "max_pixels": max_pixels, "side": side, "quality": quality,
        # As for reading: four bytes a pixel, and as much for each of the copies.
        "memory": 16 * max_pixels,
    }  # fmt: skip
    made = await decoders().run(request, data, timeout_s=timeout_s, what=f"the {request['format']} image")
    return base64.b64decode(made["jpeg"])
