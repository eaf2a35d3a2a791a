"""The checkpointer and its PostgreSQL: opening, losing it, and coming back."""

from __future__ import annotations

import asyncio
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.graph import START, StateGraph
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from actors.runs.binary_rows import encoders
from actors.runs.checkpointer import GroupCommitSaver
from actors.runs.group_commit import Table
from actors.runs.pipeline import conninfo_of
from storage.errors import DatabaseUnavailableError


class State(TypedDict):
    trail: Annotated[list[str], add]


def _graph(saver: GroupCommitSaver, steps: int = 10) -> Any:
    builder = StateGraph(State)
    for number in range(steps):

        async def node(state: State, number: int = number) -> dict[str, Any]:
            return {"trail": [str(number)]}

        builder.add_node(f"n{number}", node)
        builder.add_edge(START if number == 0 else f"n{number - 1}", f"n{number}")
    return builder.compile(checkpointer=saver)


def _config(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id}}


def _plain(database_url: str) -> str:
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


async def test_connections_killed_again_and_again_lose_no_step(database_url: str) -> None:
    async with (
        GroupCommitSaver.open(database_url) as saver,
        await psycopg.AsyncConnection.connect(_plain(database_url), autocommit=True) as admin,
    ):
        graph = _graph(saver)
        runs = asyncio.gather(
            *(graph.ainvoke({"trail": []}, _config(str(number)), durability="sync") for number in range(60))
        )
        killed = 0
        while not runs.done():
            cursor = await admin.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            row = await cursor.fetchone()
            assert row is not None
            killed += row[0]
            await asyncio.sleep(0.1)
        done = await runs
        assert killed > 2
        assert [each["trail"] for each in done] == [[str(step) for step in range(10)]] * 60
        for number in range(60):
            history = [found async for found in saver.alist(_config(str(number)))]
            assert len(history) == 12
            # Each step's results once.
            writes = [write for found in history for write in found.pending_writes or () if write[1] == "trail"]
            assert len(writes) == 11


async def test_reads_outlive_a_killed_connection(database_url: str) -> None:
    async with (
        GroupCommitSaver.open(database_url) as saver,
        await psycopg.AsyncConnection.connect(_plain(database_url), autocommit=True) as admin,
    ):
        await _graph(saver, 2).ainvoke({"trail": []}, _config("t"))
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert (await _graph(saver, 2).aget_state(_config("t"))).values["trail"] == ["0", "1"]


async def test_many_savers_open_one_empty_database_at_once(postgres: str) -> None:
    plain = _plain(postgres)
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as admin:
        await admin.execute("CREATE DATABASE empty_one")
        url = make_url(postgres).set(database="empty_one").render_as_string(hide_password=False)

        async def one(number: int) -> list[str]:
            async with GroupCommitSaver.open(url) as saver:
                done = await _graph(saver, 2).ainvoke({"trail": []}, _config(str(number)))
                return list(done["trail"])

        try:
            assert await asyncio.gather(*(one(number) for number in range(8))) == [["0", "1"]] * 8
        finally:
            await admin.execute("DROP DATABASE empty_one WITH (FORCE)")


async def test_tables_made_by_somebody_else_are_used_without_the_right_to_make_any(database_url: str) -> None:
    async with GroupCommitSaver.open(database_url):
        pass
    async with await psycopg.AsyncConnection.connect(_plain(database_url), autocommit=True) as admin:
        await admin.execute("DROP ROLE IF EXISTS only_rows")
        await admin.execute("CREATE ROLE only_rows LOGIN")
        await admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        await admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO only_rows")
        try:
            url = make_url(database_url).set(username="only_rows", password=None)
            async with GroupCommitSaver.open(url.render_as_string(hide_password=False)) as saver:
                done = await _graph(saver, 1).ainvoke({"trail": []}, _config("t"))
            assert done["trail"] == ["0"]
        finally:
            await admin.execute("DROP OWNED BY only_rows")
            await admin.execute("DROP ROLE only_rows")


async def test_a_database_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match="check the database URL"):
        async with GroupCommitSaver.open(f"postgresql://postgres@/x?host={tmp_path}"):
            pass


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("postgres://u:p%40@h:5433/d", {"host": "h", "port": "5433", "user": "u", "password": "p@", "dbname": "d"}),
        ("postgresql+psycopg://u@/d?host=/var/run/pg", {"host": "/var/run/pg", "user": "u", "dbname": "d"}),
        ("postgresql://u@%2Ftmp%2Fpg/d", {"host": "/tmp/pg", "user": "u", "dbname": "d"}),
        ("host=/tmp/pg dbname=d", {"host": "/tmp/pg", "dbname": "d"}),
    ],
)
def test_database_urls_of_every_form(given: str, told: dict[str, str]) -> None:
    assert told.items() <= conninfo_to_dict(conninfo_of(given)).items()


async def test_a_closed_saver_says_so(database_url: str) -> None:
    async with GroupCommitSaver.open(database_url) as saver:
        graph = _graph(saver, 1)
    with pytest.raises(RuntimeError, match="closed"):
        await graph.ainvoke({"trail": []}, _config("t"))


def test_a_table_that_cannot_be_written_is_refused_when_it_is_declared() -> None:
    with pytest.raises(ValueError, match="no binary encoding for the type 'money'"):
        encoders(["money"])
    with pytest.raises(ValueError, match="begin with its key"):
        Table("t", ("a", "b"), ("text", "text"), ("b",), "ignore")
