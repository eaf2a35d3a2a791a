"""What a report shows of a contribution: the beginning of its text, or a small picture that we made ourselves.

A picture is decoded and encoded anew, so that nothing of the submitted bytes reaches the reader's browser.
"""

from __future__ import annotations

import base64

from actors.errors import UnreadableError
from actors.settings import ReadLimits
from actors.verification.read import read
from actors.verification.readers import flattening
from cluster.report.model import Preview
from storage.errors import HyvveError

# About 9,000 characters: enough for two pages side by side.
_TOKENS = 2_300
_SIDE, _QUALITY = 320, 78


async def preview(data: bytes, limits: ReadLimits, *, file_name: str) -> Preview | None:
    """The preview of these bytes; `None` where they cannot be read (their row says why)."""
    limits = limits.model_copy(update={"max_tokens": min(_TOKENS, limits.max_tokens)})
    try:
        content = await read(data, limits, file_name=file_name)
    except HyvveError:
        return None
    if content.kind == "image":
        image = await thumbnail(content.image, content.media_type, limits)
        return Preview(image=image, width=content.width, height=content.height)
    return Preview(text=content.text, shortened=bool(content.left_out))


async def thumbnail(data: bytes, media_type: str, limits: ReadLimits) -> str | None:
    """A JPEG of at most 320 pixels as a data: URI; `None` where the bytes cannot be decoded within the limits."""
    try:
        # Transparent pictures stand on white, in dark mode too.
        small = await flattening.jpeg(
            data,
            media_type,
            side=_SIDE,
            quality=_QUALITY,
            max_pixels=limits.max_pixels,
            timeout_s=limits.timeout_s,
        )
    except UnreadableError:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()
