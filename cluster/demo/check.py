"""Whether a verification of the sample came to the right verdicts, class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.demo.sample import Sample
from cluster.folder import printable
from cluster.report.model import VERDICTS, Item, Report

# Of the good ones this share must be accepted; the rest may be left to a person.
GOOD_SHARE = 0.8
# What a class is, to somebody who has not read the code; in the order in which it is shown.
ABOUT = {
    "good": "good recipes",
    "thin": "thin: too little to be of use",
    "off_topic": "about something else",
    "exact_duplicate": "copies, byte for byte",
    "near_duplicate": "copies in disguise",
    "language": "other languages and scripts",
    "image": "pictures (no vision model here)",
    "corrupt": "broken or cut off",
    "empty": "empty",
    "hostile": "hostile: bombs, lies, injections",
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """One file whose verdict is not right, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClassOutcome:
    kind: str
    verdicts: dict[str, int]
    wrong: tuple[Wrong, ...]

    @property
    def count(self) -> int:
        return sum(self.verdicts.values())


def outcomes(samples: Sequence[Sample], report: Report) -> list[ClassOutcome]:
    """What became of each class of the sample. Every sample must have an item."""
    items = {item.path: item for item in report.items}
    return [
        _outcome(kind, [(sample, items[printable(sample.path)]) for sample in samples if sample.kind == kind], report)
        for kind in ABOUT
    ]


def _outcome(kind: str, pairs: Sequence[tuple[Sample, Item]], report: Report) -> ClassOutcome:
    verdicts = Counter(item.verdict for _, item in pairs)
    wrong = [found for sample, item in pairs if (found := _wrong(sample, item, report)) is not None]
    if kind == "good" and verdicts["ACCEPT"] < GOOD_SHARE * len(pairs):
        wrong.append(Wrong("good", f"{verdicts['ACCEPT']} of {len(pairs)} are accepted, fewer than {GOOD_SHARE:.0%}"))
    return ClassOutcome(kind, {verdict: verdicts[verdict] for verdict in VERDICTS if verdicts[verdict]}, tuple(wrong))


def _wrong(sample: Sample, item: Item, report: Report) -> Wrong | None:
    if item.verdict not in sample.right:
        return Wrong(item.path, f"{item.verdict} instead of {' or '.join(sample.right)}: {item.reasoning}")
    if sample.duplicate_of is not None:
        original = report.by_number.get(item.original or 0)
        if original is None or original.path != printable(sample.duplicate_of):
            return Wrong(item.path, f"named as a copy of {original.path if original else 'nothing'}")
        if sample.kind == "exact_duplicate" and item.duplicate_kind != "exact":
            return Wrong(item.path, "not named as an exact copy")
    elif item.original is not None:
        return Wrong(item.path, f"named as a copy of {report.by_number[item.original].path}, which it is not")
    return None
