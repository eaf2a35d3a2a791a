"""The context of a step that a host drives."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from langgraph.config import get_config
from langgraph.types import interrupt

from actors.runs.driven import DrivenRun, wake
from actors.runs.group_commit import Table
from actors.runs.step import StepContext

T = TypeVar("T")


class DurableContext(StepContext):
    """Of one step of a driven run. Its methods may also be called from threads that the step uses."""

    def __init__(self, run: DrivenRun, step: str, task_id: str, superstep: int) -> None:
        row = run.row
        super().__init__(
            run_id=row.run_id, thread_id=row.thread_id, owner=row.owner, step=step, deadline=row.deadline_at,
            run_attempt=row.attempt,
        )  # fmt: skip
        self._run = run
        self._task_id = task_id
        self._scope = f"{step}@{superstep}"
        self._loop = asyncio.get_running_loop()

    def begin_try(self, number: int) -> None:
        super().begin_try(number)
        if number > 1:
            self._run.drop_rows(self._task_id)

    def emit(self, type_: str, data: Mapping[str, Any] | None = None) -> None:
        self._in_loop(lambda: self._run.event(type_, self.step, data or {}))

    def stream(self, data: Mapping[str, Any]) -> None:
        self._in_loop(lambda: self._run.show("step.streamed", self.step, data))

    def progress(self, **values: Any) -> None:
        self._in_loop(lambda: self._run.set_progress(values))

    def record(self, table: Table, row: tuple[Any, ...]) -> None:
        task_id, _ = self._innermost()
        self._in_loop(lambda: self._run.add_row(task_id, table, row))

    def use(self, model: str, *, prompt_tokens: int, completion_tokens: int, cost_micro_usd: int | None) -> None:
        self._in_loop(lambda: self._run.use(self.step, model, prompt_tokens, completion_tokens, cost_micro_usd))

    def require_budget(self) -> None:
        self._in_loop(self._run.require_budget)

    def require_price(self, model: str, setting: str) -> None:
        self._in_loop(lambda: self._run.require_price(model, setting))

    async def once(self, key: str, call: Callable[[str], Awaitable[T]]) -> T:
        _, inner = self._innermost()
        scoped = "/".join(part for part in (self._scope, inner, key) if part)
        if asyncio.get_running_loop() is self._loop:
            return await self._run.once(scoped, call)  # type: ignore[no-any-return]
        made = asyncio.run_coroutine_threadsafe(self._run.once(scoped, call), self._loop)
        return await asyncio.wrap_future(made)

    async def wait_until(self, moment: datetime) -> None:
        # Also when it is past: a node's interrupts are answered in their order, so each must be asked each time.
        interrupt(wake(moment))

    def _innermost(self) -> tuple[str, str | None]:
        """The task that this is called in, and the scope of its own where it is one of a nested graph.

        A nested task's rows go with its own writes: once they are there, it is not run again.
        """
        try:
            metadata = get_config()["metadata"]
            path = str(metadata["langgraph_checkpoint_ns"])
        except (RuntimeError, KeyError):
            return self._task_id, None
        task_id = path.rpartition(":")[2]
        if task_id == self._task_id or "|" not in path:
            return self._task_id, None
        names = "/".join(part.partition(":")[0] for part in path.split("|")[1:])
        return task_id, f"{names}@{metadata.get('langgraph_step')}"

    def _in_loop(self, call: Callable[[], None]) -> None:
        """Make the call in the run's own loop; return when it is done."""
        try:
            if asyncio.get_running_loop() is self._loop:
                call()
                return
        except RuntimeError:
            pass
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def made() -> None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - handed to the thread
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(made)
        done.result()
