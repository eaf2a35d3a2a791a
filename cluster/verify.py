"""`hyvve verify FOLDER --brief FILE`: any folder of files judged on the cluster, with a report that explains itself.

Each run is a campaign of its own, so running it again on the same folder is always possible; scores of contents that
have not changed come from the score cache then. It joins the Hyvve that runs in the data directory, or starts what it
needs, without the API and so without a port, and stops that when it is done or interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from actors.verification.scorers.registry import open_scorer
from cluster import findings, judging
from cluster.brief import BriefFile
from cluster.errors import ClusterError
from cluster.folder import Folder
from cluster.intake import Intake, take_in
from cluster.launch import Launch
from cluster.locks import is_held
from cluster.report import page, results_csv
from cluster.report.model import Report
from cluster.settings import Settings
from cluster.state import State
from storage import verifications
from storage.blobs.open import open_store
from storage.clock import now
from storage.engine import Database
from storage.errors import HyvveError

# How often the batch is looked at; counting a large one's rows takes longer than that is worth more often.
_LOOK_S, _LOOK_LARGE_S, _LARGE = 0.25, 2.0, 5_000
# How long an interrupted batch may take to stop.
_CANCEL_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a verification came to, and the files that say so."""

    report: Report
    page: Path
    table: Path

    @property
    def files(self) -> tuple[Path, Path]:
        return self.page, self.table


def verify(
    folder: Folder, brief: BriefFile, settings: Settings, environ: Mapping[str, str], *, out: Path, console: Console
) -> Outcome:
    """Judge the folder against the brief and write the report into `out`. `console` shows how far it is.

    Raises `HyvveError` for what keeps it from being done. An interrupt cancels the batch, stops what was started, and
    goes on as `KeyboardInterrupt`.
    """
    _require_scorer(settings)
    _require_writable(out)
    with _terminated_as_interrupted(), _running(settings, environ, console):
        return asyncio.run(_verify(folder, brief, settings, out=out, console=console))


async def _verify(folder: Folder, brief: BriefFile, settings: Settings, *, out: Path, console: Console) -> Outcome:
    database = Database(settings.storage.database_url, pool_size=4)
    store = open_store(settings.storage)
    limits = settings.actors.verification.read
    progress = _progress(console)
    try:
        with progress:
            storing = progress.add_task("Taking in", total=len(folder.files))
            intake = await take_in(
                database, store, folder, brief, max_bytes=limits.max_bytes,
                advance=lambda count: progress.advance(storing, count),
            )  # fmt: skip
            began = time.monotonic()
            await _judged(database, intake, settings, progress)
            seconds = time.monotonic() - began
            showing = progress.add_task("Report", total=None)
            report = await findings.report(
                database, folder, brief, intake, limits=limits, seconds=seconds, finished_at=now(),
                version=version("hyvve"), advance=lambda count: progress.advance(showing, count),
            )  # fmt: skip
            page_file, table_file = await asyncio.to_thread(_write, report, out)
            progress.update(showing, total=1, completed=1)
    finally:
        await store.close()
        await database.close()
    return Outcome(report=report, page=page_file, table=table_file)


async def _judged(database: Database, intake: Intake, settings: Settings, progress: Progress) -> None:
    """Returns when the batch has ended. A batch of this process that is interrupted is cancelled."""
    assert intake.batch_id is not None
    total = len(intake.indexes)
    judging = progress.add_task("Verifying", total=total)
    try:
        while True:
            async with database.read() as session:
                batch = await verifications.batch(session, intake.batch_id)
                found = await verifications.progress(session, intake.batch_id)
            progress.update(judging, completed=found.judged, verdicts=found.verdicts)
            if batch.state not in verifications.UNFINISHED:
                break
            _require_alive(settings)
            await asyncio.sleep(_LOOK_S if total < _LARGE else _LOOK_LARGE_S)
    except asyncio.CancelledError:
        with contextlib.suppress(HyvveError, OSError, TimeoutError):
            await asyncio.wait_for(_cancel(database, intake.batch_id), _CANCEL_S)
        raise
    if batch.state == "failed":
        raise ClusterError(f"the batch failed: {batch.error or 'no reason was given'}", subject=str(batch.batch_id))


