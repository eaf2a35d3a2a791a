"""What `hyvve verify` says when it is done: a table for people, a document for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.folder import printable
from cluster.report.items import Names
from cluster.report.model import MEANING, Item, Report
from serve.shown.amounts import coins

_COLOURS = {"ACCEPT": "green", "REVIEW": "yellow", "REJECT": "red", "ERROR": "bright_black"}
_BEST = 3
_LISTED = 6
_BAR = 30


def show(console: Console, report: Report, *, files: tuple[Path, Path]) -> None:
    """Print the counts, the best and worst, duplicates and errors, and where the rest is."""
    console.print()
    console.print(Text(report.brief.title, "bold"))
    rate = len(report.items) / report.seconds if report.seconds else 0.0
    console.print(
        Text(
            f"{len(report.items):,} files of {len(report.contributors):,} contributors judged in {report.seconds:.1f} s"
            f" ({rate:,.{0 if rate >= 10 else 1}f} a second) by {', '.join(report.scorers) or 'no scorer'}",
            "dim",
        )
    )
    console.print()
    console.print(_verdicts(report))
    if report.brief.unit_price:
        console.print(
            Text(
                f"To pay: {report.counts['ACCEPT']:,} × {coins(report.brief.unit_price)} = {report.payout} coins",
                "bold",
            )
        )
    names = Names(report)
    scored = sorted((item for item in report.items if item.score is not None), key=lambda item: -(item.score or 0.0))
    if scored:
        _list(console, "Best and worst scores", [*scored[:_BEST], *scored[_BEST:][-_BEST:]], names)
    _duplicates(console, report)
    _errors(console, report)
    if report.skipped:
        console.print(Text(f"\nNot taken in ({len(report.skipped):,})", "bold"))
        for path, reason in report.skipped[:_LISTED]:
            console.print(Text(f"  {path}: {reason}"), soft_wrap=True)
    page, table = files
    console.print()
    console.print(Text.assemble(("Report   ", "bold"), (str(page), "cyan"), "  (open it in a browser)"), soft_wrap=True)
    console.print(Text.assemble(("Results  ", "bold"), (str(table), "cyan"), "  (one row per file)"), soft_wrap=True)


def document(report: Report, *, files: tuple[Path, Path]) -> dict[str, Any]:
    """The outcome for programs; every file's row is in results.csv."""
    return {
        "campaign": report.campaign,
        "batch": report.batch,
        "state": report.state,
        "files": len(report.items),
        "contributors": len(report.contributors),
        "verdicts": report.counts,
        "errors": dict(report.errors),
        "duplicates": len(report.duplicates),
        "skipped": [{"path": path, "reason": reason} for path, reason in report.skipped],
        "seconds": round(report.seconds, 3),
        "report": str(files[0]),
        "results": str(files[1]),
    }


def _verdicts(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    total = len(report.items) or 1
    for verdict, count in report.counts.items():
        # At least one block for what is there at all.
        length = max(round(_BAR * count / total), 1) if count else 0
        table.add_row(
            Text(verdict, f"bold {_COLOURS[verdict]}"),
            Text(f"{count:,}", "bold", justify="right"),
            Text("█" * length, _COLOURS[verdict]),
            Text(f"{MEANING[verdict]}", "dim"),
        )
    return table


def _list(console: Console, title: str, items: list[Item], names: Names) -> None:
    console.print(Text(f"\n{title}", "bold"))
    for item in items:
        score = f"{item.score:5.1f}" if item.score is not None else "    –"
        console.print(
            Text.assemble("  ", (score, "bold"), "  ", (f"{item.verdict:<6}", _COLOURS[item.verdict]), "  ", item.path),
            soft_wrap=True,
        )
        reason = Text(f"                 {printable(names.named(item.reasoning))}", "dim")
        console.print(reason, no_wrap=True, overflow="ellipsis")


def _duplicates(console: Console, report: Report) -> None:
    found = [item for item in report.duplicates if item.original in report.by_number]
    if not found:
        return
    console.print(Text(f"\nDuplicates ({len(found):,})", "bold"))
    for item in found[:_LISTED]:
        original = report.by_number[item.original or 0]
        likeness = "equals" if item.duplicate_kind == "exact" else f"is {int((item.similarity or 0) * 100)} % like"
        console.print(Text.assemble("  ", item.path, (f" {likeness} ", "dim"), original.path), soft_wrap=True)
    _more(console, len(found))


def _errors(console: Console, report: Report) -> None:
    if not report.errors:
        return
    console.print(Text("\nErrors by reason", "bold"))
    for code, count in report.errors[:_LISTED]:
        example = next(
            item for item in report.items if item.verdict == "ERROR" and (item.error_code or "unknown") == code
        )
        console.print(Text.assemble(f"  {count:>4,}  {code}", (f"  e.g. {example.path}", "dim")), soft_wrap=True)
    _more(console, len(report.errors))


def _more(console: Console, count: int) -> None:
    if count > _LISTED:
        console.print(Text(f"  and {count - _LISTED:,} more in the report", "dim"))
