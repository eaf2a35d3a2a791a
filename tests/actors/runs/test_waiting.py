"""Runs that wait for people: asked once, answered by id, nothing done twice."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from actors.errors import RunConflictError
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine


async def asked(engine: Engine, run_id: UUID) -> dict[str, str]:
    """What the run waits for: ids by question."""
    run = await engine.runs.get(run_id)
    return {interrupt["value"]: interrupt["id"] for interrupt in run.interrupts}


async def started(engine: Engine) -> tuple[UUID, dict[str, str]]:
    run = await engine.runs.start("asking", {}, {"trail": []})
    waiting = await engine.waiting(run.run_id)
    assert waiting.step == "left, right"
    return run.run_id, await asked(engine, run.run_id)


async def test_parallel_questions_are_asked_once_and_answered_branches_not_run_again(engine: Engine) -> None:
    # langgraph #5952 and #6208.
    host = await engine.host()
    run_id, ids = await started(engine)
    assert set(ids) == {"left?", "right?"}
    assert sorted(engines.done) == ["left", "right", "silent"]
    await engine.runs.resume(run_id, {ids["left?"]: "yes"}, by="0xabc")
    await engine.waiting(run_id)
    # The answered branch ran on, the other one did not ask again, and keeps its id.
    assert sorted(engines.done) == ["left", "left", "right", "silent"]
    assert await asked(engine, run_id) == {"right?": ids["right?"]}
    # Nor after its host has gone.
    await engine.stop(host)
    await engine.host()
    await engine.runs.resume(run_id, {ids["right?"]: "no"})
    ended = await engine.ended(run_id)
    assert ended.output is not None
    assert sorted(ended.output["trail"]) == ["join", "left:yes", "right:no", "silent"]
    assert ended.output["trail"][-1] == "join"
    assert sorted(engines.done) == ["join", "left", "left", "right", "right", "silent"]
    assert (ended.interrupts, ended.resume) == ([], {})
    told = await engine.runs.events(run_id)
    assert [event.type for event in told].count("run.waiting") == 2
    (by, _) = [event.data["answers"][0]["by"] for event in told if event.type == "run.resumed"]
    assert by == "0xabc"


async def test_an_answer_names_its_question(engine: Engine) -> None:
    # langgraph #8579: with several questions a bare value would answer any of them.
    await engine.host()
    run_id, ids = await started(engine)
    for answers in ({}, {"left?": "yes"}, {ids["left?"]: "yes", "0" * 32: "no"}):
        with pytest.raises(RunConflictError):
            await engine.runs.resume(run_id, answers)
    assert (await engine.runs.get(run_id)).resume == {}
    await engine.runs.resume(run_id, {ids["left?"]: "yes"})
    with pytest.raises(RunConflictError, match="answered before"):
        await engine.runs.resume(run_id, {ids["left?"]: "no"})
    await engine.waiting(run_id)
    with pytest.raises(RunConflictError):
        await engine.runs.resume(run_id, {ids["left?"]: "no"})
    await engine.runs.resume(run_id, {ids["right?"]: "no"})
    await engine.ended(run_id)
    with pytest.raises(RunConflictError, match="completed"):
        await engine.runs.resume(run_id, {ids["right?"]: "no"})


async def test_answers_of_many_at_once_are_all_taken(engine: Engine) -> None:
    await engine.host()
    run_id, ids = await started(engine)
    # The second one comes while the run is driven for the first.
    await asyncio.gather(*(engine.runs.resume(run_id, {each: question}) for question, each in ids.items()))
    ended = await engine.ended(run_id)
    assert ended.output is not None
    assert {"left:left?", "right:right?"} < set(ended.output["trail"])


async def test_an_answer_given_while_no_host_lives_is_kept(engine: Engine) -> None:
    host = await engine.host()
    run_id, ids = await started(engine)
    await engine.stop(host)
    await engine.runs.resume(run_id, dict.fromkeys(ids.values(), "late"))
    await engine.host()
    assert (await engine.ended(run_id)).status == "completed"


async def test_questions_one_after_the_other_in_one_step_have_ids_of_their_own(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("twice", {}, {"trail": []})
    await engine.waiting(run.run_id)
    first = (await asked(engine, run.run_id))["first?"]
    await engine.runs.resume(run.run_id, {first: "1"})
    await engine.waiting(run.run_id)
    with pytest.raises(RunConflictError):
        await engine.runs.resume(run.run_id, {first: "again"})
    second = (await asked(engine, run.run_id))["second?"]
    assert second != first
    await engine.runs.resume(run.run_id, {second: "2"})
    assert (await engine.ended(run.run_id)).output == {"trail": ["1 2"]}
    # The effect before the first question was done once, however often the step began anew.
    assert [each for each in engines.done if each == "paid"] == ["paid"]


async def test_a_nested_graph_asks_and_is_answered(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("nested", {}, {"trail": []})
    await engine.waiting(run.run_id)
    ids = await asked(engine, run.run_id)
    assert engines.done == ["inner before"]
    await engine.runs.resume(run.run_id, {ids["inner?"]: "yes"})
    ended = await engine.ended(run.run_id)
    assert ended.output == {"trail": ["inner before", "inner:yes"]}
    assert engines.done == ["inner before"]


async def test_a_waiting_run_can_be_cancelled_and_retried(engine: Engine) -> None:
    await engine.host()
    run_id, ids = await started(engine)
    await engine.runs.cancel(run_id)
    ended = await engine.ended_not_waiting(run_id)
    assert (ended.status, ended.interrupts) == ("cancelled", [])
    with pytest.raises(RunConflictError, match="cancelled"):
        await engine.runs.resume(run_id, {ids["left?"]: "yes"})
    await engine.runs.retry(run_id)
    await engine.waiting(run_id)
    assert await asked(engine, run_id) == ids
    assert sorted(engines.done) == ["left", "right", "silent"]


async def test_a_fork_asks_anew_and_leaves_the_first_run_alone(engine: Engine) -> None:
    await engine.host()
    run_id, ids = await started(engine)
    fork = await engine.runs.fork(run_id)
    await engine.waiting(fork.run_id)
    forked: Any = await asked(engine, fork.run_id)
    for target, answers, word in ((run_id, ids, "old"), (fork.run_id, forked, "new")):
        await engine.runs.resume(target, dict.fromkeys(answers.values(), word))
    for target, word in ((run_id, "old"), (fork.run_id, "new")):
        ended = await engine.ended(target)
        assert ended.output is not None
        assert f"left:{word}" in ended.output["trail"]
        await engine.told(target)
