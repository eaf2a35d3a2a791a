"""The tools that a model asks for: which calls can be made, and making them, each at most once.

A call that cannot be made (an unknown tool, wrong arguments, no JSON) is answered with the reason and never executed;
so is one that a person rejected.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, InvalidToolCall, ToolCall, ToolMessage
from pydantic import ValidationError

from actors.agents.conditions import SIGNAL_KEY
from actors.agents.deps import ToolContext
from actors.agents.tools.tool import Tool, ToolResult
from actors.agents.workflow_state import NODE_KEY
from actors.errors import ToolCallError
from actors.runs.step import StepContext, current

C = TypeVar("C", ToolCall, InvalidToolCall)

SIGNAL_TOOL = "set_routing_signal"
# Of results' codes: the model's own doing, of which it is told once.
MODEL_FAULTS = frozenset({"unknown_tool", "tool_arguments"})
# Ids as providers give them; a model behind a server that passes on what it writes may write anything.
_ID = re.compile(r"[\x21-\x7e]{1,200}")


class OpenContext(Protocol):
    """Makes what a tool call is given: the caller's wallet, the scratchpad, and the name of this very call."""

    def __call__(
        self, *, wallet: str | None, scratchpad: Mapping[str, Any], idempotency_key: str | None
    ) -> ToolContext: ...


@dataclass(frozen=True, slots=True)
class Screened:
    """A model's calls before any is made. `replies` answer those that are not to be made."""

    calls: list[ToolCall] = field(default_factory=list)
    replies: list[ToolMessage] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    signal: str | None = None


def signal_schema(signals: Sequence[str]) -> dict[str, Any]:
    """The tool by which an agent says where to go on, for the signals that its node's edges wait for."""
    return {
        "type": "function",
        "function": {
            "name": SIGNAL_TOOL,
            "description": "Say how the work goes on. Call it once, when your own part is done.",
            "parameters": {
                "type": "object",
                "properties": {"signal": {"type": "string", "enum": list(signals)}},
                "required": ["signal"],
            },
        },
    }


def with_ids(message: AIMessage, earlier: Sequence[BaseMessage]) -> AIMessage:
    """The message, each of whose calls has an id that no call of the conversation had before, fit for the record of
    what was done: some models number theirs anew in each answer, or give none, and an earlier call's answer would pass
    for this one's.
    """
    taken = {call["id"] for each in earlier if isinstance(each, AIMessage) for call in _calls(each)}

    def named(call: C) -> C:
        if not _ID.fullmatch(call["id"] or "") or call["id"] in taken:
            call = call.copy()
            call["id"] = f"call_{secrets.token_hex(12)}"
        taken.add(call["id"])
        return call

    calls = [named(call) for call in message.tool_calls]
    broken = [named(call) for call in message.invalid_tool_calls]
    return message.model_copy(update={"tool_calls": calls, "invalid_tool_calls": broken})


def _calls(message: AIMessage) -> list[ToolCall | InvalidToolCall]:
    return [*message.tool_calls, *message.invalid_tool_calls]


def screened(message: AIMessage, tools: Mapping[str, Tool[Any]], signals: Sequence[str], node_id: str) -> Screened:
    """Which of the message's calls can be made."""
    calls: list[ToolCall] = []
    replies: list[ToolMessage] = []
    faults: list[str] = []
    signal: str | None = None
    for call in message.tool_calls:
        signals_on = call["name"] == SIGNAL_TOOL and bool(signals)
        wrong = _signal_fault(call, signals) if signals_on else fault_of(call, tools)
        if wrong is not None:
            faults.append(wrong)
            replies.append(reply(call, wrong, node_id, error=True))
        elif signals_on:
            signal = call["args"]["signal"]
            replies.append(reply(call, f"noted: {signal}", node_id))
        else:
            calls.append(call)
    for broken in message.invalid_tool_calls:
        wrong = f"{broken['name']!r} was not called: {broken['error'] or broken['args']}"[:1000]
        faults.append(wrong)
        named = ToolCall(name=broken["name"] or "", args={}, id=broken["id"])
        replies.append(reply(named, wrong, node_id, error=True))
    return Screened(calls, replies, faults, signal)


def _signal_fault(call: ToolCall, signals: Sequence[str]) -> str | None:
    return None if call["args"].get("signal") in signals else f"`signal` must be one of {', '.join(signals)}"


