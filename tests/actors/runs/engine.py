"""Kinds of runs for tests, and an engine in this process: hosts, the service, and what they share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict
from uuid import UUID

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from actors.runs.group_commit import Table
from actors.runs.host import RunHost
from actors.runs.kinds import Kind, Kinds, RunSetup
from actors.runs.retrying import RetryPolicy, durable
from actors.runs.service import Runs
from actors.runs.step import current
from actors.settings import ActorsSettings, RunSettings
from storage.clock import now
from storage.engine import Database
from storage.runs import SHARDS, Run
from storage.settings import StorageSettings


class Trail(TypedDict):
    trail: Annotated[list[str], add]


# LangGraph's own type for it cannot be spelt.
Node = Any


# A table that steps write to; see `effectful`. Tests make it.
LEDGER = Table("ledger", ("note", "at"), ("text", "timestamptz"), ("note",), "ignore")

# What steps did in this process, however often they were run.
done: list[str] = []
# What steps wait for, by name.
gates: dict[str, asyncio.Event] = {}


def forget() -> None:
    done.clear()
    gates.clear()


def gate(name: str) -> asyncio.Event:
    return gates.setdefault(name, asyncio.Event())


def effectful(spec: dict[str, Any]) -> Any:
    """Steps that tell, write rows of their own table and call others, and fail as the spec says."""
    tries = []

    async def act(state: Trail) -> dict[str, Any]:
        context = current()
        tries.append(context.attempt)
        context.record(LEDGER, (f"{context.run_id} try {context.attempt}", now()))

        async def pay(key: str) -> dict[str, Any]:
            done.append(key)
            return {"receipt": len(done)}

        first, second = await asyncio.gather(context.once("pay", pay), context.once("pay", pay))
        context.emit("paid", first)
        context.progress(paid=len(done))
        context.stream({"token": "shown only"})
        if len(tries) <= spec.get("fails", 0):
            raise ConnectionError("after the effect")
        if spec.get("gate"):
            await gate(spec["gate"]).wait()
        return {"trail": [f"{first['receipt']} {second['receipt']}"]}

    def in_a_thread(state: Trail) -> dict[str, Any]:
        current().emit("from.a.thread", {"thread": True})
        return {"trail": ["thread"]}

    return chain(("act", act), ("thread", durable(in_a_thread)))


def talkative(spec: dict[str, Any]) -> Any:
    async def say(state: Trail) -> dict[str, Any]:
        said: tuple[dict[str, Any], ...] = (
            {"text": "x" * 200_000}, {"text": "NUL \x00 is not"}, {"what": object()}, {"half": "\ud800"}
        )  # fmt: skip
        for each in said:
            current().emit("said", each)
        return {"trail": []}

    return chain(("say", say))


def streaming(spec: dict[str, Any]) -> Any:
    async def talk(state: Trail) -> dict[str, Any]:
        await gate(spec["gate"]).wait()
        for token in "abc":
            current().stream({"token": token})
            await asyncio.sleep(0.02)
        return {"trail": []}

    return chain(("talk", talk))


def chain(*nodes: tuple[str, Node]) -> Any:
    """Nodes one after the other."""
    builder = StateGraph(Trail)
    before = START
    for name, node in nodes:
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    builder.add_edge(before, END)
    return builder


def counting(spec: dict[str, Any]) -> Any:
    """`steps` steps, each of which does its side effect once."""

    def node(number: int) -> Node:
        async def count(state: Trail) -> dict[str, Any]:
            async def effect(key: str) -> str:
                done.append(key)
                return key

            await current().once("count", effect)
            await asyncio.sleep(spec.get("pause_s", 0))
            return {"trail": [str(number)]}

        return count

    return chain(*[(f"step {number}", node(number)) for number in range(spec["steps"])])


def asking(spec: dict[str, Any]) -> Any:
    """Two branches that ask, a third that does not, and a join."""

    def branch(name: str) -> Node:
        async def ask(state: Trail) -> dict[str, Any]:
            done.append(name)
            return {"trail": [f"{name}:{interrupt(name + '?')}"]}

        return ask

    async def silent(state: Trail) -> dict[str, Any]:
        done.append("silent")
        return {"trail": ["silent"]}

    async def join(state: Trail) -> dict[str, Any]:
        done.append("join")
        return {"trail": ["join"]}

    builder = StateGraph(Trail)
    for name in ("left", "right"):
        builder.add_node(name, branch(name))
    builder.add_node("silent", silent)
    builder.add_node("join", join)
    for name in ("left", "right", "silent"):
        builder.add_edge(START, name)
    builder.add_edge(["left", "right", "silent"], "join")
    builder.add_edge("join", END)
    return builder


def gated(spec: dict[str, Any]) -> Any:
    """A step, one that waits for the gate `spec["gate"]`, and a last one."""

    async def before(state: Trail) -> dict[str, Any]:
        done.append("before")
        return {"trail": ["before"]}

    async def wait(state: Trail) -> dict[str, Any]:
        done.append("wait")
        try:
            await gate(spec["gate"]).wait()
        except asyncio.CancelledError:
            done.append("wait was cancelled")
            raise
        return {"trail": ["wait"]}

    async def after(state: Trail) -> dict[str, Any]:
        done.append("after")
        return {"trail": ["after"]}

    return chain(("before", before), ("wait", wait), ("after", after))


def stubborn(spec: dict[str, Any]) -> Any:
    """A step that does not heed its cancellation."""

    async def deaf(state: Trail) -> dict[str, Any]:
        done.append("stubborn")
        while not gate("stubborn").is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate("stubborn").wait()
        try:
            current().emit("still.there")
        finally:
            done.append("stubborn went on")
        return {"trail": ["stubborn"]}

    return chain(("deaf", deaf))


def failing(spec: dict[str, Any]) -> Any:
    """Two branches, one of which fails until the gate `mended` is open."""

    async def beside(state: Trail) -> dict[str, Any]:
        done.append("beside")
        return {"trail": ["beside"]}

    async def breaks(state: Trail) -> dict[str, Any]:
        done.append("breaks")
        await until(lambda: "beside" in done or gate("mended").is_set())
        await asyncio.sleep(0.05)
        if not gate("mended").is_set():
            raise ValueError("no such luck")
        return {"trail": ["breaks"]}

    builder = StateGraph(Trail)
    for name, node in (("beside", beside), ("breaks", breaks)):
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder


def flaky(spec: dict[str, Any]) -> Any:
    """A step whose first tries find nobody at the other end."""
    tries = []

    async def call(state: Trail) -> dict[str, Any]:
        tries.append(current().attempt)
        if len(tries) <= spec["times"]:
            raise ConnectionError("nobody answers")
        return {"trail": [f"tries: {current().attempt}"]}

    return chain(("call", call))


def endless(spec: dict[str, Any]) -> Any:
    async def again(state: Trail) -> dict[str, Any]:
        return {"trail": []}

    builder = StateGraph(Trail)
    builder.add_node("again", again)
    builder.add_edge(START, "again")
    builder.add_edge("again", "again")
    return builder


def spendthrift(spec: dict[str, Any]) -> Any:
    """Each call uses 60 and 15 tokens, three of them in each of its one or two `steps`."""

    async def spend(state: Trail) -> dict[str, Any]:
        for _ in range(3):
            current().use("m", prompt_tokens=60, completion_tokens=15, cost_micro_usd=7)
        return {"trail": ["spent"]}

    return chain(*((name, spend) for name in ("spend", "spend more")[: spec.get("steps", 1)]))


def sleeping(spec: dict[str, Any]) -> Any:
    async def sleep(state: Trail) -> dict[str, Any]:
        await current().wait_until(now() + timedelta(seconds=spec["s"]))
        return {"trail": ["slept"]}

    return chain(("sleep", sleep))


def twice(spec: dict[str, Any]) -> Any:
    """One step that pays, then asks two questions."""

    async def ask(state: Trail) -> dict[str, Any]:
        async def pay(key: str) -> str:
            done.append("paid")
            return key

        await current().once("pay", pay)
        return {"trail": [f"{interrupt('first?')} {interrupt('second?')}"]}

    return chain(("ask", ask))


def nested(spec: dict[str, Any]) -> Any:
    """A graph as a node, whose second step asks."""

    async def before(state: Trail) -> dict[str, Any]:
        done.append("inner before")
        return {"trail": ["inner before"]}

    async def ask(state: Trail) -> dict[str, Any]:
        return {"trail": [f"inner:{interrupt('inner?')}"]}

    inner = chain(("inner before", before), ("inner ask", ask)).compile()
    builder = StateGraph(Trail)
    builder.add_node("outer", inner)
    builder.add_edge(START, "outer")
    return builder


async def _nothing(state: Trail) -> dict[str, Any]:
    return {"trail": []}


def kinds(*more: Kind) -> Kinds:
    quick = RetryPolicy(attempts=3, base_s=0.01)
    return Kinds([
        Kind(name="counting", graph=counting, retry=quick),
        Kind(name="asking", graph=asking, retry=quick),
        Kind(name="gated", graph=gated, retry=quick),
        Kind(name="stubborn", graph=stubborn, retry=quick),
        Kind(name="failing", graph=failing, retry=quick),
        Kind(name="flaky", graph=flaky, retry=quick),
        Kind(name="endless", graph=endless, retry=quick, recursion_limit=20),
        Kind(name="unspeakable", graph=lambda _: chain(("n", _nothing)), result=lambda _: {"set": {1}}),
        Kind(name="spendthrift", graph=spendthrift, retry=quick),
        Kind(name="sleeping", graph=sleeping, retry=quick),
        Kind(name="twice", graph=twice, retry=quick),
        Kind(name="effectful", graph=effectful, retry=quick),
        Kind(name="talkative", graph=talkative, retry=quick),
        Kind(name="streaming", graph=streaming, retry=quick),
        Kind(name="nested", graph=nested, retry=quick),
        *more,
    ])  # fmt: skip


def anything(_: Run, __: Mapping[str, Any]) -> None:
    """The rule of a kind whose forks may be given whatever its state has."""


class Engine:
    """Hosts in this process on one database, and the service beside them."""

    def __init__(self, database: Database, setup: RunSetup) -> None:
        self.database = database
        self.setup = setup
        self.runs = Runs(
            database, redis_url=setup.storage.redis_url, settings=setup.actors.runs, forks={"gated": anything}
        )
        self.hosts: list[RunHost] = []

    async def host(self, shards: Sequence[int] = range(SHARDS), *, name: str = "host") -> RunHost:
        """One more host, which drives when this returns."""
        host = RunHost(self.setup, shards, name=name)
        self.hosts.append(host)
        async with asyncio.timeout(60):
            await host.driving.wait()
        return host

    async def stop(self, host: RunHost) -> None:
        self.hosts.remove(host)
        await host.close()

    async def ended(self, run_id: UUID, timeout_s: float = 60.0) -> Run:
        run = await self.runs.wait(run_id, timeout_s)
        assert run.status in ("completed", "failed", "cancelled"), (run.status, run.step, run.error)
        return run

    async def waiting(self, run_id: UUID, timeout_s: float = 60.0) -> Run:
        run = await self.runs.wait(run_id, timeout_s)
        assert run.status == "waiting", (run.status, run.step, run.error)
        return run

    async def ended_not_waiting(self, run_id: UUID, timeout_s: float = 60.0) -> Run:
        """As `ended`, of a run that still waits."""
        async with asyncio.timeout(timeout_s):
            while (run := await self.runs.get(run_id)).status == "waiting":
                await asyncio.sleep(0.02)
        return run

    async def told(self, run_id: UUID) -> list[str]:
        """The types of the run's events, whose numbers have no gap."""
        events = await self.runs.events(run_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return [event.type for event in events]

    async def close(self) -> None:
        for host in list(self.hosts):
            await self.stop(host)
        await self.runs.close()


def setup_of(
    database_url: str, redis_url: str, directory: Path, open_kinds: Callable[[RunSetup], Kinds], **settings: Any
) -> RunSetup:
    return RunSetup(
        storage=StorageSettings(database_url=database_url, redis_url=redis_url, data_dir=directory),
        actors=ActorsSettings(runs=RunSettings(**{"sweep_s": 0.2, "cancel_grace_s": 1.0, **settings})),
        open_kinds=open_kinds,
    )


@contextlib.asynccontextmanager
async def opened(setup: RunSetup) -> AsyncIterator[Engine]:
    forget()
    database = Database(setup.storage.database_url)
    engine = Engine(database, setup)
    try:
        yield engine
    finally:
        await engine.close()
        await database.close()


async def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Return when the condition holds, which this process makes it do."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)
