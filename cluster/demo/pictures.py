"""Pictures of loaves for the sample, drawn from numbers: a table, a loaf, its crust and slashes. Same seed, same pixels."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Shape = Literal["round", "long", "ring", "tin"]
_Field = npt.NDArray[np.float64]


def loaf(seed: int, shape: Shape, *, width: int = 720, height: int = 540) -> Image.Image:
    """A sharp picture of one loaf on a table."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    angle = rng.uniform(-0.5, 0.5)
    cx, cy = width * rng.uniform(0.42, 0.58), height * rng.uniform(0.46, 0.58)
    u = ((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) / (width / 2)
    v = (-(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)) / (width / 2)

    picture = _table(rng, x, y, width, height)
    shadow = np.clip(1.25 - _distance(u - 0.05, v - 0.07, shape), 0, 0.5)[..., None]
    picture *= 1 - shadow
    distance = _distance(u, v, shape)
    inside = np.clip((1 - distance) * 40, 0, 1)[..., None]
    dome = np.sqrt(np.clip(1 - distance**2, 0, 1))
    light = 0.35 + 0.65 * dome * (1 - 0.5 * (u + v * 1.4))
    crust = np.array([rng.uniform(165, 205), rng.uniform(105, 135), rng.uniform(48, 75)])
    flour = _noise(rng, height, width, 5) * 0.5 + _noise(rng, height, width, 40) * 0.5
    surface = crust * (light * (0.75 + 0.5 * flour))[..., None]
    cuts = _slashes(rng, u, v, shape)[..., None]
    surface = surface * (1 - cuts) + np.array([240.0, 216.0, 172.0]) * (0.8 + 0.3 * flour[..., None]) * cuts
    picture = picture * (1 - inside) + surface * inside
    picture += rng.normal(0, 8, picture.shape)  # a camera's grain
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def chart() -> Image.Image:
    """A bar chart: a picture, and not of bread."""
    canvas = np.full((420, 640, 3), 250.0)
    canvas[40:380, 60:62] = canvas[378:380, 60:600] = 40
    for index, value in enumerate((120, 210, 90, 300, 260, 170, 230)):
        left = 90 + index * 72
        canvas[378 - value : 378, left : left + 44] = (60, 110, 190)
    return Image.fromarray(canvas.astype(np.uint8))


def blurred(picture: Image.Image, radius: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(radius))


def png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def jpeg(picture: Image.Image, quality: int = 88) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _table(rng: np.random.Generator, x: _Field, y: _Field, width: int, height: int) -> _Field:
    wood = np.array([rng.uniform(60, 190), rng.uniform(70, 160), rng.uniform(70, 150)])
    grain = np.sin((y / height * rng.uniform(8, 22) + _noise(rng, height, width, 90) * 3) * 2 * np.pi)
    planks = np.abs(((x / width * rng.integers(2, 6)) % 1) - 0.5) > 0.492
    shade = 0.85 + 0.07 * grain - 0.25 * planks + 0.25 * (1 - y / height) * rng.uniform(-1, 1)
    return np.asarray(wood * shade[..., None])


def _distance(u: _Field, v: _Field, shape: Shape) -> _Field:
    """1 on the rim of the loaf, 0 in its middle."""
    if shape == "round":
        return np.sqrt((u / 0.5) ** 2 + (v / 0.46) ** 2)
    if shape == "long":
        return np.sqrt((u / 0.78) ** 2 + (v / 0.24) ** 2)
    if shape == "ring":
        return np.abs(np.sqrt(u**2 + v**2) - 0.36) / 0.15
    return np.asarray((np.abs(u / 0.6) ** 6 + np.abs(v / 0.33) ** 6) ** (1 / 6))


def _slashes(rng: np.random.Generator, u: _Field, v: _Field, shape: Shape) -> _Field:
    if shape == "ring":  # sesame instead of slashes
        seeds = (np.sin(u * 90 + v * 31) * np.sin(v * 97 - u * 23)) > 0.72
        return seeds.astype(np.float64) * 0.8
    count = int(rng.integers(1, 5))
    lean = rng.uniform(-0.9, 0.9)
    at = np.linspace(-0.4, 0.4, count) if count > 1 else np.zeros(1)
    lines = np.min([np.abs(u - offset - lean * v) for offset in at], axis=0)
    return np.asarray(np.clip(1 - lines / 0.025, 0, 1) * np.clip(1.4 - _distance(u, v, shape) * 1.5, 0, 1))


def _noise(rng: np.random.Generator, height: int, width: int, size: int) -> _Field:
    """Smooth noise in 0–1 with spots of about `size` pixels."""
    small = rng.random((height // size + 2, width // size + 2)) * 255
    grown = Image.fromarray(small.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(grown, dtype=np.float64) / 255
