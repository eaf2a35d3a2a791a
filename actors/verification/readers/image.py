"""Images: decode wholly, measure, hash. Runs in the decoder process (`decoder.py`), never in a worker.

The perceptual hash is the classic DCT hash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions", 2010) with 16×16 low frequencies of a 64×64 grey image: one bit each, above the median or not. Shape
alone would call a red and a blue circle equal, so the colours of a 4×4 grid stand behind the bits.
"""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from actors.errors import ContentTooLargeError, UnreadableError
from actors.verification.readers.image_hash import GRID, HASH_SIDE

# We hold images to the caller's limit, in our words.
Image.MAX_IMAGE_PIXELS = None
# Blur is judged at one scale, or a large sharp photograph would pass for a blurred one.
_BLUR_SIDE = 1_024
# Variance of the Laplacian on 8-bit grey below which a photograph looks blurred (Pech-Pacheco et al., 2000; the
# value is the usual one and only makes a note).
_BLURRED = 60.0
# Standard deviation of grey below which an image shows nothing.
_FLAT = 2.0
_SMALL = 64
_DCT_SIDE = 64
_DCT = np.array(
    [[math.cos(math.pi * k * (2 * n + 1) / (2 * _DCT_SIDE)) for n in range(_DCT_SIDE)] for k in range(HASH_SIDE + 1)],
    dtype=np.float32,
)


def read_image(data: bytes, *, format_name: str, max_pixels: int) -> dict[str, Any]:
    """`{"width", "height", "notes", "left_out", "hash"}` of an image; `hash` is hex, "" for a flat image.

    Width and height are as shown, EXIF rotation applied. Raises `ContentTooLargeError` past `max_pixels` pixels
    before decoding one, `UnreadableError` for what does not decode to its end.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=[format_name]) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            if width * height > max_pixels:
                raise ContentTooLargeError(
                    f"the image has {width:,} × {height:,} = {width * height:,} pixels; the limit is {max_pixels:,}",
                    limit=max_pixels,
                )
            image.load()
            frames = _frames(image)
            shown = ImageOps.exif_transpose(image)
            return _measure(shown, frames)
    except MemoryError:
        raise
    except UnidentifiedImageError:  # its own words name an object of ours
        raise UnreadableError(f"the {format_name} image is broken: its header cannot be read") from None
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
            ArithmeticError, AssertionError, NotImplementedError, RuntimeError) as error:  # fmt: skip
        # Pillow's plugins trust the file in places: whatever they trip over, the file is at fault.
        raise UnreadableError(f"the {format_name} image is broken: {str(error)[:200]}") from None


def _frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except (EOFError, OSError, ValueError, SyntaxError):
        return 1


def _measure(image: Image.Image, frames: int) -> dict[str, Any]:
    width, height = image.size
    # Shrunk first, so that what follows costs the same for any size; transparent parts show white.
    if max(width, height) > _BLUR_SIDE:
        image = image.copy() if image.mode in {"P", "1"} else image
        image = image.convert("RGBA") if image.mode in {"P", "PA", "LA", "1"} else image
        image.thumbnail((_BLUR_SIDE, _BLUR_SIDE), Image.Resampling.BOX)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    if image.mode.startswith(("I", "F")):  # 16-bit grey: `convert` would clip it
        image = _eight_bit(image)
    colour = image.convert("RGB")
    grey = np.asarray(colour.convert("L"), dtype=np.float32)
    notes: list[str] = []
    flat = float(grey.std()) < _FLAT
    blur = laplacian_variance(grey)
    if flat:
        notes.append("the image is one flat colour")
    elif blur < _BLURRED:
        notes.append(
            f"the image looks blurred (variance of the Laplacian {blur:.0f}; sharp ones have {_BLURRED:.0f} up)"
        )
    if min(width, height) < _SMALL:
        notes.append(f"the image is small: {width} × {height} pixels")
    left_out = [f"frames 2–{frames:,} of the animation"] if frames > 1 else []
    return {
        "width": width, "height": height, "notes": notes, "left_out": left_out, "blur": blur,
        "hash": "" if flat else _hash(colour).hex(),
    }  # fmt: skip


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    top = 65_535.0 if values.max(initial=0.0) > 255 else 255.0
    return Image.fromarray(np.clip(values / top * 255, 0, 255).astype(np.uint8))


def laplacian_variance(grey: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    """Variance of the 4-neighbour Laplacian of a grey image (0–255): the less, the more blurred."""
    if min(grey.shape) < 3:
        return 0.0
    middle = grey[1:-1, 1:-1]
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle
    return float(edges.var())


def _hash(colour: Image.Image) -> bytes:
    small = colour.convert("L").resize((_DCT_SIDE, _DCT_SIDE), Image.Resampling.LANCZOS)
    frequencies = _DCT @ np.asarray(small, dtype=np.float32) @ _DCT.T
    # Row and column 0 are mean brightness and its drift: they say little of the shape.
    low = frequencies[1:, 1:].ravel()
    bits = np.packbits(low > np.median(low))
    grid = np.asarray(colour.resize((GRID, GRID), Image.Resampling.BOX), dtype=np.uint8)
    return bits.tobytes() + grid.tobytes()
