"""A brief, contents and quick retries that the scorer tests share."""

from __future__ import annotations

import hashlib
import io
from typing import TypeVar

from PIL import Image

from actors.verification.models import Brief, Content, Score
from actors.verification.scorers.retrying import RetryPolicy
from storage.errors import HyvveError

BRIEF = Brief(
    title="Bread recipes",
    description="Home bread recipes with weights in grams",
    data_requirements=("one recipe per file", "weights in grams"),
    quality_criteria=("complete steps",),
)
QUICK = RetryPolicy(retries=2, base_s=0.01, cap_s=0.02, patience_s=5.0)

E = TypeVar("E", bound=HyvveError)


def text(body: str = "Mix 500 g of flour with 350 g of water, wait a night, bake.") -> Content:
    digest = hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
    return Content(content_hash=digest, kind="text", media_type="text/plain", size=len(body), text=body)


def image(width: int = 60, height: int = 40, kind: str = "PNG") -> Content:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "tan").save(out, kind)
    data = out.getvalue()
    return Content(
        content_hash=hashlib.sha256(data).hexdigest(),
        kind="image",
        media_type=f"image/{kind.lower()}",
        size=len(data),
        image=data,
        width=width,
        height=height,
    )


def scored(outcome: Score | HyvveError) -> Score:
    assert isinstance(outcome, Score), outcome
    return outcome


def failed(outcome: Score | HyvveError, kind: type[E]) -> E:
    assert isinstance(outcome, HyvveError), outcome
    assert type(outcome) is kind, repr(outcome)
    return outcome
