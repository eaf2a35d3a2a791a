"""results.csv: one row per file. A cell that a spreadsheet would run as a formula is made text.

OWASP, "CSV Injection": cells that begin with = + - @, a tab or a carriage return (also in full width).
"""

from __future__ import annotations

import csv
from pathlib import Path

from actors.verification.models import Criterion
from cluster.folder import printable
from cluster.report.model import Item, Report

_FORMULA = tuple("=+-@\t\r＝＋－＠|")
COLUMNS = (
    "number", "path", "contributor", "verdict", "score", "raw_score", "adjustment", "confidence",
    *(criterion.value for criterion in Criterion), "reasoning", "error_code", "duplicate_of", "duplicate_kind",
    "similarity", "media_type", "size", "left_out", "scorer", "scorer_version", "content_hash", "contribution_id",
)  # fmt: skip


def write(report: Report, path: Path) -> None:
    """Write the report's rows, UTF-8, in order of submission."""
    # newline="": the csv module ends lines itself.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for item in report.items:
            writer.writerow(_row(report, item))


def cell(text: str | None) -> str:
    """The text as a cell that stays text: one line, nothing invisible, no formula."""
    if not text:
        return ""
    plain = printable(" ".join(text.split()))
    return f"'{plain}" if plain.startswith(_FORMULA) else plain


def _row(report: Report, item: Item) -> list[str | int]:
    marks = {mark.criterion: mark.value for mark in item.marks}
    original = report.by_number.get(item.original) if item.original is not None else None
    return [
        item.number, cell(item.path), cell(item.contributor), item.verdict, _number(item.score),
        _number(item.raw_score), _number(item.adjustment), _number(item.confidence),
        *(_number(marks.get(criterion.value)) for criterion in Criterion), cell(item.reasoning),
        cell(item.error_code), cell(original.path if original else None), cell(item.duplicate_kind),
        _number(item.similarity), cell(item.media_type), item.size, cell("; ".join(item.left_out)),
        cell(item.scorer), cell(item.scorer_version), cell(item.content_hash), cell(item.contribution_id),
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}".rstrip("0").rstrip(".")
