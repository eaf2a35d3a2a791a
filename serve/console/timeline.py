"""What a run did, step by step: its events put together into tries of steps, each with its time and what it told.

Pure: events in, steps out. Where the first events are gone (by their age, or past the page), what is there is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from markupsafe import Markup

from serve.console import formats


class Event(Protocol):
    """As the table and the follower give them."""

    @property
    def seq(self) -> int | None: ...
    @property
    def type(self) -> str: ...
    @property
    def step(self) -> str | None: ...
    @property
    def at(self) -> datetime: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class Step:
    """One time that a step ran. `state` is how that ended; `waited` is a step that asked, or waits for a moment."""

    name: str
    began: datetime
    number: int
    ended: datetime | None = None
    state: Literal["running", "completed", "failed", "waited", "stopped"] = "running"
    took_s: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micro_usd: int = 0
    models: set[str] = field(default_factory=set)
    notes: list[tuple[str, str]] = field(default_factory=list)  # (tone, words)
    error: str | None = None

    @property
    def tone(self) -> str:
        return {"running": "busy", "completed": "accept", "failed": "reject", "waited": "review"}.get(
            self.state, "error"
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    steps: list[Step]
    began: datetime
    ended: datetime

    def bar(self, step: Step) -> Markup:
        """Where the step lies within the run, as a small picture."""
        whole = max((self.ended - self.began).total_seconds(), 0.001)
        left = 1000 * (step.began - self.began).total_seconds() / whole
        width = max(1000 * ((step.ended or self.ended) - step.began).total_seconds() / whole, 4)
        left = min(max(left, 0), 996)
        return Markup(
            '<svg class="track" viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true">'
            '<rect class="lane" width="1000" height="14" rx="3"/>'
            '<rect class="{}" x="{}" width="{}" height="14" rx="3"/></svg>'
        ).format(step.tone, f"{left:.1f}", f"{min(width, 1000 - left):.1f}")


def timeline(events: Sequence[Event], *, until: datetime) -> Timeline:
    """The steps of these events, in order of their beginning. `until` is the run's end, or now."""
    steps: list[Step] = []
    running: dict[str, Step] = {}
    for event in events:
        name = event.step or ""
        step = running.get(name)
        match event.type:
            case "step.started":
                if step is not None:  # its host was lost, and another began it anew
                    _end(step, event.at, "stopped")
                running[name] = Step(name, event.at, len(steps))
                steps.append(running[name])
            case "step.completed" if step is not None:
                took = event.data.get("duration_ms")
                _end(running.pop(name), event.at, "completed", None if took is None else took / 1000)
            case "step.failed" if step is not None:
                step.error = str((event.data.get("error") or {}).get("message", ""))
                _end(running.pop(name), event.at, "failed")
            case "run.waiting":
                for each in running.values():
                    _end(each, event.at, "waited")
                running.clear()
            case "run.completed" | "run.failed" | "run.cancelled" | "run.recovered" | "run.retried":
                for each in running.values():
                    _end(each, event.at, "failed" if event.type == "run.failed" else "stopped")
                running.clear()
            case _ if step is not None:
                _note(step, event)
    began = events[0].at if events else until
    return Timeline(steps, began, max(until, began))


def _end(
    step: Step, at: datetime, state: Literal["completed", "failed", "waited", "stopped"], took_s: float | None = None
) -> None:
    step.ended, step.state = at, state
    step.took_s = (at - step.began).total_seconds() if took_s is None else took_s


def _note(step: Step, event: Event) -> None:
    data = event.data
    match event.type:
        case "llm.used":
            step.prompt_tokens += data.get("prompt_tokens", 0)
            step.completion_tokens += data.get("completion_tokens", 0)
            step.cost_micro_usd += data.get("cost_micro_usd") or 0  # null where the price is not known
            step.models.add(str(data.get("model", "")))
        case "tool.called":
            failed = data.get("error")
            step.notes.append(
                ("reject" if failed else "quiet", f"tool {data.get('tool')}" + (f": {_said(failed)}" if failed else ""))
            )
        case "step.retrying":
            step.notes.append(("review", f"tried again: {_said(data.get('error'))}"))
        case "step.routed":
            to = data.get("to")
            step.notes.append(("quiet", f"goes on to {', '.join(map(str, to))}" if isinstance(to, list) else "goes on"))
        case "review.answered":
            step.notes.append(("review", f"a person answered: {data.get('answer')}"))
        case _:
            told = ", ".join(f"{name}: {formats.clipped(value, 60)}" for name, value in list(data.items())[:4])
            step.notes.append(("quiet", f"{event.type} {told}".strip()))


def _said(error: Any) -> str:
    return formats.clipped(error.get("message", error) if isinstance(error, Mapping) else error, 200)


def told(event: Event) -> str:
    """One event in a line."""
    data = dict(event.data)
    if isinstance(data.get("error"), Mapping):
        data["error"] = data["error"].get("message", data["error"])
    return ", ".join(f"{name}: {_briefly(value)}" for name, value in list(data.items())[:8])


def _briefly(value: Any) -> str:
    """A plain value as it is, of others how much they hold: the run's page shows them elsewhere."""
    if isinstance(value, Mapping | list):
        return f"({len(value)})"
    return "none" if value is None else formats.clipped(value, 200)
