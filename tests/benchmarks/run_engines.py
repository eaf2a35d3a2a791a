"""One contender of `make bench-runs`, in a process of its own: runs of ten trivial steps.

`python -m tests.benchmarks.run_engines <name> <database url>` says `ready` and then answers each line `<runs> <at once>`
with the seconds those runs took. Every contender runs on uvloop, with the garbage collector set as run hosts set it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypedDict
from uuid import uuid4

import uvloop
from sqlalchemy import make_url

from actors.runs import heap

STEPS = 10
# The sizes that made each fastest here.
_LANGGRAPH_POOL = 16
_DBOS_POOL = 50

Run = Callable[[], Awaitable[int]]


class State(TypedDict):
    count: int


async def step(state: State) -> State:
    return {"count": state["count"] + 1}


@asynccontextmanager
async def no_checkpointer(database_url: str) -> AsyncIterator[Run]:
    yield _graph_run(None)


@asynccontextmanager
async def keeping_nothing(database_url: str) -> AsyncIterator[Run]:
    """What LangGraph itself does for a checkpointer, whatever that does then."""
    from langgraph.checkpoint.base import BaseCheckpointSaver  # noqa: PLC0415

    class Nothing(BaseCheckpointSaver[int]):
        async def aget_tuple(self, _config: Any) -> None:
            return None

        async def aput(self, config: Any, *_: Any) -> Any:
            return config

        async def aput_writes(self, *_: Any) -> None:
            return None

    yield _graph_run(Nothing())


@asynccontextmanager
async def group_commit(database_url: str) -> AsyncIterator[Run]:
    from actors.runs.checkpointer import GroupCommitSaver  # noqa: PLC0415 - each process imports its own contender only

    async with GroupCommitSaver.open(database_url) as saver:
        yield _graph_run(saver)


@asynccontextmanager
async def langgraph_postgres(database_url: str) -> AsyncIterator[Run]:
    """As its documentation says for production: a pool, autocommit, statements prepared at once, rows as dicts."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: PLC0415
    from psycopg.rows import dict_row  # noqa: PLC0415
    from psycopg_pool import AsyncConnectionPool  # noqa: PLC0415

    pool: Any = AsyncConnectionPool(
        database_url, min_size=_LANGGRAPH_POOL, max_size=_LANGGRAPH_POOL, open=False,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
    )  # fmt: skip
    async with pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        yield _graph_run(saver)


@asynccontextmanager
async def dbos(database_url: str) -> AsyncIterator[Run]:
    from dbos import DBOS  # noqa: PLC0415

    url = make_url(database_url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    DBOS(config={"name": "bench", "system_database_url": url, "sys_db_pool_size": _DBOS_POOL, "log_level": "WARNING"})

    @DBOS.step()
    async def add(count: int) -> int:
        return count + 1

    @DBOS.workflow()
    async def ten(count: int) -> int:
        for _ in range(STEPS):
            count = await add(count)
        return count

    DBOS.launch()
    try:
        yield lambda: ten(0)
    finally:
        DBOS.destroy()


def _graph_run(saver: Any) -> Run:
    from langgraph.graph import END, START, StateGraph  # noqa: PLC0415

    builder = StateGraph(State)
    for number in range(STEPS):
        builder.add_node(f"step_{number}", step)
        builder.add_edge(f"step_{number - 1}" if number else START, f"step_{number}")
    builder.add_edge(f"step_{STEPS - 1}", END)
    graph = builder.compile(checkpointer=saver)

    async def run() -> int:
        config: Any = {"configurable": {"thread_id": str(uuid4())}}
        done = await graph.ainvoke({"count": 0}, config, durability="sync" if saver else None)
        return int(done["count"])

    return run


CONTENDERS = {
    "none": no_checkpointer,
    "nothing": keeping_nothing,
    "ours": group_commit,
    "langgraph": langgraph_postgres,
    "dbos": dbos,
}


async def measure(run: Run, runs: int, at_once: int) -> float:
    """Seconds until that many runs are done, so many at a time; each has to answer that it took its ten steps."""
    left = iter(range(runs))

    async def one_after_the_other() -> None:
        for _ in left:
            assert await run() == STEPS

    started = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return time.perf_counter() - started


async def main() -> None:
    name, database_url = sys.argv[1:]
    async with CONTENDERS[name](database_url) as run:
        await measure(run, 100, 100)  # imports, connections, prepared statements
        heap.settle()
        print("ready", flush=True)
        # Blocking on purpose: between its turns a contender does nothing.
        while line := sys.stdin.readline():
            runs, at_once = map(int, line.split())
            print(await measure(run, runs, at_once), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
