"""Graphs of plain LangGraph users on the checkpointer: what they rely on beyond the contract's own tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from operator import add
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from sqlalchemy import make_url

from actors.runs.checkpointer import GroupCommitSaver


class State(TypedDict):
    trail: Annotated[list[str], add]


@pytest.fixture
async def saver(database_url: str) -> AsyncIterator[GroupCommitSaver]:
    async with GroupCommitSaver.open(database_url) as opened:
        yield opened


@pytest.fixture
async def looking(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Somebody else's connection: it sees what is committed."""
    plain = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as connection:
        yield connection


def _config(thread_id: str = "t", **more: Any) -> Any:
    return {"configurable": {"thread_id": thread_id, **more}}


def _chain(saver: GroupCommitSaver, count: int) -> Any:
    builder = StateGraph(State)
    for number in range(count):

        async def node(state: State, number: int = number) -> dict[str, Any]:
            return {"trail": [str(number)]}

        builder.add_node(f"n{number}", node)
        builder.add_edge(START if number == 0 else f"n{number - 1}", f"n{number}")
    return builder.compile(checkpointer=saver)


async def test_a_question_two_graphs_deep_is_answered_by_another_process(database_url: str) -> None:
    def built(saver: GroupCommitSaver) -> Any:
        async def ask(state: State) -> dict[str, Any]:
            return {"trail": ["answer:" + interrupt("how many?")]}

        inner = StateGraph(State)
        inner.add_node("ask", ask)
        inner.add_edge(START, "ask")
        middle = StateGraph(State)
        middle.add_node("inner", inner.compile())
        middle.add_edge(START, "inner")
        outer = StateGraph(State)
        outer.add_node("before", lambda _: {"trail": ["before"]})
        outer.add_node("middle", middle.compile())
        outer.add_edge(START, "before")
        outer.add_edge("before", "middle")
        return outer.compile(checkpointer=saver)

    async with GroupCommitSaver.open(database_url) as saver:
        asked = await built(saver).ainvoke({"trail": []}, _config())
        state = await built(saver).aget_state(_config(), subgraphs=True)
    assert state.tasks[0].state.tasks[0].state.tasks[0].interrupts[0].value == "how many?"
    async with GroupCommitSaver.open(database_url) as saver:
        answers = {asked["__interrupt__"][0].id: "three"}
        done = await built(saver).ainvoke(Command(resume=answers), _config())
    assert done["trail"].count("answer:three") == 1
    assert done["trail"].count("before") >= 1


async def test_a_branch_that_is_done_is_not_run_again_when_its_neighbour_failed(saver: GroupCommitSaver) -> None:
    calls: list[str] = []
    broken = True

    async def good(state: State) -> dict[str, Any]:
        calls.append("good")
        return {"trail": ["good"]}

    async def bad(state: State) -> dict[str, Any]:
        await asyncio.sleep(0.05)
        if broken:
            raise ValueError("out of order")
        return {"trail": ["bad"]}

    builder = StateGraph(State)
    builder.add_node("good", good)
    builder.add_node("bad", bad)
    builder.add_edge(START, "good")
    builder.add_edge(START, "bad")
    graph = builder.compile(checkpointer=saver)
    with pytest.raises(ValueError, match="out of order"):
        await graph.ainvoke({"trail": []}, _config(), durability="sync")
    broken = False
    done = await graph.ainvoke(None, _config(), durability="sync")
    assert sorted(done["trail"]) == ["bad", "good"]
    assert calls == ["good"]


async def test_fan_out_by_send_joins_in_order(saver: GroupCommitSaver) -> None:
    async def work(given: Any) -> dict[str, Any]:
        return {"trail": [str(given["number"])]}

    builder: Any = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", {"number": number}) for number in range(30)])
    graph = builder.compile(checkpointer=saver)
    done = await graph.ainvoke({"trail": []}, _config(), durability="sync")
    assert done["trail"] == [str(number) for number in range(30)]
    assert (await graph.aget_state(_config())).values == done


async def test_forks_of_one_checkpoint_made_at_once_keep_their_own_values(saver: GroupCommitSaver) -> None:
    graph = _chain(saver, 3)
    await graph.ainvoke({"trail": []}, _config())
    history = [snapshot async for snapshot in graph.aget_state_history(_config())]
    origin = next(snapshot for snapshot in history if snapshot.next == ("n2",))
    forks = await asyncio.gather(
        *(graph.aupdate_state(origin.config, {"trail": [f"fork {number}"]}) for number in range(20))
    )
    states = await asyncio.gather(*(graph.aget_state(fork) for fork in forks))
    assert [state.values["trail"] for state in states] == [["0", "1", f"fork {number}"] for number in range(20)]
    done = await graph.ainvoke(None, forks[7])
    assert done["trail"] == ["0", "1", "fork 7", "2"]
    # The origin is as it was.
    assert (await graph.aget_state(origin.config)).values["trail"] == ["0", "1"]


