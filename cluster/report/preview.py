"""What a report shows of a contribution: the beginning of its text, or a small picture that we made ourselves.

A picture is decoded and encoded anew, so that nothing of the submitted bytes reaches the reader's browser.
"""

from __future__ import annotations

import asyncio
import base64
import io

from PIL import Image

from actors.settings import ReadLimits
from actors.verification.read import read
from cluster.report.model import Preview
from storage.errors import HyvveError

# About 9,000 characters: enough for two pages side by side.
_TOKENS = 2_300
_SIDE = 320


async def preview(data: bytes, limits: ReadLimits, *, file_name: str) -> Preview | None:
    """The preview of these bytes; `None` where they cannot be read (their row says why)."""
    limits = limits.model_copy(update={"max_tokens": min(_TOKENS, limits.max_tokens)})
    try:
        content = await read(data, limits, file_name=file_name)
    except HyvveError:
        return None
    if content.kind == "image":
        image = await asyncio.to_thread(thumbnail, content.image)
        return Preview(image=image, width=content.width, height=content.height)
    return Preview(text=content.text, shortened=bool(content.left_out))


def thumbnail(data: bytes, side: int = _SIDE) -> str | None:
    """A JPEG of at most `side` pixels as a data: URI; `None` where pillow cannot decode the bytes."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (side, side))  # a JPEG is decoded at a fraction of its size
            small = image.convert("RGBA")
            small.thumbnail((side, side))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    # Transparent pictures stand on white, in dark mode too.
    flat = Image.new("RGB", small.size, "white")
    flat.paste(small, mask=small.getchannel("A"))
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=78)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
