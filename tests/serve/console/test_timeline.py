"""A run's events put together into steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from serve.console.timeline import timeline

BEGAN = datetime(2026, 11, 29, 12, tzinfo=UTC)


@dataclass
class Told:
    at_s: float
    type: str
    step: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    seq: int | None = 1

    @property
    def at(self) -> datetime:
        return BEGAN + timedelta(seconds=self.at_s)


def test_steps_have_their_times_their_models_and_what_went_wrong() -> None:
    line = timeline([
        Told(0, "run.created"), Told(1, "step.started", "write"), Told(1, "step.started", "check"),
        Told(2, "llm.used", "write", {"model": "m", "prompt_tokens": 40, "completion_tokens": 2, "cost_micro_usd": 7}),
        Told(3, "step.completed", "write", {"duration_ms": 1990.0}),
        Told(4, "step.retrying", "check", {"error": {"message": "nobody answers"}}),
        Told(5, "step.failed", "check", {"error": {"message": "no such luck"}}), Told(5, "run.failed", None, {"error": {}}),
    ], until=BEGAN + timedelta(seconds=5))  # fmt: skip
    write, check = line.steps
    assert (write.state, write.took_s, write.prompt_tokens, write.models) == ("completed", 1.99, 40, {"m"})
    assert (check.state, check.error, check.notes) == (
        "failed",
        "no such luck",
        [("review", "tried again: nobody answers")],
    )
    assert 'x="200.0" width="400.0"' in line.bar(write)


def test_a_step_that_asks_is_shown_again_when_it_goes_on_and_one_whose_host_was_lost_is_stopped() -> None:
    line = timeline([
        Told(0, "step.started", "ask"), Told(1, "run.waiting"), Told(60, "run.resumed"), Told(60, "step.started", "ask"),
        Told(61, "run.recovered"), Told(62, "step.started", "ask"),
    ], until=BEGAN + timedelta(seconds=70))  # fmt: skip
    assert [(step.state, step.took_s) for step in line.steps] == [("waited", 1.0), ("stopped", 1.0), ("running", None)]


def test_events_whose_beginnings_are_gone_are_told_as_far_as_they_go() -> None:
    line = timeline([Told(9, "step.completed", "old"), Told(10, "step.started", "new")], until=BEGAN)
    assert [step.name for step in line.steps] == ["new"]
    assert timeline([], until=BEGAN).steps == []
