"""Runs of ten steps with side effects, and agent workflows, on hosts in processes of their own: all that they share with
their test is files.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import partial
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import ray
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from actors.errors import WorkerLostError
from actors.runs.group_commit import Table
from actors.runs.kinds import Kind, Kinds, RunSetup
from actors.runs.retrying import RetryPolicy
from actors.runs.step import current
from actors.settings import VerificationSettings
from actors.verification.service import VerificationService
from storage.engine import Database
from storage.ids import new_id
from storage.settings import StorageSettings
from tests.serve.length_verification import LengthVerification

STEPS = 10
# Every write has a key of its own, so that one that is made twice stands there twice.
LEDGER = Table("chaos_ledger", ("entry", "run_id", "step"), ("uuid", "text", "int4"), ("entry",), "ignore")
MAKE_LEDGER = "CREATE TABLE chaos_ledger (entry uuid PRIMARY KEY, run_id text NOT NULL, step int NOT NULL)"


class State(TypedDict):
    trail: Annotated[list[str], add]


def pay(directory: Path, idempotency_key: str) -> str:
    """A far side that heeds idempotency keys, as payment services do: the first call counts, a repeated one gets its
    receipt. The receipt is which process was first.
    """
    place = directory / idempotency_key.replace("/", "_").replace(" ", "_")
    try:
        # Whole or not at all, whoever is killed meanwhile.
        draft = directory / f".{new_id()}"
        draft.write_text(f"receipt of {os.getpid()}")
        os.link(draft, place)
        draft.unlink()
    except FileExistsError:
        with (directory / "repeated").open("a") as log:
            log.write(idempotency_key + "\n")
    return place.read_text()


@ray.remote(num_cpus=1, max_retries=0)
def chaos_worker(number: int) -> int:
    """What a step leaves to another process."""
    return number * number


async def step(number: int, spec: dict[str, Any], state: State) -> dict[str, Any]:
    context = current()
    context.record(LEDGER, (new_id(), str(context.run_id), number))

    async def call(key: str) -> str:
        return await asyncio.to_thread(pay, Path(spec["directory"]), key)

    receipt = await context.once("pay", call)
    if number in (2, 5, 8):
        try:
            assert await chaos_worker.remote(number) == number * number
        except ray.exceptions.RayError as error:
            raise WorkerLostError(f"the worker of step {number} died: {error}") from error
    if number == spec.get("asks_at"):
        interrupt("go on?")
    await asyncio.sleep(spec["pause_s"])
    return {"trail": [f"{number}: {receipt}"]}


def ten_steps(spec: dict[str, Any]) -> Any:
    builder = StateGraph(State)
    before = START
    for number in range(STEPS):
        name = f"step {number}"
        builder.add_node(name, partial(step, number, spec), input_schema=State)
        builder.add_edge(before, name)
        before = name
    builder.add_edge(before, END)
    return builder


def open_kinds(setup: RunSetup) -> Kinds:
    # Seconds that only a host should cost.
    from actors.agents.kind import kind_of, open_workshop  # noqa: PLC0415
    from tests.chaos.paying_agents import PAY  # noqa: PLC0415

    workshop, close = open_workshop(setup.storage, setup.actors)
    # Workers are away for some seconds after one was killed.
    steps = Kind(name="ten steps", graph=ten_steps, retry=RetryPolicy(attempts=8, base_s=0.2, cap_s=3.0))
    return Kinds([steps, kind_of(replace(workshop, tools={PAY.name: PAY}))], close)


def open_verification(
    database: Database, storage: StorageSettings, settings: VerificationSettings
) -> VerificationService:
    return LengthVerification(database)
