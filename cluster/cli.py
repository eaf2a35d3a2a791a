"""The `hyvve` command. Each subcommand says in one red sentence what went wrong, and exits with 1."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cluster.health import HealthWatch
from cluster.launch import Launch, down, status
from cluster.screen import LiveStatus, Screen, print_addresses, print_status, status_document
from cluster.settings import Settings
from storage.errors import HyvveError

app = typer.Typer(
    name="hyvve",
    help="Verify a marketplace's contributions on a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="As HYVVE_DATA_DIR.", show_default=False)]
Port = Annotated[int | None, typer.Option("--port", help="As HYVVE_PORT.", show_default=False)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]


def environment(*, data_dir: Path | None = None, port: int | None = None) -> dict[str, str]:
    """The process's environment, with what the command line says put over it."""
    given = {"HYVVE_DATA_DIR": data_dir, "HYVVE_PORT": port}
    return {**os.environ, **{name: str(value) for name, value in given.items() if value is not None}}


@contextlib.contextmanager
def told(*, debug: bool) -> Iterator[None]:
    """Failures become one sentence and exit code 1."""
    try:
        yield
    except HyvveError as error:
        if debug:
            # The supervisor's, where it failed there.
            _err.print(error.details.get("traceback") or traceback.format_exc(), markup=False, soft_wrap=True)
        _err.print(f"[bold red]{_sentence(error)}[/]", soft_wrap=True)
        raise typer.Exit(1) from None


def _sentence(error: HyvveError) -> str:
    from rich.markup import escape  # noqa: PLC0415

    text = error.message[:1].upper() + error.message[1:]
    return escape(text if text.endswith((".", "?", "`")) else f"{text}.")


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it answers; it goes on.")] = False,
    migrate: Annotated[bool, typer.Option("--migrate", help="Migrate a database that is not embedded, too.")] = False,
    data_dir: DataDir = None,
    port: Port = None,
    debug: Debug = False,
) -> None:
    """Start everything and show it; Ctrl-C stops it. With --detach it runs on until `hyvve down`."""
    environ = environment(data_dir=data_dir, port=port)
    with told(debug=debug):
        settings = Settings.from_environment(environ)
        _watch(Launch(settings, environ, migrate=migrate), settings, detach=detach)


def _watch(launch: Launch, settings: Settings, *, detach: bool) -> None:
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        launch.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    ready = False
    progress = launch.progress()
    with Screen(_out) as screen:
        for state in progress:
            screen.show(state)
            if state.phase == "ready":
                ready = True
                break
    if ready and not stopping:
        print_addresses(_out, state)
        if detach:
            launch.let_go()
            _out.print("Runs on; see `hyvve status`, stop it with `hyvve down`.", markup=False)
            return
        _out.print("Ctrl-C stops it.", style="dim")
        health = HealthWatch(settings, str(state.api_url))
        health.begin()
        with LiveStatus(_out) as live:
            for state in progress:
                stopping = stopping or state.phase == "stopping"
                if stopping:
                    break
                live.show(state, health.latest)
    with _out.status("stopping") if _out.is_terminal else contextlib.nullcontext():
        for _ in progress:
            pass
    _out.print("Stopped; the data is kept.", style="dim")


@app.command(name="status")
def show_status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Say what runs in this data directory. Exit code 0: it runs; 3: it does not; 4: it runs, and a part does not."""
    with told(debug=debug):
        found = status(Settings.from_environment(environment(data_dir=data_dir)).directory)
    if as_json:
        _out.print_json(data=status_document(found))
    else:
        print_status(_out, found)
    if found.phase in ("stopped", "broken"):
        raise typer.Exit(3)
    if found.troubles:
        raise typer.Exit(4)


@app.command(name="down")
def stop_all(*, data_dir: DataDir = None, debug: Debug = False) -> None:
    """Stop everything that `up` started in this data directory. The data is kept."""
    with told(debug=debug):
        settings = Settings.from_environment(environment(data_dir=data_dir))
        with _out.status("stopping") if _out.is_terminal else contextlib.nullcontext():
            ran = down(settings)
    _out.print("Stopped; the data is kept." if ran else "Nothing was running here.")


@app.command(name="migrate")
def migrate_database(*, data_dir: DataDir = None, debug: Debug = False) -> None:
    """Bring the database's schema to what this version needs. Safe to run twice, or from several machines."""
    from cluster.migrate import migrate  # noqa: PLC0415 - brings SQLAlchemy and Alembic

    with told(debug=debug):
        revision = migrate(Settings.from_environment(environment(data_dir=data_dir)))
    _out.print(f"The database is at revision {revision}.")