async def test_a_step_begins_when_the_one_before_it_is_on_disk(
    saver: GroupCommitSaver, looking: psycopg.AsyncConnection[Any]
) -> None:
    seen: list[tuple[int, int]] = []

    async def node(state: State) -> dict[str, Any]:
        cursor = await looking.execute(
            "SELECT (SELECT max((metadata->>'step')::int) FROM run_checkpoints),"
            " (SELECT count(DISTINCT task_id) FROM run_checkpoint_writes WHERE channel = 'trail')"
        )
        row = await cursor.fetchone()
        assert row is not None
        seen.append((row[0], row[1]))
        return {"trail": ["x"]}

    builder = StateGraph(State)
    for number in range(4):
        builder.add_node(f"n{number}", node)
        builder.add_edge(START if number == 0 else f"n{number - 1}", f"n{number}")
    await builder.compile(checkpointer=saver).ainvoke({"trail": []}, _config(), durability="sync")
    # (newest superstep, steps whose results are kept; the input is one)
    assert seen == [(0, 1), (1, 2), (2, 3), (3, 4)]


async def test_no_checkpoint_is_on_disk_before_the_writes_that_led_to_it(
    saver: GroupCommitSaver, looking: psycopg.AsyncConnection[Any]
) -> None:
    """langgraph #8039, #8234: after a crash between them a finished step would be run again, or not, by luck."""
    graph = _chain(saver, 8)
    runs = asyncio.gather(
        *(graph.ainvoke({"trail": []}, _config(str(number)), durability="sync") for number in range(40))
    )
    looks = 0
    while not runs.done():
        cursor = await looking.execute(
            "SELECT count(*) FROM run_checkpoints c WHERE metadata->>'source' = 'loop'"
            " AND (metadata->>'step')::int > 0 AND NOT EXISTS (SELECT FROM run_checkpoint_writes w WHERE"
            " w.thread_id = c.thread_id AND w.checkpoint_id = c.parent_id)"
        )
        assert await cursor.fetchone() == (0,)
        looks += 1
    await runs
    assert looks > 3


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_whatever_the_durability_an_ended_run_can_be_gone_on_with(database_url: str, durability: str) -> None:
    async with GroupCommitSaver.open(database_url) as saver:
        await _chain(saver, 3).ainvoke({"trail": []}, _config(), durability=durability)
    async with GroupCommitSaver.open(database_url) as saver:
        graph = _chain(saver, 3)
        assert (await graph.aget_state(_config())).values["trail"] == ["0", "1", "2"]
        again = await graph.ainvoke({"trail": ["again"]}, _config(), durability=durability)
        assert again["trail"] == ["0", "1", "2", "again", "0", "1", "2"]
        steps = [found async for found in saver.alist(_config())]
        assert len(steps) == (2 if durability == "exit" else 10)


async def test_synchronous_graphs_run_in_other_threads(saver: GroupCommitSaver) -> None:
    graph = _chain(saver, 1)
    sync = StateGraph(State)
    sync.add_node("node", lambda _: {"trail": ["sync"]})
    sync.add_edge(START, "node")
    sync.add_edge("node", END)
    compiled: Any = sync.compile(checkpointer=saver)
    runs = [asyncio.to_thread(compiled.invoke, {"trail": []}, _config(str(number))) for number in range(5)]
    assert [done["trail"] for done in await asyncio.gather(*runs)] == [["sync"]] * 5
    history = await asyncio.to_thread(lambda: list(saver.list(_config("3"))))
    assert len(history) == 3
    await asyncio.to_thread(saver.copy_thread, "3", "copy")
    await asyncio.to_thread(saver.prune, ["3"])
    assert len(await asyncio.to_thread(lambda: list(saver.list(_config("3"))))) == 1
    await asyncio.to_thread(saver.delete_thread, "3")
    assert await asyncio.to_thread(saver.get_tuple, _config("3")) is None
    assert (await graph.aget_state(_config("copy"))).values["trail"] == ["sync"]


async def test_who_is_cancelled_while_waiting_leaves_whole_steps(
    saver: GroupCommitSaver, looking: psycopg.AsyncConnection[Any]
) -> None:
    graph = _chain(saver, 10)
    for number in range(30):
        run = asyncio.create_task(graph.ainvoke({"trail": []}, _config(str(number)), durability="sync"))
        await asyncio.sleep(0.001 * number)
        run.cancel()
        await asyncio.wait([run])
    for number in range(30):
        state = await graph.aget_state(_config(str(number)))
        trail = state.values.get("trail", [])
        assert trail == [str(step) for step in range(len(trail))]
        done = await graph.ainvoke(None if state.created_at else {"trail": []}, _config(str(number)), durability="sync")
        assert done["trail"] == [str(step) for step in range(10)]
