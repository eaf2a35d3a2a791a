"""What may stand in a state, in metadata and in ids, and what is refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID, uuid4

import numpy as np
import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from pydantic import BaseModel

from actors.errors import RunTooLargeError
from actors.runs.checkpointer import GroupCommitSaver


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int


class Model(BaseModel):
    name: str
    parts: list[int]


class State(TypedDict):
    value: Any


@pytest.fixture
async def saver(database_url: str) -> AsyncIterator[GroupCommitSaver]:
    async with GroupCommitSaver.open(database_url) as opened:
        yield opened


def _graph(saver: GroupCommitSaver) -> Any:
    builder = StateGraph(State)
    builder.add_node("node", lambda state: {"value": state["value"]})
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=saver)


def _config(thread_id: Any = "t", **metadata: Any) -> Any:
    return {"configurable": {"thread_id": thread_id}, "metadata": metadata}


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -(2**63), 1.5, float("inf"), "", "short", "long" * 100, "NUL \x00 and \\u0000", "🦊 żółw",
        b"", b"\x00\xff", [], {}, {"a": {1: [None, [2, 3]]}}, {1, 2}, frozenset({"a"}), datetime(2026, 1, 2, tzinfo=UTC),
        date(2026, 1, 2), timedelta(seconds=1.5), Decimal("1.10"), uuid4(), Colour.RED, Point(1, 2),
        Model(name="m", parts=[1, 2]), AIMessage("hello", id="1"), Path("/a/b"), Send("node", {"a": 1}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
async def test_values_come_back_as_they_were(saver: GroupCommitSaver, value: Any) -> None:
    await _graph(saver).ainvoke({"value": value}, _config(), durability="sync")
    state = await _graph(saver).aget_state(_config())
    assert state.values["value"] == value
    assert type(state.values["value"]) is type(value)


async def test_arrays_come_back_as_they_were(saver: GroupCommitSaver) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    await _graph(saver).ainvoke({"value": array}, _config(), durability="sync")
    found = (await _graph(saver).aget_state(_config())).values["value"]
    assert found.dtype == array.dtype
    assert (found == array).all()


async def test_large_states_beside_small_ones(saver: GroupCommitSaver) -> None:
    """More than one transaction takes: each of them is written whole, and small runs are not lost between them."""
    sizes = [9_000_000, 10, 20_000_000, 10, 9_000_000, 10]
    graph = _graph(saver)
    await asyncio.gather(
        *(
            graph.ainvoke({"value": b"x" * size}, _config(str(number)), durability="sync")
            for number, size in enumerate(sizes)
        )
    )
    for number, size in enumerate(sizes):
        assert len((await graph.aget_state(_config(str(number)))).values["value"]) == size


async def test_a_state_too_large_for_a_message_is_refused_by_name(database_url: str) -> None:
    async with GroupCommitSaver.open(database_url, write_bytes=1_000_000) as saver:
        with pytest.raises(RunTooLargeError, match=r"of 'fat'.*at most 1,000,000.*blob") as caught:
            await _graph(saver).ainvoke({"value": b"x" * 2_000_000}, _config("fat"), durability="sync")
    assert caught.value.subject == "fat"


async def test_metadata_that_jsonb_cannot_say_does_not_fail_the_run(saver: GroupCommitSaver) -> None:
    given = {"nul": "a\x00b", "quoted": "a\\u0000b\\", "half": "\ud83d", "number": 2**70, "word": "x"}
    await _graph(saver).ainvoke({"value": 1}, _config(**given), durability="sync")
    found = await saver.aget_tuple(_config())
    assert found is not None
    kept: Any = found.metadata
    assert (kept["nul"], kept["quoted"], kept["number"], kept["word"]) == ("ab", "a\\u0000b\\", 2**70, "x")
    by_quoted = [each async for each in saver.alist(None, filter={"quoted": "a\\u0000b\\"})]
    assert len(by_quoted) == 3


async def test_a_nul_at_the_end_of_backslashes_is_told_from_their_text(saver: GroupCommitSaver) -> None:
    texts = ["\\\x00", "\\\\u0000", "\x00\x00", "\\\\\\u0000\x00"]
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    for text in texts:
        checkpoint: Any = {**empty_checkpoint(), "id": str(uuid4())}
        written = await saver.aput(config, checkpoint, {"note": {"deep": text}}, {})  # type: ignore[typeddict-unknown-key]
        found = await saver.aget_tuple(written)
        assert found is not None
        kept: Any = found.metadata
        assert kept["note"]["deep"] == text.replace("\x00", "")


@pytest.mark.parametrize("thread_id", [7, UUID(int=5), "x" * 1500, "naïve 🦊", "a'b\\c%s{}$1"], ids=str)
async def test_thread_ids_of_any_kind(saver: GroupCommitSaver, thread_id: Any) -> None:
    graph = _graph(saver)
    await graph.ainvoke({"value": "v"}, _config(thread_id), durability="sync")
    assert (await graph.aget_state(_config(thread_id))).values["value"] == "v"
    await saver.aprune([str(thread_id)])
    assert (await graph.aget_state(_config(thread_id))).values["value"] == "v"


async def test_a_thread_id_too_long_for_an_index_is_refused_and_fails_nobody_else(saver: GroupCommitSaver) -> None:
    graph = _graph(saver)
    both: Any = await asyncio.gather(
        graph.ainvoke({"value": 1}, _config("y" * 10_000), durability="sync"),
        graph.ainvoke({"value": 1}, _config("short"), durability="sync"),
        return_exceptions=True,
    )
    long, short = both
    assert isinstance(long, RunTooLargeError)
    assert "shorter thread id" in str(long)
    assert short == {"value": 1}