def fault_of(call: ToolCall, tools: Mapping[str, Tool[Any]]) -> str | None:
    """Why the call cannot be made, as its model is told, or `None`."""
    tool = tools.get(call["name"])
    if tool is None:
        usable = f"use one of: {', '.join(tools)}" if tools else "you have no tools"
        return f"there is no tool {call['name']!r}; {usable}"
    try:
        tool.args_model.model_validate(call["args"])
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False)[:5]
        ]
        return f"wrong arguments for {tool.name!r}: {'; '.join(wrong)}"
    return None


def refused_again(node_id: str, faults: Sequence[str]) -> ToolCallError:
    return ToolCallError(
        f"the model of node {node_id!r} was told of a call that cannot be made, and made another: "
        f"{'; '.join(faults)[:1000]}",
        subject=node_id,
    )


def reply(call: ToolCall, text: str, node_id: str, *, error: bool = False) -> ToolMessage:
    """The answer to a call that its model reads."""
    return ToolMessage(
        text, tool_call_id=call["id"] or "", name=call["name"], status="error" if error else "success",
        additional_kwargs={NODE_KEY: node_id},
    )  # fmt: skip


async def made(
    calls: Sequence[ToolCall],
    tools: Mapping[str, Tool[Any]],
    open_context: OpenContext,
    scratchpad: Mapping[str, Any],
) -> list[ToolResult]:
    """Every call's result, in order. Those that only read are made at once, those that write one after the other, each
    under a key of its own that stays the same when the step is repeated: what was done then is not done again.
    """
    results: dict[int, ToolResult] = {}
    keys = _keys(calls)

    async def make(place: int) -> None:
        call = calls[place]
        results[place] = await _made(call, tools[call["name"]], open_context, scratchpad, keys[place])

    reading = [place for place, call in enumerate(calls) if tools[call["name"]].effect == "reads"]
    # All are let end: a result that came in time may be the one that another try would not get.
    outcomes = await asyncio.gather(*(make(place) for place in reading), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    for place in range(len(calls)):
        if place not in reading:
            await make(place)
    return [results[place] for place in range(len(calls))]


def _keys(calls: Sequence[ToolCall]) -> list[str]:
    """A key for each call, the same whenever the step is run. Some models give several calls one id, or none, so those
    that repeat an earlier one's have their place in front.
    """
    keys: list[str] = []
    for place, call in enumerate(calls):
        key = f"{call['name']}:{call['id']}"
        keys.append(f"{place}:{key}" if key in keys else key)
    return keys


async def _made(
    call: ToolCall, tool: Tool[Any], open_context: OpenContext, scratchpad: Mapping[str, Any], key: str
) -> ToolResult:
    step = current()
    started = time.perf_counter()

    async def run(key: str | None) -> ToolResult:
        context = open_context(wallet=step.owner, scratchpad=scratchpad, idempotency_key=key)
        return await tool.call(call["args"], context)

    result = await (_done_once(step, key, run) if tool.effect == "writes" else run(None))
    step.emit(
        "tool.called",
        {
            "tool": tool.name, "call_id": call["id"], "error": result.error,
            "seconds": round(time.perf_counter() - started, 3),
        },
    )  # fmt: skip
    return result


class _NotDoneError(Exception):
    """Takes a failed call's result past the record of what was done."""

    def __init__(self, result: ToolResult) -> None:
        super().__init__(result.error)
        self.result = result


async def _done_once(step: StepContext, key: str, run: Callable[[str], Awaitable[ToolResult]]) -> ToolResult:
    """What the call came to, now or when the step was run before. A failure is no record: the call is made again, under
    the same idempotency key, which tells its tool whether it had acted all the same.
    """

    async def recorded(idempotency_key: str) -> dict[str, Any]:
        result = await run(idempotency_key)
        if result.error is not None:
            raise _NotDoneError(result)
        return asdict(result)

    try:
        document = await step.once(key, recorded)
    except _NotDoneError as failed:
        return failed.result
    return ToolResult(**{**document, "left_out": tuple(document["left_out"])})


def signal_in(updates: Mapping[str, Any]) -> str | None:
    """The signal that a tool's or an agent's additions to the scratchpad carry."""
    found = updates.get(SIGNAL_KEY)
    return found if isinstance(found, str) else None
