"""Drives runs in one event loop: from wherever a run's rows say it is, to its end or to its next wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy.exc
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.errors import GraphRecursionError
from langgraph.types import Command

from actors.errors import (
    CutOffError,
    HostLostError,
    RecursionLimitError,
    RunDeadlineError,
    RunResultError,
)
from actors.runs.checkpointer import GroupCommitSaver
from actors.runs.driven import INTERRUPT, Asked, DrivenRun, driven_run, wake_at_of
from actors.runs.events import EventPublisher
from actors.runs.graphs import Compiled, GraphCache
from actors.runs.kinds import Kind, Kinds
from actors.runs.retrying import classify, described
from actors.runs.rows import json
from actors.settings import RunSettings
from storage import run_effects, runs
from storage.clock import now
from storage.engine import Database
from storage.errors import DatabaseUnavailableError, HyvveError, NotFoundError
from storage.run_shards import FENCED
from storage.runs import ENDED, Run
from storage.tasks import end

log = logging.getLogger(__name__)

# A run that could not be driven for a reason of ours (no database) is left for so long; doubled each time.
_BACKOFF_S, _LONGEST_BACKOFF_S = 1.0, 30.0
_CONTROL = frozenset({INTERRUPT, "__error__", "__resume__", "__error_source_node__"})

# What the engine's own reading and writing raises while PostgreSQL is away.
_AWAY = (DatabaseUnavailableError, psycopg.OperationalError, sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a run is taken up: what its graph is given, and the event that tells of it."""

    given: Any
    event: str
    data: Mapping[str, Any]


