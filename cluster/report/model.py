"""What a report shows: plain values, in order of submission, made from rows and files by `cluster/verify.py`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from cluster.brief import BriefFile
from serve.shown.amounts import coins

VERDICTS = ("ACCEPT", "REVIEW", "REJECT", "ERROR")
# What each verdict means to a reader.
MEANING = {
    "ACCEPT": "meets the brief: pay it",
    "REVIEW": "a person should look",
    "REJECT": "does not meet the brief",
    "ERROR": "could not be judged",
}


@dataclass(frozen=True, slots=True)
class Mark:
    criterion: str
    value: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a reader sees of a contribution. `text` is its beginning; `image` a data: URI made by us, not its bytes."""

    text: str = ""
    shortened: bool = False
    image: str | None = None
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file and what became of it. `original` is the number of the earlier item that it repeats."""

    number: int
    path: str
    contributor: str
    size: int
    verdict: str
    reasoning: str
    contribution_id: str | None = None
    score: float | None = None
    raw_score: float | None = None
    adjustment: float | None = None
    confidence: float | None = None
    marks: tuple[Mark, ...] = ()
    scorer: str | None = None
    scorer_version: str | None = None
    content_hash: str | None = None
    media_type: str | None = None
    left_out: tuple[str, ...] = ()
    error_code: str | None = None
    original: int | None = None
    duplicate_kind: str | None = None
    similarity: float | None = None
    preview: Preview | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributor:
    name: str
    files: int
    verdicts: dict[str, int]
    mean_score: float | None
    duplicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`items` are sorted by number, which counts from 1; `skipped` are `(path, reason)` of what was not taken in."""

    brief: BriefFile
    folder: str
    campaign: str
    batch: str
    items: tuple[Item, ...]
    state: str = "completed"
    skipped: tuple[tuple[str, str], ...] = ()
    hidden: int = 0
    finished_at: datetime
    seconds: float
    version: str = ""
    by_number: dict[int, Item] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_number.update({item.number: item for item in self.items})

    @property
    def counts(self) -> dict[str, int]:
        """How many of each verdict, all four named."""
        found = Counter(item.verdict for item in self.items)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def errors(self) -> list[tuple[str, int]]:
        """Error codes with their counts, the most frequent first."""
        return Counter(item.error_code or "unknown" for item in self.items if item.verdict == "ERROR").most_common()

    @property
    def duplicates(self) -> list[Item]:
        return [item for item in self.items if item.original is not None]

    @property
    def scorers(self) -> list[str]:
        return sorted({f"{item.scorer} {item.scorer_version or ''}".strip() for item in self.items if item.scorer})

    @property
    def payout(self) -> str:
        """What the accepted contributions cost, in coins, exact."""
        return coins(self.counts["ACCEPT"] * self.brief.unit_price)

    @property
    def contributors(self) -> list[Contributor]:
        """Per contributor, those with most accepted files first."""
        groups: dict[str, list[Item]] = {}
        for item in self.items:
            groups.setdefault(item.contributor, []).append(item)
        found = [_contributor(name, items) for name, items in groups.items()]
        return sorted(found, key=lambda each: (-each.verdicts["ACCEPT"], -(each.mean_score or 0.0), each.name))


def _contributor(name: str, items: list[Item]) -> Contributor:
    verdicts = Counter(item.verdict for item in items)
    scores = [item.score for item in items if item.score is not None]
    return Contributor(
        name=name,
        files=len(items),
        verdicts={verdict: verdicts[verdict] for verdict in VERDICTS},
        mean_score=sum(scores) / len(scores) if scores else None,
        duplicates=sum(item.original is not None for item in items),
    )
