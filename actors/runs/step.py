"""What a node of a run's graph can do beyond computing: tell, remember a side effect, write rows, account for tokens.

`current()` answers the context of the step that calls it. Outside of the engine it answers one that keeps nothing, so
that the same graph runs alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from actors.runs.group_commit import Table
from storage.clock import now

T = TypeVar("T")


class StepContext:
    """A step outside of the engine: nothing is kept, nobody listens, no budget. The engine's own overrides it all.

    `attempt` counts from 1: the tries of this step since its host began it. `run_attempt` counts those of the run: it
    grows with each retry of a failed run.
    """

    def __init__(
        self,
        *,
        run_id: UUID | None = None,
        thread_id: str | None = None,
        owner: str | None = None,
        step: str = "",
        deadline: datetime | None = None,
        run_attempt: int = 1,
    ) -> None:
        self.run_id = run_id
        self.thread_id = thread_id
        self.owner = owner
        self.step = step
        self.attempt = 1
        self.deadline = deadline
        self.run_attempt = run_attempt

    def begin_try(self, number: int) -> None:
        """The step is tried for the `number`th time from now on; the engine's business."""
        self.attempt = number

    def emit(self, type_: str, data: Mapping[str, Any] | None = None) -> None:
        """Add a durable event, written no later than this step's result, whether the step succeeds or not.

        `data` is JSON-able; past 64 KiB it is left out and only its size is told.
        """

    def stream(self, data: Mapping[str, Any]) -> None:
        """Show something to whoever follows the run right now, such as tokens. It is not kept."""

    def progress(self, **values: Any) -> None:
        """Set the run's progress, as JSON-able values; written no later than this step's result."""

    def record(self, table: Table, row: tuple[Any, ...]) -> None:
        """Write a row in the transaction of this step's result, or never where the step does not succeed."""

    def use(self, model: str, *, prompt_tokens: int, completion_tokens: int, cost_micro_usd: int | None) -> None:
        """Add a call's usage to the run's; a cost of `None` is not known. Raises `BudgetExceededError` once it is past
        the run's budget.
        """

    def require_budget(self) -> None:
        """Before a call that costs: raises `BudgetExceededError` where nothing of the run's budget is left."""

    def require_price(self, model: str, setting: str) -> None:
        """Before a call whose cost cannot be counted: raises `UnpricedModelError` where the run has a budget of cost,
        which would not bind it. `setting` is where prices are given.
        """

    async def once(self, key: str, call: Callable[[str], Awaitable[T]]) -> T:
        """What `call(idempotency_key)` answered, now or when this step was run before: a recorded call is not repeated.

        `key` names the side effect within the step (and, in graphs nested deeper than two, within the run). The result
        is JSON-able. Between the call and its record a host may die; the call is then repeated with the same
        idempotency key, which the far side should heed.
        """
        return await call(f"{key}:{secrets.token_hex(16)}")

    async def wait_until(self, moment: datetime) -> None:
        """Go on at `moment` or later. In the engine the run waits without a host's memory and the step is run again
        from its start, as after any interrupt.
        """
        await asyncio.sleep(max(0.0, (moment - now()).total_seconds()))


_ALONE = StepContext()
_current: ContextVar[StepContext] = ContextVar("hyvve_step", default=_ALONE)


def current() -> StepContext:
    """The context of the step that this is called in, also from its tasks and threads."""
    return _current.get()


@contextmanager
def entered(context: StepContext) -> Iterator[None]:
    """Within the block, and the tasks begun there, `current()` is this context."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
