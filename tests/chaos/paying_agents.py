"""Agent workflows with a tool that acts outside, for hosts that are killed under them: one agent pays, another tells."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any
from uuid import UUID

from actors.agents.deps import ToolContext
from actors.agents.tools.tool import Arguments, Tool, ToolResult
from actors.kind_names import WORKFLOW
from actors.runs.service import Runs
from storage.ids import new_id
from storage.runs import SHARDS, shard_of
from tests.actors.agents.definitions import agent, edge, node, payload
from tests.chaos.run_kinds import pay
from tests.stubs.http import Reply
from tests.stubs.openai import OpenAIStub, calls, completion, tool_call

# Of a workflow: a model's call, the tool, what its model says of it, and the other agent's word.
STEPS = ["pay", "pay/tools", "pay", "tell"]
DEFINITION = payload(
    edge("pay", "tell"), edge("tell", "END"), nodes=[node("pay", "Payer"), node("tell", "Teller")],
    agent_configs=[agent("Payer", allowed_tools=["pay"]), agent("Teller")],
)  # fmt: skip


class Payment(Arguments):
    directory: str


async def _pay(payment: Payment, context: ToolContext) -> ToolResult:
    assert context.idempotency_key is not None
    receipt = await asyncio.to_thread(pay, Path(payment.directory), context.idempotency_key)
    return ToolResult(content={"receipt": receipt})


PAY = Tool(name="pay", description="pay for it", args_model=Payment, run=_pay, effect="writes")


def said(body: dict[str, Any]) -> Reply:
    """Who has the tool uses it once. Each answer takes long enough to be cut off in its midst."""
    answered = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if answered or not body.get("tools"):
        return completion("paid", delay_s=2.0)
    directory = next(message["content"] for message in body["messages"] if message["role"] == "user")
    return calls(tool_call("pay", {"directory": directory}), delay_s=2.0)


class PayingAgents:
    """The workflows that were begun, each with the directory where it pays."""

    def __init__(self, runs: Runs, llm: OpenAIStub, directory: Path) -> None:
        self._runs = runs
        self._llm = llm
        self._directory = directory
        self.places: dict[UUID, Path] = {}

    async def begin(self, *, calls_each: int) -> None:
        """Two more on each of two hosts. Returns when so many calls of their models have come, and most wait for an
        answer.
        """
        place = self._directory / f"from {len(self.places)}"
        place.mkdir(parents=True)
        given = {"task_description": str(place), "initial_scratchpad": {}}
        for host in (0, 1, 0, 1):
            names = (str(new_id()) for _ in itertools.count())
            thread_id = next(name for name in names if shard_of(name) * 2 // SHARDS == host)
            run = await self._runs.start(WORKFLOW, {"definition": DEFINITION}, given, thread_id=thread_id)
            self.places[run.run_id] = place
        async with asyncio.timeout(60):
            while sum(str(place) in call.text for call in self._llm.calls) < 4 * calls_each:
                await asyncio.sleep(0.05)

    async def check_paid_once(self) -> None:
        """Each came to its end, paid once, and told of each of its steps once."""
        recovered = 0
        for run_id, place in self.places.items():
            run = await self._runs.get(run_id)
            assert (run.status, run.error) == ("completed", None)
            (receipt,) = place.glob(f"{run_id}:*")
            assert run.output is not None
            (told,) = [each["content"] for each in run.output["messages"] if each["type"] == "tool"]
            assert receipt.read_text() in told
            events = await self._runs.events(run_id)
            assert [each.seq for each in events] == list(range(1, len(events) + 1))
            assert [each.step for each in events if each.type == "step.completed"] == STEPS
            recovered += any(each.type == "run.recovered" for each in events)
        assert recovered >= 2, "no host was killed under them"
