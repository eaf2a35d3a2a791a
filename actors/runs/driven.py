"""`DrivenRun`: a run in its host's memory, from the moment it is driven until it waits or ends.

It numbers the run's events and holds what goes into the next transaction. Everything that it hands out to be written
(see `Companion`) is in the order of the numbers, so what is on disk never has a gap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata
from langgraph.types import Interrupt

from actors.errors import BudgetExceededError, CutOffError, RunResultError, UnpricedModelError
from actors.runs.events import EventPublisher, live_event
from actors.runs.group_commit import GroupCommit, Rows, Table
from actors.runs.kinds import Questions
from actors.runs.retrying import classify, described
from actors.runs.rows import EFFECTS, EVENTS, STANDINGS, json, shown
from storage.clock import now
from storage.runs import Run

# LangGraph's own channels, as they stand in a task's writes.
INTERRUPT, ERROR, RESUME = "__interrupt__", "__error__", "__resume__"

# Events go with the next transaction of the run, or alone after this long.
_LINGER_S = 0.03
_LARGEST_EVENT = 64 * 1024

Row = tuple[Any, ...]
StopReason = Literal["cancelled", "deadline", "closing", "cut off"]

driven_run: ContextVar[DrivenRun | None] = ContextVar("hyvve_driven_run", default=None)


@dataclass(slots=True)
class _Running:
    step: str
    since: float
    rows: list[tuple[Table, Row]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a task. `wake_at` is set where not a person answers it but the clock."""

    interrupt: Interrupt
    step: str | None
    wake_at: datetime | None = None


