"""What AthenaV2's agents share: the case before them, what they found, and the scratchpad on which they signal."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypedDict

from actors.verification.models import Brief, Content, Decision, Duplicate, Score
from storage.errors import HyvveError


class Signal(StrEnum):
    """What an agent says when it is done; the graph's edges route on the last one."""

    TEXT_READY = "TEXT_READY"
    IMAGE_READY = "IMAGE_READY"
    DUPLICATE = "DUPLICATE"  # equal content was submitted earlier: no score is needed
    UNREADABLE = "UNREADABLE"
    SCORED = "SCORED"
    SCORING_FAILED = "SCORING_FAILED"
    DECIDED = "DECIDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One entry of the scratchpad: which agent used which tool for how long, how it ended, and what it noted."""

    agent: str
    tool: str
    signal: Signal
    note: str
    seconds: float


class AthenaState(TypedDict, total=False):
    """`data` to `duplicate` are given; each agent adds what it found and one `Step`."""

    brief: Brief
    data: bytes
    file_name: str | None
    declared_type: str | None
    contributor: str
    duplicate: Duplicate | None
    content: Content | None
    score: Score | None
    error: HyvveError | None
    decision: Decision
    scratchpad: Annotated[list[Step], operator.add]
