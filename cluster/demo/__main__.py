"""`make demo`: a sample campaign verified on this machine, start to finish, in a folder of its own.

`python -m cluster.demo [DIR]` (default `./hyvve-demo`) needs no configuration: PostgreSQL, Redis and Ray are embedded
whatever the environment says, and the scorer is the local one unless HYVVE_SCORER names another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster import brief, folder, summary
from cluster.demo import check, sample
from cluster.settings import Settings
from cluster.verify import Outcome, verify
from storage.errors import HyvveError

# The demo is the same everywhere: it touches no database, cluster or blob store that somebody configured.
_NOT_OURS = ("SQLALCHEMY_DATABASE_URL", "REDIS_URL", "RAY_ADDRESS", "HYVVE_BLOB_STORE")


def run(directory: Path, environ: Mapping[str, str], console: Console) -> tuple[Outcome, list[check.ClassOutcome]]:
    """Write the sample, verify it, show what came of it. Raises `HyvveError`."""
    samples = sample.write(directory)
    contributions, brief_file = directory / "contributions", directory / "brief.toml"
    asked = brief.load(brief_file)
    found = folder.scan(contributions)
    _introduce(console, asked, found, directory)
    environ = {name: value for name, value in environ.items() if name not in _NOT_OURS}
    environ["HYVVE_DATA_DIR"] = str(directory / "data")
    outcome = verify(
        found, asked, Settings.from_environment(environ), environ, out=directory, console=console
    )  # fmt: skip
    summary.show(console, outcome.report, files=outcome.files)
    classes = check.outcomes(samples, outcome.report)
    _compare(console, classes)
    _what_next(console, directory, outcome)
    return outcome, classes


def _introduce(console: Console, asked: brief.BriefFile, found: folder.Folder, directory: Path) -> None:
    console.rule("[bold]Hyvve demo")
    console.print(Text.assemble("\nA creator opened a campaign, ", (asked.title, "bold"), ", and asks for"))
    bullets = Table.grid(padding=(0, 1))
    for text in asked.data_requirements:
        bullets.add_row("  ·", text)
    console.print(bullets)
    console.print(
        f"{len(found.files)} files came in from {found.contributors} wallets: good, thin, off-topic, copied, broken and "
        "hostile ones. Which should be paid? This machine judges them all now, as a Ray cluster of one; no key and no "
        "network needed."
    )
    console.print(
        Text(
            f"Input: {directory / 'contributions'} and {directory / 'brief.toml'}. Data: {directory / 'data'}.\n", "dim"
        ),
        soft_wrap=True,
    )


def _compare(console: Console, classes: Sequence[check.ClassOutcome]) -> None:
    """The sample knows what each file is; a real campaign does not."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("handed in", "files", "verdicts", "right?"):
        table.add_column(column, justify="right" if column == "files" else "left")
    for each in classes:
        table.add_row(
            check.ABOUT[each.kind],
            str(each.count),
            ", ".join(f"{count} {verdict}" for verdict, count in each.verdicts.items()),
            Text("yes", "green") if not each.wrong else Text(f"{len(each.wrong)} not", "bold red"),
        )
    console.print("\n[bold]Was that right?[/] The sample knows what each file is:\n")
    console.print(table)
    for each in classes:
        for wrong in each.wrong:
            console.print(Text(f"  {wrong.path}: {wrong.reason}", "red"))


def _what_next(console: Console, directory: Path, outcome: Outcome) -> None:
    command = Path(sys.executable).with_name("hyvve")
    shown = str(command.relative_to(Path.cwd())) if command.is_relative_to(Path.cwd()) else "hyvve"
    console.print("\n[bold]Where to look next")
    for what, why in (
        (str(outcome.page), "why each file got its verdict; copies side by side (open it in a browser)"),
        (str(outcome.table), "the same as a table"),
        (f"{shown} verify FOLDER --brief BRIEF.toml", "your own files; a sub-folder is a contributor"),
        (str(directory / "brief.toml"), "what a brief looks like"),
        (f"{shown} up --data-dir {directory / 'data'}", "the API over this campaign, until Ctrl-C"),
    ):
        console.print(Text.assemble("  ", (what, "cyan")), soft_wrap=True)
        console.print(Text(f"      {why}", "dim"), soft_wrap=True)


def main() -> int:
    """Entry of `python -m cluster.demo`."""
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        sys.stderr.write("usage: python -m cluster.demo [DIR]\n")
        return 2
    directory = Path(sys.argv[1] if len(sys.argv) == 2 else "hyvve-demo")
    console = Console(highlight=False)
    try:
        outcome, _ = run(directory, os.environ, console)
    except HyvveError as error:
        Console(stderr=True, highlight=False).print(Text(error.message, "bold red"), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted: what was started is stopped.", style="yellow")
        return 130
    return 0 if outcome.report.state == "completed" else 1


if __name__ == "__main__":
    sys.exit(main())
