"""The checkpointer keeps LangGraph's own contract, and holds for plain LangGraph users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from operator import add
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from actors.runs.checkpointer import GroupCommitSaver
from actors.runs.group_commit import GroupCommit, Table
from actors.runs.pipeline import conninfo_of


async def test_keeps_the_whole_contract(database_url: str) -> None:
    @checkpointer_test(name="GroupCommitSaver")
    async def saver() -> AsyncIterator[GroupCommitSaver]:
        async with GroupCommitSaver.open(database_url) as opened:
            yield opened

    report = await validate(saver)
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    assert report.passed_all()


class State(TypedDict):
    trail: Annotated[list[str], add]


def _graph(saver: GroupCommitSaver) -> Any:
    async def left(state: State) -> dict[str, Any]:
        return {"trail": ["left:" + interrupt("left?")]}

    async def right(state: State) -> dict[str, Any]:
        return {"trail": ["right:" + interrupt("right?")]}

    async def join(state: State) -> dict[str, Any]:
        return {"trail": [f"join of {len(state['trail'])}"]}

    builder = StateGraph(State)
    builder.add_node("left", left)
    builder.add_node("right", right)
    builder.add_node("join", join)
    builder.add_edge(START, "left")
    builder.add_edge(START, "right")
    builder.add_edge(["left", "right"], "join")
    builder.add_edge("join", END)
    return builder.compile(checkpointer=saver)


async def test_parallel_interrupts_resume_by_id_after_the_process_is_gone(database_url: str) -> None:
    config: Any = {"configurable": {"thread_id": "t"}}
    async with GroupCommitSaver.open(database_url) as saver:
        waiting = await _graph(saver).ainvoke({"trail": []}, config)
    ids = {found.value: found.id for found in waiting["__interrupt__"]}
    async with GroupCommitSaver.open(database_url) as saver:
        graph = _graph(saver)
        # One word for two questions is no answer to either (langgraph #8579).
        with pytest.raises(RuntimeError, match="specify the interrupt id"):
            await graph.ainvoke(Command(resume="yes"), config)
        half = await graph.ainvoke(Command(resume={ids["left?"]: "yes"}), config)
        assert [found.value for found in half["__interrupt__"]] == ["right?"]
        done = await graph.ainvoke(Command(resume={ids["right?"]: "no"}), config)
        assert done["trail"] == ["left:yes", "right:no", "join of 2"]
        history = [snapshot async for snapshot in graph.aget_state_history(config)]
        replayed = await graph.ainvoke(None, history[1].config)
        assert replayed["trail"] == done["trail"]


async def test_one_runs_bad_row_does_not_fail_its_neighbours(database_url: str) -> None:
    async with GroupCommitSaver.open(database_url) as saver:
        good = _graph(saver).ainvoke({"trail": []}, {"configurable": {"thread_id": "good"}})
        bad = _graph(saver).ainvoke({"trail": []}, {"configurable": {"thread_id": "NUL \x00"}})
        results: Any = await asyncio.gather(good, bad, return_exceptions=True)
    assert len(results[0]["__interrupt__"]) == 2
    assert isinstance(results[1], psycopg.DataError)


async def test_writes_wait_out_a_dropped_connection(database_url: str) -> None:
    async with GroupCommitSaver.open(database_url) as saver:
        graph = _graph(saver)
        await graph.ainvoke({"trail": []}, {"configurable": {"thread_id": "a"}})
        plain = database_url.replace("+psycopg", "")
        async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as admin:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'INSERT%'"
            )
        again = await graph.ainvoke({"trail": []}, {"configurable": {"thread_id": "b"}})
    assert len(again["__interrupt__"]) == 2


async def test_the_loops_own_thread_is_told_to_await(database_url: str) -> None:
    async with GroupCommitSaver.open(database_url) as saver:
        with pytest.raises(asyncio.InvalidStateError, match="await"):
            saver.get_tuple({"configurable": {"thread_id": "t"}})


async def test_what_a_thread_wrote_after_rows_that_cannot_be_written_is_not_written(database_url: str) -> None:
    """LangGraph asks for a step's writes and for the checkpoint after them without looking at the first (#8039, #8234)."""
    table = Table("notes", ("thread", "n"), ("text", "int4"), ("thread", "n"), "ignore")
    async with await psycopg.AsyncConnection.connect(conninfo_of(database_url), autocommit=True) as connection:
        await connection.execute("CREATE TABLE notes (thread text, n int CHECK (n <> 2), PRIMARY KEY (thread, n))")
        writer = GroupCommit(conninfo_of(database_url))
        given = [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2), ("b", 3), ("c", 1)]
        results = await asyncio.gather(
            *(writer.write([(table, row)], subject=row[0]) for row in given), return_exceptions=True
        )
        # One more of each, when it is known.
        await asyncio.gather(*(writer.write([(table, (thread, 4))], subject=thread) for thread in "abc"))
        await writer.close()
        kept = await (await connection.execute("SELECT thread, n FROM notes ORDER BY 1, 2")).fetchall()
    failed = {row for row, result in zip(given, results, strict=True) if result is not None}
    assert {("a", 2), ("a", 3), ("b", 2), ("b", 3)} <= failed
    assert set(kept) == {*given, ("a", 4), ("b", 4), ("c", 4)} - failed
    assert ("c", 1) in kept