@app.command(name="verify")
def verify_folder(
    folder: Annotated[Path, typer.Argument(help="Files to judge; a sub-folder is a contributor.", show_default=False)],
    *,
    brief: Annotated[Path, typer.Option("--brief", "-b", help="What is asked for, a TOML file.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.html and results.csv.")] = Path(
        "hyvve-report"
    ),
    scorer: Annotated[str | None, typer.Option("--scorer", help="As HYVVE_SCORER.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome for programs.")] = False,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Judge a folder of files against a brief; write report.html and results.csv.

    Uses the Hyvve that runs in the data directory, or starts what it needs and stops it when done. Each run is a
    campaign of its own.
    """
    from cluster import brief as briefs  # noqa: PLC0415 - half a second that other subcommands need not wait
    from cluster import folder as folders  # noqa: PLC0415
    from cluster import summary  # noqa: PLC0415
    from cluster.verify import verify  # noqa: PLC0415

    environ = environment(data_dir=data_dir) | ({"HYVVE_SCORER": scorer} if scorer else {})
    with told(debug=debug):
        asked = briefs.load(brief)
        found = folders.scan(folder, leave_out=[brief, out])
        try:
            outcome = verify(
                found, asked, Settings.from_environment(environ), environ, out=out, console=_err if as_json else _out
            )
        except KeyboardInterrupt:
            _err.print("Interrupted: the batch is cancelled, and what was started is stopped.", style="yellow")
            raise typer.Exit(130) from None
    if as_json:
        _out.print_json(data=summary.document(outcome.report, files=outcome.files))
    else:
        summary.show(_out, outcome.report, files=outcome.files)
    if outcome.report.state != "completed":
        raise typer.Exit(1)


schedules_app = typer.Typer(help="List what is done again and again, run it now, pause it.")
app.add_typer(schedules_app, name="schedules")
ScheduleName = Annotated[str, typer.Argument(help="As `hyvve schedules list` names it.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@schedules_app.callback(invoke_without_command=True)
def schedules_default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_schedules()


@schedules_app.command(name="list")
def list_schedules(*, as_json: AsJson = False, data_dir: DataDir = None, debug: Debug = False) -> None:
    """Every schedule: when it is due, and what came of its last firing."""
    from cluster import schedules  # noqa: PLC0415 - brings SQLAlchemy

    with told(debug=debug):
        found = schedules.listed(Settings.from_environment(environment(data_dir=data_dir)))
    if as_json:
        _out.print_json(data=found)
    else:
        schedules.show(_out, found)


@schedules_app.command(name="run")
def run_schedule(
    name: ScheduleName,
    *,
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait for its end.")] = 60.0,
    data_dir: DataDir = None,
    debug: Debug = False,
) -> None:
    """Run it now, paused or not, and say what came of it. Exit code 1: it failed."""
    from cluster import schedules  # noqa: PLC0415

    with told(debug=debug):
        settings = Settings.from_environment(environment(data_dir=data_dir))
        idle = settings.cluster.embedded_postgres and status(settings.directory).phase in ("stopped", "broken")
        firing = schedules.run_now(settings, name, wait_s=0 if idle else wait_s)
    _out.print(schedules.outcome(firing), soft_wrap=True)
    if firing["state"] in ("pending", "running"):
        _out.print("It is kept, and runs at the next `hyvve up`." if idle else "See `hyvve schedules` later.")
    if firing["error"] is not None:
        raise typer.Exit(1)


@schedules_app.command(name="pause")
def pause_schedule(name: ScheduleName, *, data_dir: DataDir = None, debug: Debug = False) -> None:
    """Let no due time fire until `resume`. What is running is finished."""
    _set_paused(name, data_dir, paused=True, debug=debug)


@schedules_app.command(name="resume")
def resume_schedule(name: ScheduleName, *, data_dir: DataDir = None, debug: Debug = False) -> None:
    """Let it fire again, from its next due time on."""
    _set_paused(name, data_dir, paused=False, debug=debug)


def _set_paused(name: str, data_dir: Path | None, *, paused: bool, debug: bool) -> None:
    from cluster import schedules  # noqa: PLC0415

    with told(debug=debug):
        found = schedules.set_paused(Settings.from_environment(environment(data_dir=data_dir)), name, paused=paused)
    _out.print(f"{name} is paused." if found["paused"] else f"{name} is due next at {found['next_due']}.")


def _print_version(*, wanted: bool) -> None:
    if wanted:
        _out.print(f"hyvve {version('hyvve')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=lambda wanted: _print_version(wanted=wanted))
    ] = False,
) -> None:
    """Verify a marketplace's contributions on a Ray cluster."""


def main() -> None:
    """Entry of the `hyvve` command."""
    app()


if __name__ == "__main__":
    main()
