"""The layout of an image's perceptual hash, which `image.py` makes (in the decoder) and `duplicates.py` compares."""

from __future__ import annotations

HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
HASH_BYTES = HASH_BITS // 8
# Behind the bits: red, green, blue of each cell of a GRID × GRID picture, row by row.
GRID = 4
COLOUR_BYTES = GRID * GRID * 3
