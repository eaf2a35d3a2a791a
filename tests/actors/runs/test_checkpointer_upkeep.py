"""Pruning, copying and removing: the tables do not grow without bound (langgraphjs #1138), and nothing needed goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from operator import add
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import psycopg
import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from sqlalchemy import make_url

from actors.runs.checkpointer import GroupCommitSaver


class State(TypedDict):
    trail: Annotated[list[str], add]
    stays: str


def _joined(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*(state or []), *(word for words in writes for word in words)]


class DeltaState(TypedDict):
    words: Annotated[list[str], DeltaChannel(_joined, snapshot_frequency=7)]


@pytest.fixture
async def saver(database_url: str) -> AsyncIterator[GroupCommitSaver]:
    async with GroupCommitSaver.open(database_url) as opened:
        yield opened


@pytest.fixture
async def looking(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    plain = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as connection:
        yield connection


async def _count(looking: psycopg.AsyncConnection[Any], table: str, thread_id: str = "t") -> int:
    cursor = await looking.execute(f"SELECT count(*) FROM {table} WHERE thread_id = %s".encode(), [thread_id])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


def _graph(saver: GroupCommitSaver) -> Any:
    async def node(state: State) -> dict[str, Any]:
        return {"trail": ["x" * 300]}

    builder = StateGraph(State)
    builder.add_node("a", node)
    builder.add_node("b", node)
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    return builder.compile(checkpointer=saver)


def _config(thread_id: str = "t", **metadata: Any) -> Any:
    return {"configurable": {"thread_id": thread_id}, "metadata": metadata}


async def test_a_thread_pruned_after_each_turn_stays_small_and_goes_on(
    saver: GroupCommitSaver, looking: psycopg.AsyncConnection[Any]
) -> None:
    graph = _graph(saver)
    sizes = []
    for turn in range(6):
        await graph.ainvoke({"trail": [], "stays": "s" * 1000} if turn == 0 else {"trail": []}, _config())
        await saver.aprune(["t"])
        sizes.append([
            await _count(looking, table)
            for table in ("run_checkpoints", "run_checkpoint_blobs", "run_checkpoint_writes")
        ])  # fmt: skip
    assert sizes == [[1, 2, 0]] * 6
    state = await graph.aget_state(_config())
    assert len(state.values["trail"]) == 12
    # Written once, in the first turn, and referred to ever since.
    assert state.values["stays"] == "s" * 1000


async def test_pruning_keeps_a_question_open(saver: GroupCommitSaver) -> None:
    async def ask(state: State) -> dict[str, Any]:
        return {"trail": [interrupt("go on?")]}

    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=saver)
    asked = await graph.ainvoke({"trail": [], "stays": "y"}, _config())
    await saver.aprune(["t"])
    state = await graph.aget_state(_config())
    assert state.tasks[0].interrupts[0].value == "go on?"
    done = await graph.ainvoke(Command(resume={asked["__interrupt__"][0].id: "yes"}), _config())
    assert done["trail"] == ["yes"]


@pytest.mark.parametrize("turns", [3, 9, 15])
async def test_pruning_keeps_what_a_delta_channel_is_rebuilt_from(
    saver: GroupCommitSaver, looking: psycopg.AsyncConnection[Any], turns: int
) -> None:
    builder = StateGraph(DeltaState)
    builder.add_node("node", lambda _: {"words": ["node"]})
    builder.add_edge(START, "node")
    graph: Any = builder.compile(checkpointer=saver)
    for turn in range(turns):
        await graph.ainvoke({"words": [str(turn)]}, _config(), durability="sync")
    before = (await graph.aget_state(_config())).values["words"]
    assert len(before) == 2 * turns
    await saver.aprune(["t"])
    assert (await graph.aget_state(_config())).values["words"] == before
    # Up to the channel's last snapshot; before its first one all of it.
    assert await _count(looking, "run_checkpoints") < (3 * turns if turns > 7 else 3 * turns + 1)
    await graph.ainvoke({"words": ["after"]}, _config(), durability="sync")
    assert (await graph.aget_state(_config())).values["words"] == [*before, "after", "node"]


async def test_pruning_while_the_thread_runs_takes_nothing_from_it(saver: GroupCommitSaver) -> None:
    graph = _graph(saver)
    await graph.ainvoke({"trail": [], "stays": "s" * 1000}, _config())
    for _ in range(10):
        await asyncio.gather(graph.ainvoke({"trail": []}, _config(), durability="sync"), saver.aprune(["t"]))
    state = await graph.aget_state(_config())
    assert (len(state.values["trail"]), state.values["stays"]) == (22, "s" * 1000)


async def test_deleting_a_runs_checkpoints_takes_its_own_blobs_and_no_others(
    saver: GroupCommitSaver, looking: psycopg.AsyncConnection[Any]
) -> None:
    graph = _graph(saver)
    first, second = str(uuid4()), str(uuid4())
    await graph.ainvoke({"trail": [], "stays": "s" * 1000}, _config(run_id=first))
    before = (await graph.aget_state(_config())).values
    blobs = await _count(looking, "run_checkpoint_blobs")
    await graph.ainvoke({"trail": []}, _config(run_id=second))
    await graph.ainvoke({"trail": [], "stays": "other"}, _config("other", run_id=str(uuid4())))
    others = await _count(looking, "run_checkpoint_blobs", "other")
    # An orphan of a thread that nobody touches is nobody's business here.
    await looking.execute("INSERT INTO run_checkpoint_blobs VALUES ('foreign', '', 'c', '1', 'null', '')")
    await saver.adelete_for_runs([second])
    assert (await graph.aget_state(_config())).values == before
    assert await _count(looking, "run_checkpoint_blobs") == blobs
    assert await _count(looking, "run_checkpoint_blobs", "other") == others
    assert await _count(looking, "run_checkpoint_blobs", "foreign") == 1
    await saver.adelete_for_runs([first])
    for table in ("run_checkpoints", "run_checkpoint_blobs", "run_checkpoint_writes"):
        assert await _count(looking, table) == 0


async def test_a_copied_thread_goes_its_own_way(saver: GroupCommitSaver) -> None:
    graph = _graph(saver)
    await graph.ainvoke({"trail": [], "stays": "s" * 1000}, _config())
    await saver.acopy_thread("t", "copy")
    await graph.ainvoke({"trail": ["mine"]}, _config("copy"))
    await saver.adelete_thread("t")
    copied = await graph.aget_state(_config("copy"))
    assert (len(copied.values["trail"]), copied.values["stays"]) == (5, "s" * 1000)
    assert len([found async for found in saver.alist(_config("copy"))]) == 8


async def test_a_long_history_comes_by_pages_whole_and_in_order(saver: GroupCommitSaver) -> None:
    graph = _graph(saver)
    for turn in range(40):
        await graph.ainvoke({"trail": [], "stays": str(turn)}, _config(turn=turn % 2), durability="sync")
    ids = [found.checkpoint["id"] async for found in saver.alist(_config())]
    assert len(ids) == 160
    assert ids == sorted(set(ids), reverse=True)
    assert [found.checkpoint["id"] async for found in saver.alist(_config(), limit=70)] == ids[:70]
    before: Any = {"configurable": {"thread_id": "t", "checkpoint_id": ids[60]}}
    assert [found.checkpoint["id"] async for found in saver.alist(_config(), before=before)] == ids[61:]
    odd = [found async for found in saver.alist(_config(), filter={"turn": 1, "source": "input"}, limit=100)]
    assert len(odd) == 20
    assert [found async for found in saver.alist(_config(), limit=0)] == []
    assert len([found async for found in saver.alist(None)]) == 160


async def test_an_unknown_strategy_and_a_bare_thread_id_are_refused(saver: GroupCommitSaver) -> None:
    with pytest.raises(ValueError, match="keep_latest or delete"):
        await saver.aprune(["t"], strategy="everything")
    with pytest.raises(TypeError, match="sequence"):
        await saver.aprune("t")
