"""The nouns of verification. Plain frozen values: they travel between Ray workers and into agents' state."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal
from uuid import UUID

BULLET_SEPARATOR = "|||"


class Criterion(StrEnum):
    """What a contribution is marked on, each 0–100."""

    ACCURACY = "accuracy"
    ALIGNMENT = "alignment"
    RELEVANCE = "relevance"
    COMPLETENESS = "completeness"
    LANGUAGE = "language"
    ORIGINALITY = "originality"


class Verdict(StrEnum):
    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    REVIEW = "REVIEW"  # a person decides
    ERROR = "ERROR"  # nothing could judge; never a score


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What decides between verdicts: the score to reach, the points around it that are too close to call, and how sure
    a scorer must be to decide alone, 0–1.
    """

    required_score: float
    review_margin: float
    min_confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What the campaign asks for: the only thing a contribution is judged against.

    `thresholds` are those calibrated by reviewers' decisions, where there are any: they say what a score comes to, and
    no scorer sees them.
    """

    title: str
    description: str
    data_requirements: tuple[str, ...]
    quality_criteria: tuple[str, ...]
    campaign_type: str = "default"
    required_score: float = 70.0
    thresholds: Thresholds | None = None

    @property
    def accepted_from(self) -> float:
        """The score that decides: the calibrated one, where there is one."""
        return self.required_score if self.thresholds is None else self.thresholds.required_score

    @staticmethod
    def bullets(prose: str) -> tuple[str, ...]:
        """The bullets of a `|||`-joined text, stripped, empty ones dropped."""
        return tuple(part for raw in prose.split(BULLET_SEPARATOR) if (part := raw.strip()))

    @property
    def digest(self) -> str:
        """Sha-256 over what a scorer sees: part of the score cache's key, so a changed brief is scored anew."""
        parts = (
            self.title, self.description, "\x1e".join(self.data_requirements), "\x1e".join(self.quality_criteria),
            self.campaign_type, repr(self.required_score),
        )  # fmt: skip
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


ContentKind = Literal["text", "image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A contribution as read. `kind` text: `text` holds it all, up to the token budget; PDFs and CSVs are text too.

    `kind` image: `image` holds the bytes, `width` and `height` pixels, and `text` is "". `left_out` says, in
    sentences, what the budget dropped. `notes` says what a judge should know (blurred, mixed scripts, …).
    """

    content_hash: str  # sha-256 of the bytes, hex
    kind: ContentKind
    media_type: str
    size: int
    text: str = ""
    image: bytes = b""
    width: int = 0
    height: int = 0
    image_hash: bytes = b""  # perceptual, made where the image is decoded (readers/image.py); b"" for a flat image
    language: str | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    criterion: Criterion
    value: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A scorer's judgement. `total` 0–100, `confidence` 0–1, `usage` counts tokens and calls.

    `marks` may be empty where the scorer cannot judge this kind (`confidence` is then 0 and a person decides).
    `partial`: who else should have judged could not this time, so it stands for this time alone.
    """

    marks: tuple[Mark, ...]
    total: float
    confidence: float
    reasoning: str
    scorer: str
    scorer_version: str
    usage: dict[str, int] = field(default_factory=dict)
    partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """An earlier contribution of the same campaign with equal (`exact`) or near-equal (`near`) content."""

    contribution_id: UUID
    contributor: str
    kind: Literal["exact", "near"]
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one contribution. `score` is the adjusted total; `None` on ERROR."""

    verdict: Verdict
    reasoning: str
    score: float | None = None
    raw_score: float | None = None
    adjustment: float | None = None
    confidence: float | None = None
    error_code: str | None = None
