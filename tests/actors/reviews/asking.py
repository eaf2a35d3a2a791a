"""A kind of runs whose steps ask people, as their spec says, and a service beside an engine in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict
from uuid import UUID

import pytest
from langgraph.graph import END, START, StateGraph
from sqlalchemy import text

from actors.reviews.question import Question, ask, review_id_of
from actors.reviews.rows import Reviewed, keep
from actors.reviews.service import Reviews
from actors.runs.kinds import Kind
from actors.runs.retrying import RetryPolicy
from actors.runs.step import current
from storage.engine import Database
from storage.reviews import Review, Sight
from storage.runs import Run
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.benchmarks.waiting_runs import multiply

ALL = Sight(everything=True)


class Told(TypedDict):
    told: Annotated[list[dict[str, Any]], add]


# What steps wait for, by name; the tests' alone.
gates: dict[str, asyncio.Event] = {}


def gate(name: str) -> asyncio.Event:
    return gates.setdefault(name, asyncio.Event())


def _asking(checkpoint: str, spec: dict[str, Any]) -> Any:
    async def node(state: Told) -> dict[str, Any]:
        told = []
        for number in range(1, spec.get("rounds", 1) + 1):
            question = Question(
                review_id=review_id_of(current().run_id, checkpoint, number),
                checkpoint=checkpoint,
                **{
                    "title": f"May {checkpoint} go on?",
                    "subject": {"prompt": f"a cat, {number}"},
                    **spec.get("question", {}),
                },
            )
            told.append(ask(question).model_dump(mode="json"))
        keep("response", checkpoint, {"answers": [each["answer"] for each in told]})
        return {"told": told}

    return node


def asking_people(spec: dict[str, Any]) -> Any:
    """One step for each of `at`, all at once; `beside` is a step next to them that waits for its gate, or fails."""
    builder = StateGraph(Told)
    for checkpoint in spec.get("at", ["payload_review"]):
        builder.add_node(checkpoint, _asking(checkpoint, spec))
        builder.add_edge(START, checkpoint)
        builder.add_edge(checkpoint, END)
    if beside := spec.get("beside"):

        async def wait(state: Told) -> dict[str, Any]:
            await gate(beside).wait()
            if spec.get("fails") and current().run_id is not None:
                gates.pop(beside)
                raise ValueError("the other step failed")
            return {"told": []}

        builder.add_node("beside", wait)
        builder.add_edge(START, "beside")
        builder.add_edge("beside", END)
    return builder


ASKING = Kind(
    name="asking people", graph=asking_people, questions=Reviewed(), retry=RetryPolicy(attempts=1)
)  # fmt: skip


class People:
    """Runs that ask, and what people do about it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reviews = Reviews(engine.database)

    async def asked(self, *, owner: str | None = None, **spec: Any) -> tuple[Run, Review]:
        """A run that waits for the first review of its own."""
        run = await self.engine.runs.start("asking people", spec, {"told": []}, owner=owner)
        await self.engine.waiting(run.run_id)
        return run, await self.review_of(run.run_id)

    async def review_of(self, run_id: UUID, state: str = "open") -> Review:
        found = await self.reviews.queue(ALL, limit=10, run_id=run_id, states=[state])
        return await self.reviews.get(found[0].review_id)

    async def actions(self, review_id: UUID) -> list[str]:
        return [each.kind for each in await self.reviews.actions(review_id)]

    # The interrupt that a review belongs to.
    moved = text("UPDATE reviews SET interrupt_id = :interrupt_id WHERE review_id = :review_id")

    async def waiting(self, count: int, **spec: Any) -> None:
        """So many runs that wait for a review of their own each: copies of one."""
        run, review = await self.asked(**spec)
        await multiply(self.engine.database, run.run_id, count - 1)
        columns = [column.name for column in Review.__table__.columns]
        kept = ", ".join(name for name in columns if name not in ("review_id", "run_id", "number"))
        copy = (
            f"INSERT INTO reviews (review_id, run_id, {kept}) SELECT gen_random_uuid(), copies.id, {kept} FROM reviews,"
            " (SELECT run_id AS id FROM runs WHERE run_id <> :run_id) AS copies WHERE review_id = :review_id"
        )
        async with self.engine.database.begin() as session:
            await session.execute(text(copy), {"run_id": run.run_id, "review_id": review.review_id})

    async def pass_time(self, review_id: UUID, until: datetime) -> None:
        await pass_time(self.engine.database, review_id, until)


async def pass_time(database: Database, review_id: UUID, until: datetime) -> None:
    """As if `until` were now: the review's clock and lease are moved back by what is left to it."""
    move = (
        "UPDATE reviews SET due_at = due_at - left_, next_at = next_at - left_, lease_until = lease_until - left_,"
        " clock = jsonb_set(clock, '{since}', to_jsonb((clock->>'since')::timestamptz - left_))"
        " FROM (SELECT greatest('0'::interval, cast(:until AS timestamptz) - clock_timestamp()) AS left_) AS given"
        " WHERE review_id = :id"
    )
    async with database.begin() as session:
        await session.execute(text(move), {"id": review_id, "until": until})


@pytest.fixture
async def people(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[People]:
    """A host drives runs that ask people. For the conftest of each room that has them."""
    setup = engines.setup_of(database_url, redis_url, tmp_path, lambda _: engines.kinds(ASKING))
    async with engines.opened(setup) as engine:
        await engine.host()
        yield People(engine)