class DrivenRun:
    """Belongs to one event loop; the only one that writes about its run."""

    def __init__(
        self,
        row: Run,
        writer: GroupCommit,
        publisher: EventPublisher,
        effects: dict[str, Any],
        questions: Questions | None = None,
    ) -> None:
        self.row = row
        self.run_id: UUID = row.run_id
        self.status = row.status
        self.steps = row.steps
        self.recoveries = row.recoveries
        self.progress = dict(row.progress)
        self.usage = dict(row.usage)
        self.asked: dict[str, list[Asked]] = {}
        # Answers of this pass by interrupt id.
        self.answers: dict[str, Any] = {}
        # The error that a step raised, told from one of the engine's own.
        self.step_error: BaseException | None = None
        self._failed_step: str | None = None
        self.stop_reason: StopReason | None = None
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer = writer
        self._publisher = publisher
        self._effects = effects
        self._questions = questions
        self._calls: dict[str, asyncio.Future[Any]] = {}
        self._running: dict[str, _Running] = {}
        self._consumed: set[str] = set()
        self._seq = row.event_seq
        self._waiting: list[Row] = []
        self._changed = False
        self._closed = False
        self._lingering: asyncio.TimerHandle | None = None
        self._alone: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None
        self._output: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None
        self._wake_at: datetime | None = None
        self._started_at = row.started_at
        self._ended_at: datetime | None = None

    # Driving

    def begin(self, event: str, data: Mapping[str, Any]) -> None:
        """From here on the run is running; told with what it writes first."""
        self.status = "running"
        self._started_at = self._started_at or now()
        self.event(event, None, data)

    def stop(self, reason: StopReason) -> None:
        """Ask whoever drives it to stop."""
        if self.stop_reason is None:
            self.stop_reason = reason
        if not self.stopped.done():
            self.stopped.set_result(None)

    def close(self) -> None:
        """Whatever still runs of it writes nothing any more."""
        self._closed = True
        if self._lingering is not None:
            self._lingering.cancel()

    async def wait(self) -> None:
        """Write that it waits for answers, or for a moment."""
        asked = [each for several in self.asked.values() for each in several]
        moments = [each.wake_at for each in asked if each.wake_at is not None]
        self.status, self._wake_at = "waiting", min(moments, default=None)
        self._number("run.waiting", None, {"interrupts": self._interrupts(), "wake_at": self._wake_at})
        await self.flush()

    async def end(
        self,
        status: Literal["completed", "failed", "cancelled"],
        *,
        output: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        """Write the run's end."""
        self.status, self._output, self._error, self._ended_at = status, output, error, now()
        self._wake_at = None
        self._running.clear()
        self.asked.clear()
        self._number(f"run.{status}", None, {"error": error} if error is not None else {})
        await self.flush(self._questions.ended(self.row) if self._questions is not None else ())

    async def end_stopped(
        self, status: Literal["failed", "cancelled"], event: str | None, *, error: dict[str, Any] | None = None
    ) -> None:
        """`end`, of a run whose graph was stopped in its midst."""
        if event is not None:
            self._number(event, None, {})
        await self.end(status, error=error)

    def go_back(self, row: Run) -> None:
        """Go on after what is on disk: what came after it could not be written. What was spent stays spent."""
        self._seq, self.steps, self._fault = row.event_seq, row.steps, None
        self._waiting = []

    def take_answers(self) -> dict[str, Any]:
        """The answers to what is asked now, by interrupt id: those given, and the clock's where a moment has come."""
        moment = now()
        asked = {each.interrupt.id: each for several in self.asked.values() for each in several}
        given = self.row.resume
        self.answers = {key: given[key]["value"] for key in asked if key in given}
        for key, each in asked.items():
            if each.wake_at is not None and each.wake_at <= moment:
                self.answers.setdefault(key, moment.isoformat())
        # Answers to what is no longer asked would have it looked at for ever.
        self._consumed.update(key for key in given if key not in asked)
        return self.answers

    async def flush(self, more: Rows = ()) -> None:
        """Return when all that was told so far is on disk, with `more` behind it."""
        await asyncio.gather(*self._alone)
        if rows := [*self._taken(), *more]:
            await self._writer.write(rows, subject=self.row.thread_id)

    # What the checkpointer's transactions take along

    def with_writes(self, namespace: str, writes: Sequence[tuple[str, Any]], task_id: str) -> Rows:
        """Rows for the transaction of a task's writes."""
        self._open()
        channels = {channel for channel, _ in writes}
        running = self._running.pop(task_id, None)
        rows: list[tuple[Table, Sequence[Any]]] = []
        asked: list[Asked] = []
        if INTERRUPT in channels:
            if namespace == "":
                asked = self._ask(task_id, writes, running)
        elif ERROR not in channels:
            rows.extend(running.rows if running is not None else ())
            if namespace == "":
                self._answered(task_id)
                if running is not None:
                    self.steps += 1
                    self.recoveries = 0
                    took = round((time.monotonic() - running.since) * 1000, 1)
                    self.event("step.completed", running.step, {"duration_ms": took})
        rows.extend(self._taken())
        if self._questions is not None:
            for each in asked:
                rows.extend(self._questions.asked(self.row, each.interrupt, each.step))
        return rows

    def with_checkpoint(self, namespace: str) -> Rows:
        """Rows for the transaction of a checkpoint."""
        self._open()
        if namespace == "":
            # The superstep is over, and with it what it asked and what of it might have been done again.
            for task_id in list(self.asked):
                self._answered(task_id)
            self._effects.clear()
        return self._taken()

    def _ask(self, task_id: str, writes: Sequence[tuple[str, Any]], running: _Running | None) -> list[Asked]:
        before = self.asked.pop(task_id, [])
        steps = {each.interrupt.id: each.step for each in before}
        step = running.step if running is not None else None
        found = [interrupt for channel, value in writes if channel == INTERRUPT for interrupt in _interrupts(value)]
        self.asked[task_id] = [
            Asked(interrupt, step or steps.get(interrupt.id), wake_at_of(interrupt.value)) for interrupt in found
        ]
        kept = {interrupt.id for interrupt in found}
        self._consumed.update(each.interrupt.id for each in before if each.interrupt.id not in kept)
        self._changed = True
        return self.asked[task_id]

    def _answered(self, task_id: str) -> None:
        if before := self.asked.pop(task_id, None):
            self._consumed.update(each.interrupt.id for each in before)
            self._changed = True

    def unanswered(self, task_id: str) -> tuple[Interrupt, ...]:
        """What this task asked before and still waits for, where no part of it was answered now."""
        asked = self.asked.get(task_id, ())
        if any(each.interrupt.id in self.answers for each in asked):
            return ()
        return tuple(each.interrupt for each in asked)

    # What steps tell

    def step_started(self, task_id: str, step: str) -> None:
        self._running[task_id] = _Running(step, time.monotonic())
        self.event("step.started", step, {})

    def step_failed(self, step: str, error: Exception) -> None:
        self.step_error, self._failed_step = error, step
        self.event("step.failed", step, {"error": described(error, classify(error))})

    def event(self, type_: str, step: str | None, data: Mapping[str, Any]) -> None:
        """Number an event; it is written with the run's next transaction, or soon."""
        self._open()
        self._number(type_, step, data)

    def _number(self, type_: str, step: str | None, data: Mapping[str, Any]) -> None:
        written = shown(data)
        if len(written) > _LARGEST_EVENT:
            written = json({"left_out_bytes": len(written)})
        self._seq += 1
        self._waiting.append((self.run_id, self._seq, now(), type_, step, written))
        self._changed = True
        if self._lingering is None and not self._closed:
            self._lingering = asyncio.get_running_loop().call_later(_LINGER_S, self._write_alone)

    def show(self, type_: str, step: str | None, data: Mapping[str, Any]) -> None:
        self._publisher.publish(self.run_id, [live_event(type_, step, data)])

    def set_progress(self, values: Mapping[str, Any]) -> None:
        self.progress.update(values)
        self._changed = True

    def add_row(self, task_id: str, table: Table, row: Row) -> None:
        self._open()
        self._running.setdefault(task_id, _Running("", time.monotonic())).rows.append((table, row))

    def drop_rows(self, task_id: str) -> None:
        """Forget the rows of a try that failed."""
        if task_id in self._running:
            self._running[task_id].rows.clear()

    def use(self, step: str, model: str, prompt: int, completion: int, cost: int | None) -> None:
        """Add usage. Raises `BudgetExceededError` past the budget."""
        models = self.usage.setdefault("models", {})
        for counts in (self.usage, models.setdefault(model, {})):
            for name, amount in (
                ("prompt_tokens", prompt), ("completion_tokens", completion), ("cost_micro_usd", cost or 0),
                ("calls", 1)
            ):  # fmt: skip
                counts[name] = counts.get(name, 0) + amount
            if cost is None:
                # The sum leaves these calls out, and says so.
                counts["unpriced_calls"] = counts.get("unpriced_calls", 0) + 1
        self.event("llm.used", step, {
            "model": model, "prompt_tokens": prompt, "completion_tokens": completion, "cost_micro_usd": cost,
        })  # fmt: skip
        self._check_budget(0)

    def require_budget(self) -> None:
        """Raises `BudgetExceededError` once nothing is left of the run's budget."""
        self._check_budget(1)

    def require_price(self, model: str, setting: str) -> None:
        """Raises `UnpricedModelError` where the run has a budget of cost, which this model would go past."""
        allowed = self.row.budget.get("max_cost_micro_usd")
        if allowed is not None:
            raise UnpricedModelError(
                f"run {self.run_id} has a budget of {allowed:,} micro-USD and the price of the model {model!r} is not "
                f"known, so nothing would bind it: give the price in {setting}, or give the budget as max_tokens",
                subject=model, setting=setting,
            )  # fmt: skip

    def _check_budget(self, more: int) -> None:
        tokens = self.usage.get("prompt_tokens", 0) + self.usage.get("completion_tokens", 0)
        for limit, used, unit in (
            ("max_cost_micro_usd", self.usage.get("cost_micro_usd", 0), "micro-USD"), ("max_tokens", tokens, "tokens")
        ):  # fmt: skip
            allowed = self.row.budget.get(limit)
            if allowed is not None and used + more > allowed:
                raise BudgetExceededError(
                    f"run {self.run_id} has used {used:,} {unit} of its budget of {allowed:,}: retry it with a larger "
                    "`budget`, or fork it with one",
                    subject=str(self.run_id), limit=limit,
                )  # fmt: skip

    async def once(self, key: str, call: Callable[[str], Awaitable[Any]]) -> Any:
        """The recorded result, or what `call` answers now, recorded before this returns."""
        if key in self._effects:
            return self._effects[key]
        if (under_way := self._calls.get(key)) is not None:
            return await asyncio.shield(under_way)
        made = self._calls[key] = asyncio.ensure_future(self._call(key, call))
        try:
            return await made
        finally:
            del self._calls[key]

    async def _call(self, key: str, call: Callable[[str], Awaitable[Any]]) -> Any:
        result = await call(f"{self.run_id}:{key}")
        try:
            written = json(result)
        except TypeError as error:
            raise RunResultError(f"the result of side effect {key!r} is not JSON: {error}", subject=key) from error
        self._open()
        # Shielded: a cancel must not lose what was done.
        await asyncio.shield(self._writer.write([(EFFECTS, (self.run_id, key, written, now()))]))
        self._effects[key] = result
        return result

    # Writing

    def _taken(self) -> list[tuple[Table, Row]]:
        """All that waits to be written; it is the caller's to write now."""
        if self._fault is not None:
            raise self._fault
        if not self._changed:
            return []
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        rows: list[tuple[Table, Row]] = [(EVENTS, event) for event in self._waiting]
        self._waiting = []
        self._changed = False
        rows.append((STANDINGS, self._standing()))
        return rows

    def _standing(self) -> Row:
        running = ", ".join(dict.fromkeys(each.step for each in self._running.values() if each.step))
        waiting = ", ".join(
            dict.fromkeys(each.step for several in self.asked.values() for each in several if each.step)
        )
        # What its last host was lost under stays named until a step begins.
        before = self._failed_step if self.status == "failed" else self.row.step if self.recoveries else None
        step = (running or waiting or before or "")[:200] or None
        return (
            self.run_id, self.row.attempt, self.status, step, self.steps, shown(self.progress),
            None if self._output is None else json(self._output), None if self._error is None else shown(self._error),
            shown(self._interrupts()), json(sorted(self._consumed)) if self._consumed else None, shown(self.usage),
            self.recoveries, self._seq, self._wake_at, self._started_at, now(), self._ended_at,
        )  # fmt: skip

    def _interrupts(self) -> list[dict[str, Any]]:
        return [
            {
                "id": each.interrupt.id, "task": task_id, "step": each.step, "value": each.interrupt.value,
                **({} if each.wake_at is None else {"wake_at": each.wake_at}),
            }
            for task_id, several in self.asked.items() for each in several
        ]  # fmt: skip

    def _write_alone(self) -> None:
        self._lingering = None
        if self._closed or self._fault is not None:
            return
        task = asyncio.get_running_loop().create_task(self._writer.write(self._taken(), subject=self.row.thread_id))
        self._alone.add(task)
        task.add_done_callback(self._written_alone)

    def _written_alone(self, task: asyncio.Task[None]) -> None:
        self._alone.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.unwritten(error)

    def unwritten(self, error: BaseException) -> None:
        """Something could not be written: nothing that follows it is written without it."""
        if self._fault is None:
            self._fault = error

    def _open(self) -> None:
        if self._closed:
            raise CutOffError(f"run {self.run_id} is no longer driven here", subject=str(self.run_id))


class RunsCompanion:
    """A `Companion` that sends each write's question to the run that the write is made in.

    `grown` is called with the thread whenever `every` more checkpoints were made in one of its namespaces.
    """

    def __init__(self, grown: Callable[[str], None], *, every: int) -> None:
        self._grown = grown
        self._every = every

    def with_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str) -> Rows:
        return _present().with_writes(_namespace(config), writes, task_id)

    def with_checkpoint(self, config: RunnableConfig, metadata: CheckpointMetadata) -> Rows:
        run = _present()
        # Supersteps are numbered on, from run to run of a thread.
        step = metadata.get("step", 0)
        if step > 0 and step % self._every == 0:
            self._grown(run.row.thread_id)
        return run.with_checkpoint(_namespace(config))

    def failed(self, error: Exception) -> None:
        _present().unwritten(error)


def _present() -> DrivenRun:
    run = driven_run.get()
    if run is None:
        raise CutOffError("a host's checkpointer writes for its own runs only")
    return run


def _namespace(config: RunnableConfig) -> str:
    return str(config["configurable"].get("checkpoint_ns", ""))


def _interrupts(value: Any) -> Sequence[Interrupt]:
    return value if isinstance(value, Sequence) else [value]


_WAKE = "hyvve.wake_at"


def wake(moment: datetime) -> dict[str, str]:
    """The question that the clock answers."""
    return {_WAKE: moment.isoformat()}


def wake_at_of(value: Any) -> datetime | None:
    """The moment at which the clock answers this question; none where it is a person's."""
    if isinstance(value, dict) and isinstance(value.get(_WAKE), str):
        return datetime.fromisoformat(value[_WAKE])
    return None
