"""Images as vision models take them: a type they all know, and no larger than they look at."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from actors.verification.models import Content

ACCEPTED = frozenset({"image/jpeg", "image/png", "image/webp"})
# Providers scale down to about this; more pixels are paid for and not seen.
MAX_SIDE = 2048
MAX_BYTES = 4 * 1024 * 1024


def presentable(content: Content) -> tuple[str, bytes]:
    """(media type, bytes) to send: as they are where that fits, else a JPEG within `MAX_SIDE`. CPU-bound."""
    fits = max(content.width, content.height) <= MAX_SIDE and len(content.image) <= MAX_BYTES
    if fits and content.media_type in ACCEPTED:
        return content.media_type, content.image
    with Image.open(io.BytesIO(content.image)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGBA")
        upright.thumbnail((MAX_SIDE, MAX_SIDE))
        # JPEG has no transparency: on white, as a page shows it.
        flat = Image.new("RGB", upright.size, "white")
        flat.paste(upright, mask=upright.getchannel("A"))
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=90)
    return "image/jpeg", out.getvalue()