async def _cancel(database: Database, batch_id: UUID) -> None:
    async with database.begin() as session:
        await verifications.request_cancel(session, batch_id)
    while True:
        async with database.read() as session:
            if (await verifications.batch(session, batch_id)).state not in verifications.UNFINISHED:
                return
        await asyncio.sleep(_LOOK_S)


def _write(report: Report, out: Path) -> tuple[Path, Path]:
    page_file, table_file = out / "report.html", out / "results.csv"
    page_file.write_text(page.render(report), encoding="utf-8")
    results_csv.write(report, table_file)
    return page_file, table_file


@contextlib.contextmanager
def _running(settings: Settings, environ: Mapping[str, str], console: Console) -> Iterator[None]:
    """Something that drives batches runs in the data directory while the block does."""
    directory = settings.directory
    if is_held(directory.lock):
        _require_same(settings, State.read(directory.state))
        console.print("Using the Hyvve that runs in this data directory.", style="dim")
        yield
        return
    launch = Launch(settings, environ, migrate=False, api=False)
    try:
        with console.status("Starting PostgreSQL, Redis and Ray; this takes some seconds"):
            began = time.monotonic()
            for state in launch.progress():
                if state.phase == "ready":
                    break
            else:
                raise ClusterError(f"what verifies stopped while starting; see {directory.logs / 'up.log'}")
        console.print(f"Started PostgreSQL, Redis and Ray in {time.monotonic() - began:.1f} s.", style="dim")
        yield
    finally:
        launch.stop()
        with console.status("Stopping what was started"), contextlib.suppress(ClusterError):
            for _ in launch.progress():
                pass


def _require_same(settings: Settings, state: State | None) -> None:
    """The running Hyvve must judge as asked, and into the database that we read."""
    root = settings.directory.root
    if state is None or state.phase != "ready":
        raise ClusterError(f"the Hyvve in {root} is starting or stopping: wait for it, or use another --data-dir")
    if state.api_url is None:
        raise ClusterError(
            f"another `hyvve verify` runs in {root}: wait for it, use another --data-dir, or run `hyvve up`, which "
            "many can use at once"
        )
    if differ := judging.differences(state.judges_by, judging.described(settings)):
        told = "; ".join(
            f"{name} is {theirs or 'unset'} there and {ours or 'unset'} here" for name, theirs, ours in differ
        )
        raise ClusterError(
            f"the Hyvve that runs in {root} judges otherwise: {told}. Set what differs as it was for `hyvve up`, stop "
            "that with `hyvve down`, or use another --data-dir",
            differ=[name for name, _, _ in differ],
        )


def _require_alive(settings: Settings) -> None:
    if not is_held(settings.directory.lock):
        state = State.read(settings.directory.state)
        raise ClusterError(
            f"what verifies has stopped{f': {state.error}' if state and state.error else ''}; see "
            f"{settings.directory.logs / 'up.log'}. The batch goes on when `hyvve up` runs"
        )


def _require_scorer(settings: Settings) -> None:
    """A missing key or extra is told now, and not once per file. Raises `MissingKeyError` or `MissingExtraError`."""

    async def try_it() -> None:
        await open_scorer(settings.actors.verification.scorer, redis_url=None).close()

    asyncio.run(try_it())


def _require_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("report.html", "results.csv"):
            (out / name).open("ab").close()
    except OSError as error:
        raise ClusterError(
            f"the report cannot be written to {out} ({error.strerror}); set --out", subject=str(out)
        ) from (error)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM stops what was started, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Rate(ProgressColumn):
    """Files a second since the first was judged."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", "dim")


class _Verdicts(ProgressColumn):
    def render(self, task: Task) -> Text:
        verdicts: dict[str, int] = task.fields.get("verdicts", {})
        return Text("  ".join(f"{name.lower()} {count:,}" for name, count in sorted(verdicts.items())), "dim")


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), _Rate(),
        TimeRemainingColumn(), _Verdicts(), console=console,
    )  # fmt: skip
