"""Images as vision models take them: a type they all know, and no larger than they look at."""

from __future__ import annotations

from actors.settings import ReadLimits
from actors.verification.models import Content
from actors.verification.readers import flattening

ACCEPTED = frozenset({"image/jpeg", "image/png", "image/webp"})
# Providers scale down to about this; more pixels are paid for and not seen.
MAX_SIDE = 2048
MAX_BYTES = 4 * 1024 * 1024
_QUALITY = 90


async def presentable(content: Content) -> tuple[str, bytes]:
    """(media type, bytes) to send: as they are where that fits, else a JPEG within `MAX_SIDE`, made by a decoder
    process. Raises `UnreadableError` where that fails.
    """
    fits = max(content.width, content.height) <= MAX_SIDE and len(content.image) <= MAX_BYTES
    if fits and content.media_type in ACCEPTED:
        return content.media_type, content.image
    # Its pixels were within the limit when it was read; this time they may not be more.
    made = await flattening.jpeg(
        content.image,
        content.media_type,
        side=MAX_SIDE,
        quality=_QUALITY,
        max_pixels=content.width * content.height,
        timeout_s=ReadLimits().timeout_s,
    )
    return "image/jpeg", made
