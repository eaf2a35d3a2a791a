"""How far runs of workflows have come: the state at their last checkpoints, as callers read it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from langchain_core.runnables import RunnableConfig

from actors.agents.workflow_state import begun, final_state
from actors.runs.checkpointer import GroupCommitSaver
from storage.runs import Run


class ReachedStates:
    """Reads the checkpoints of one database. Belongs to the event loop it is used in."""

    def __init__(self, saver: GroupCommitSaver, opened: AsyncExitStack) -> None:
        self._saver = saver
        self._opened = opened

    @classmethod
    async def open(cls, database_url: str) -> ReachedStates:
        opened = AsyncExitStack()
        saver = await opened.enter_async_context(GroupCommitSaver.open(database_url, readers=1))
        return cls(saver, opened)

    async def of(self, run: Run) -> dict[str, Any]:
        """The final state as far as there is one: at the run's last checkpoint; before the first, what it was given."""
        config: RunnableConfig = {"configurable": {"thread_id": run.thread_id, "checkpoint_ns": ""}}
        async for found in self._saver.alist(config, filter={"run_id": str(run.run_id)}, limit=1):
            values = found.checkpoint["channel_values"]
            if "messages" in values:
                return final_state(values)
        return final_state(begun(run.input) if "task_description" in run.input else {})

    async def close(self) -> None:
        await self._opened.aclose()