class Driver:
    """Of one claim on some shards. `cut_off` is set once somebody else holds one of them."""

    def __init__(
        self,
        *,
        shards: Sequence[int],
        database: Database,
        saver: GroupCommitSaver,
        publisher: EventPublisher,
        kinds: Kinds,
        settings: RunSettings,
    ) -> None:
        self._shards = frozenset(shards)
        self._database = database
        self._saver = saver
        self._publisher = publisher
        self._kinds = kinds
        self._settings = settings
        self._graphs = GraphCache(saver)
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._driven: dict[UUID, DrivenRun] = {}
        # Asked for while they were being driven.
        self._again: set[UUID] = set()
        self._troubles: dict[UUID, tuple[int, float]] = {}
        self._looks: set[asyncio.Task[None]] = set()
        self.cut_off = asyncio.Event()

    def attend(self, run_id: UUID) -> None:
        """Look at this run now, and drive it where it can go on."""
        if run_id in self._tasks:
            self._again.add(run_id)
            if run_id in self._driven:
                self._spawn_look()
        elif len(self._tasks) < self._settings.max_driven and not self.cut_off.is_set():
            task = asyncio.get_running_loop().create_task(self._attended(run_id), name=f"run {run_id}")
            self._tasks[run_id] = task
            task.add_done_callback(lambda _: self._left(run_id))

    async def sweep(self) -> None:
        """Attend to every run that wants it and was not told of."""
        await self._look()
        room = self._settings.max_driven - len(self._tasks)
        if room <= 0:
            return
        moment = time.monotonic()
        off = [run_id for run_id, (_, until) in self._troubles.items() if until > moment]
        async with self._database.read() as session:
            found = await runs.due(
                session, sorted(self._shards), driven=[*self._tasks, *off], moment=now(), limit=room
            )  # fmt: skip
        for run_id in found:
            self.attend(run_id)

    async def close(self) -> None:
        """Stop driving. The runs stay as their rows say, for whoever drives them next."""
        for run in self._driven.values():
            run.stop("cut off" if self.cut_off.is_set() else "closing")
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=self._settings.cancel_grace_s + 1)
        await end(tasks)

    def _left(self, run_id: UUID) -> None:
        self._tasks.pop(run_id, None)
        if run_id in self._again:
            self._again.discard(run_id)
            self.attend(run_id)

    def _spawn_look(self) -> None:
        task = asyncio.get_running_loop().create_task(self._look())
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look(self) -> None:
        """Stop those driven runs that somebody asked to cancel."""
        if not self._driven:
            return
        try:
            async with self._database.read() as session:
                found = await runs.told_to_stop(session, list(self._driven))
        except _AWAY as error:
            log.warning("cancelled runs cannot be listed: %s", error)
            return
        for run_id in found:
            if run_id in self._driven:
                self._driven[run_id].stop("cancelled")

    async def _attended(self, run_id: UUID) -> None:
        thread_id = None
        try:
            thread_id = await self._attend(run_id)
        except NotFoundError:
            return
        except CutOffError:
            return
        except _AWAY as error:
            if getattr(error, "sqlstate", None) == FENCED:
                self.cut_off.set()
                return
            self._put_off(run_id, error)
        except psycopg.Error as error:
            if error.sqlstate == FENCED:
                log.warning("another host has taken over: %s", error)
                self.cut_off.set()
                return
            self._put_off(run_id, error)
        except Exception as error:
            log.exception("run %s could not be driven and is tried again", run_id)
            self._put_off(run_id, error)
        else:
            self._troubles.pop(run_id, None)
        if thread_id is not None:
            await self._next_on(thread_id)

    def _put_off(self, run_id: UUID, error: Exception) -> None:
        times = self._troubles.get(run_id, (0, 0.0))[0] + 1
        pause = min(_LONGEST_BACKOFF_S, _BACKOFF_S * 2 ** (times - 1))
        self._troubles[run_id] = (times, time.monotonic() + pause)
        log.warning("run %s waits %.0f s: %s: %s", run_id, pause, type(error).__name__, error)

    async def _next_on(self, thread_id: str) -> None:
        try:
            async with self._database.read() as session:
                following = await runs.next_on(session, thread_id)
        except _AWAY:
            return
        if following is not None:
            self.attend(following)

    async def _attend(self, run_id: UUID) -> str | None:
        """Drive the run as far as it goes; answers its thread where it ended and may have others queued behind it."""
        async with self._database.read() as session:
            row = await runs.get(session, run_id)
            if row.status in ENDED or row.shard not in self._shards:
                return None
            fresh = row.status == "pending" and row.attempt == 1
            alone = fresh and row.thread_id == str(run_id)
            turn = row.status != "pending" or alone or await runs.next_on(session, row.thread_id) == run_id
            effects = {} if fresh else await run_effects.of_run(session, run_id)
        questions = self._kinds.questions_of(row.kind)
        run = DrivenRun(row, self._saver.writer, self._publisher, effects, questions)
        if row.cancel_requested_at is not None:
            run.event("run.cancel_requested", None, {})
            await run.end("cancelled")
        elif row.deadline_at is not None and row.deadline_at <= now():
            await run.end("failed", error=_failure(_late(row)))
        elif not turn or (row.status == "pending" and row.wake_at is not None and row.wake_at > now()):
            return None
        else:
            self._driven[run_id] = run
            try:
                await self._drive(run)
            finally:
                run.close()
                del self._driven[run_id]
        return None if alone or run.status not in ENDED else row.thread_id

    async def _drive(self, run: DrivenRun) -> None:
        row = run.row
        config: RunnableConfig = {
            "configurable": {"thread_id": row.thread_id},
            "metadata": {"run_id": str(row.run_id)},
        }
        if row.status == "running":
            run.recoveries += 1
            if run.recoveries > self._settings.max_recoveries:
                await run.end("failed", error=_failure(_host_lost(row, run.recoveries)))
                return
        try:
            kind = self._kinds[row.kind]
            graph = await self._graphs.of(kind, row.spec)
            plan = await self._plan(run, kind, config)
        except (*_AWAY, CutOffError):
            raise
        except Exception as error:  # noqa: BLE001 - the run's own fault: its spec, its input
            await run.end("failed", error=_failure(error))
            return
        if plan is None:
            return
        run.begin(plan.event, plan.data)
        if row.status == "running":
            # Before it is tried again: what ends its host at once must be counted.
            await run.flush()
        config["recursion_limit"] = kind.recursion_limit
        await self._run(run, kind, graph, plan.given, config)

    async def _plan(self, run: DrivenRun, kind: Kind, config: RunnableConfig) -> _Plan | None:
        """How to take the run up, by its row and its thread's last checkpoint; `None` where there is nothing to do."""
        row = run.row
        latest: CheckpointTuple | None = None
        if row.status != "pending" or row.attempt > 1 or row.forked_from is not None:
            latest = await self._saver.aget_tuple(config)
        event, data = _taken_up(row)
        if latest is None or latest.metadata.get("run_id") != str(row.run_id):
            # A crash before the first checkpoint loses nothing: the row holds the input.
            return _Plan(kind.state(dict(row.input)), event, data)
        if row.input and latest.checkpoint["id"] == row.forked_from and not latest.pending_writes:
            return _Plan(Command(update=dict(row.input)), event, data)
        run.asked = _asked(latest, row)
        answers = run.take_answers()
        if row.status == "waiting":
            if not answers:
                if row.resume:  # answers to questions that are gone
                    await run.wait()
                return None
            given = [{"id": key, **row.resume.get(key, {"by": "clock"})} for key in answers]
            event, data = "run.resumed", {"answers": given}
        return _Plan(Command(resume=answers) if answers else None, event, data)

    async def _run(self, run: DrivenRun, kind: Kind, graph: Compiled, given: Any, config: RunnableConfig) -> None:
        """Run the graph to its end, its next wait, or the moment it must stop."""
        driven_run.set(run)
        row = run.row
        running: asyncio.Future[Any] = asyncio.ensure_future(graph.ainvoke(given, config, durability="sync"))
        left_s = None if row.deadline_at is None else max(0.0, (row.deadline_at - now()).total_seconds())
        try:
            await asyncio.wait([running, run.stopped], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not running.done():
                await self._stop(run, running)
        if run.stop_reason is not None and not _finished(running):
            if run.stop_reason == "cancelled":
                await run.end_stopped("cancelled", "run.cancel_requested")
            elif run.stop_reason == "closing":
                await run.flush()
            return
        if not _finished(running):
            await run.end_stopped("failed", None, error=_failure(_late(row)))
            return
        await self._settle(run, kind, running)

    async def _stop(self, run: DrivenRun, running: asyncio.Future[Any]) -> None:
        """Cancel what runs. What does not heed it in time is left to itself, and can write nothing."""
        running.cancel()
        await asyncio.wait({running}, timeout=self._settings.cancel_grace_s)
        if not running.done():
            log.warning("a step of run %s does not heed its cancellation and is left to itself", run.run_id)
            running.add_done_callback(lambda left: None if left.cancelled() else left.exception())
        run.close()

    async def _settle(self, run: DrivenRun, kind: Kind, running: asyncio.Future[Any]) -> None:
        error = running.exception()
        if error is None:
            if run.asked:
                await run.wait()
                return
            try:
                output = _output(kind, running.result())
            except Exception as fault:  # noqa: BLE001 - the kind's
                await run.end("failed", error=_failure(fault))
            else:
                await run.end("completed", output=output)
            return
        ours = error is not run.step_error
        if ours and (isinstance(error, (*_AWAY, CutOffError)) or getattr(error, "sqlstate", None) == FENCED):
            raise error
        if isinstance(error, GraphRecursionError):
            error = RecursionLimitError(
                f"run {run.run_id} took more than {kind.recursion_limit} supersteps", subject=str(run.run_id)
            )
        elif ours:
            log.error("run %s failed outside of its steps", run.run_id, exc_info=error)
            async with self._database.read() as session:
                # What could not be written is not there: the numbers go on after what is.
                run.go_back(await runs.get(session, run.run_id))
        await run.end("failed", error=_failure(error))


def _taken_up(row: Run) -> tuple[str, dict[str, Any]]:
    """The event that tells that the run is driven, and its data."""
    if row.status == "running":
        return "run.recovered", {"times": row.recoveries + 1}
    if row.attempt > 1:
        return "run.retried", {"attempt": row.attempt}
    return "run.started", {}


def _finished(running: asyncio.Future[Any]) -> bool:
    return running.done() and not running.cancelled() and not isinstance(running.exception(), asyncio.CancelledError)


def _asked(latest: CheckpointTuple, row: Run) -> dict[str, list[Asked]]:
    """The questions that stand at a checkpoint, by task."""
    writes = latest.pending_writes or []
    done = {task for task, channel, _ in writes if channel not in _CONTROL}
    steps = {each["id"]: each.get("step") for each in row.interrupts}
    asked: dict[str, list[Asked]] = {}
    for task, channel, value in writes:
        if channel == INTERRUPT and task not in done:
            several = value if isinstance(value, Sequence) else [value]
            asked[task] = [Asked(each, steps.get(each.id), wake_at_of(each.value)) for each in several]
    return asked


def _output(kind: Kind, values: Any) -> dict[str, Any]:
    """The run's output. Raises `RunResultError` where it is not JSON."""
    output = kind.result({key: value for key, value in dict(values or {}).items() if key != INTERRUPT})
    try:
        json(output)
    except TypeError as error:
        raise RunResultError(
            f"the result of a run of kind {kind.name!r} is not JSON ({error}); its `result` should make it so",
            subject=kind.name,
        ) from error
    return output


def _failure(error: BaseException) -> dict[str, Any]:
    return described(error, classify(error))


def _late(row: Run) -> HyvveError:
    assert row.deadline_at is not None
    return RunDeadlineError(
        f"run {row.run_id} was not finished by its deadline, {row.deadline_at.isoformat()}", subject=str(row.run_id)
    )


def _host_lost(row: Run, times: int) -> HyvveError:
    return HostLostError(
        f"the host of run {row.run_id} was lost {times} times in a row under step {row.step or 'its start'!r}; what it "
        "does may end a process (memory, a crash): mend it and retry the run",
        subject=str(row.run_id),
    )
