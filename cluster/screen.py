"""What `hyvve up` and `hyvve status` show."""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cluster.health import Health, dependencies_down
from cluster.launch import Status
from cluster.state import State
from storage.clock import now

# In the order in which they come up (`supervisor.py`).
_STEPS = ("PostgreSQL", "Redis", "Schema", "Ray", "API", "Verification", "Runs", "Schedules")
_NAMES = {"postgresql": "PostgreSQL", "redis": "Redis", "blob_store": "Blob store", "cluster": "Workers"}
_UNDER_WAY = ("starting", "connecting", "checking", "deploying")


class Screen:
    """A live list of the parts: drawn anew on a terminal, one line per change elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._state: State | None = None
        self._told: dict[str, str] = {}
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if self._console.is_terminal and self._state is not None:
            self._console.print(self._table(self._state))

    def show(self, state: State) -> None:
        self._state = state
        if not self._console.is_terminal:
            for step in _STEPS:
                what = state.steps.get(step)
                if what and what not in _UNDER_WAY and self._told.get(step) != what:
                    self._console.print(f"{step}: {what}", markup=False, soft_wrap=True)
                    self._told[step] = what

    def _render(self) -> RenderableType:
        if self._state is None:
            return Spinner("dots", "starting")
        seconds = time.monotonic() - self._began
        return Group(self._table(self._state), Spinner("dots", Text(f"{self._state.phase} ({seconds:.0f} s)")))

    @staticmethod
    def _table(state: State) -> Table:
        table = Table.grid(padding=(0, 2))
        for step in _STEPS:
            if step not in state.steps and state.phase != "starting":  # `hyvve verify` brings up less
                continue
            what = state.steps.get(step, "waiting")
            mark = Text("✓", "green") if what not in (*_UNDER_WAY, "waiting") else Text("·", "dim")
            table.add_row(mark, step, Text(what, "" if mark.plain == "✓" else "dim"))
        return table


class LiveStatus:
    """How it does while it runs: drawn anew every second on a terminal, one line per change elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state: State | None = None
        self._health: Health | None = None
        self._told = ""
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=1, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, state: State, health: Health | None) -> None:
        self._state, self._health = state, health
        if self._console.is_terminal or health is None:
            return
        told = "; ".join(f"{part}: {what}" for part, good, what in _parts(state, health) if not good) or "all ready"
        if told != self._told:
            self._console.print(f"{now():%H:%M:%S} {told}", markup=False, soft_wrap=True)
            self._told = told

    def _render(self) -> RenderableType:
        if self._state is None or self._health is None:
            return Text("")
        table = Table.grid(padding=(0, 2))
        for part, good, what in _parts(self._state, self._health):
            table.add_row(Text("✓", "green") if good else Text("✗", "red"), part, Text(what, "" if good else "red"))
        return Group(table, Text(f"{now():%H:%M:%S} UTC, Ctrl-C stops it", "dim"))


def _parts(state: State, health: Health) -> list[tuple[str, bool, str]]:
    """(part, whether it does its work, what to say of it), each part once."""
    if state.phase == "starting":
        return [(step, False, what) for step, what in state.steps.items() if what in _UNDER_WAY]
    troubles = dict(state.troubles)
    if health.ready is None:
        troubles.setdefault("API", "does not answer")
    found = [(part, part not in troubles, troubles.get(part, "answers")) for part in ("API", "Ray")]
    down = dependencies_down(health.ready)
    for name, check in (health.ready or {}).get("checks", {}).items():
        what = down.get(name, f"answers in {check.get('milliseconds', 0):.0f} ms")
        found.append((_NAMES.get(name, name), name not in down, what))
    match health.unfinished:
        case None:
            found.append(("Batches", False, "unknown, PostgreSQL does not answer"))
        case 0:
            found.append(("Batches", True, "none under way"))
        case count:
            shown = ", ".join(f"{each.state} {each.judged:,} of {each.total:,}" for each in health.batches)
            found.append(("Batches", True, f"{count} under way: {shown}"))
    return found


def print_addresses(console: Console, state: State) -> None:
    """Where to go next."""
    table = Table.grid(padding=(0, 2))
    table.add_row("API", Text(str(state.api_url), "bold cyan"))
    table.add_row("OpenAPI page", Text(f"{state.api_url}/docs", "bold cyan"))
    table.add_row("Console", Text(f"{state.api_url}/console/", "bold cyan"))
    if state.dashboard_url:
        table.add_row("Ray dashboard", Text(state.dashboard_url, "bold cyan"))
    console.print(table, soft_wrap=True)


def print_status(console: Console, found: Status) -> None:
    """The same as `status_document`, for people."""
    state = found.state
    if found.phase == "stopped":
        console.print("Hyvve is not running here; start it with `hyvve up`.", markup=False)
        if state and state.error:
            console.print(f"The last start failed: {state.error}", markup=False, soft_wrap=True)
        return
    if found.phase == "broken":
        console.print("Hyvve was killed, and this is still running:", style="red")
        for name in found.leftovers:
            console.print(f"  {name}", markup=False)
        console.print("End it with `hyvve down`, or start again with `hyvve up`.", markup=False)
        return
    good = found.phase == "running" and not found.troubles
    console.print(f"Hyvve is {found.phase}", style="green" if good else "yellow")
    if state:
        console.print(Screen._table(state))  # noqa: SLF001 - the same table
        if state.api_url is not None or found.phase == "starting":
            print_addresses(console, state)
        console.print(f"Since {state.started_at}, supervisor {state.pid}, Ray's logs in {state.ray_logs}", style="dim")
    if found.phase == "running" and state is not None and state.api_url is None:
        console.print("A `hyvve verify` runs here; it brings no API.", markup=False)
    for part, trouble in found.troubles.items():
        console.print(f"{part}: {trouble}", style="red", markup=False, soft_wrap=True)


def status_document(found: Status) -> dict[str, Any]:
    """`hyvve status --json`."""
    state = found.state
    running = found.phase not in ("stopped", "broken")
    return {
        "phase": found.phase,
        "leftovers": list(found.leftovers),
        "ready": found.ready,
        "troubles": found.troubles,
        "error": state.error if state else None,
        **(
            {
                "pid": state.pid, "started_at": state.started_at, "api_url": state.api_url,
                "dashboard_url": state.dashboard_url, "ray_address": state.ray_address, "ray_logs": state.ray_logs,
                "steps": state.steps, "restarts": state.restarts,
            }
            if state and running
            else {}
        ),
    }  # fmt: skip
