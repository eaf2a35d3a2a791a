"""A run can be gone on from at any of its checkpoints, on a thread of its own."""

from __future__ import annotations

import pytest

from actors.errors import RunInputError
from storage.errors import NotFoundError
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine


async def test_a_fork_goes_on_from_any_checkpoint(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("counting", {"steps": 3}, {"trail": ["input"]}, owner="0xabc")
    await engine.ended(run.run_id)
    found = await engine.runs.checkpoints(run.run_id)
    assert [(each.step, each.source) for each in found] == [
        (3, "loop"), (2, "loop"), (1, "loop"), (0, "loop"), (-1, "input")
    ]  # fmt: skip
    assert all(0 <= (each.at - run.created_at).total_seconds() < 20 for each in found)
    for index, expected in ((0, 0), (1, 1), (2, 2), (3, 3), (4, 3)):
        engines.done.clear()
        fork = await engine.runs.fork(run.run_id, found[index].checkpoint_id)
        ended = await engine.ended(fork.run_id)
        assert (ended.status, ended.output) == ("completed", {"trail": ["input", "0", "1", "2"]})
        assert len(engines.done) == expected
        assert (ended.parent_run_id, ended.forked_from) == (run.run_id, found[index].checkpoint_id)
        assert ended.owner == "0xabc"
        assert ended.thread_id != run.thread_id
        assert (await engine.told(fork.run_id))[0] == "run.forked"
    assert len(await engine.runs.checkpoints(run.run_id)) == len(found)


async def test_a_fork_takes_other_values_along_once_even_after_a_crash(engine: Engine) -> None:
    host = await engine.host()
    run = await engine.runs.start("gated", {"gate": "g"}, {"trail": ["input"]})
    engines.gate("g").set()
    await engine.ended(run.run_id)
    found = await engine.runs.checkpoints(run.run_id)
    before_wait = next(each for each in found if each.step == 1)
    engines.gate("g").clear()
    engines.done.clear()
    fork = await engine.runs.fork(run.run_id, before_wait.checkpoint_id, {"trail": ["changed"]})
    await engines.until(lambda: "wait" in engines.done)
    await engine.stop(host)
    engines.gate("g").set()
    await engine.host()
    assert (await engine.ended(fork.run_id)).output == {"trail": ["input", "before", "changed", "wait", "after"]}


async def test_a_fork_from_what_is_not_there_is_refused(engine: Engine) -> None:
    run = await engine.runs.start("counting", {"steps": 1}, {"trail": []})
    with pytest.raises(NotFoundError, match="no checkpoint"):
        await engine.runs.fork(run.run_id)
    await engine.host()
    await engine.ended(run.run_id)
    with pytest.raises(NotFoundError, match="any more"):
        await engine.runs.fork(run.run_id, "1f0cb3cc-0000-6000-8000-000000000000")
    assert len(await engine.runs.list()) == 1


async def test_a_kind_that_says_nothing_of_its_forks_lets_none_be_given_anything(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("counting", {"steps": 1}, {"trail": ["input"]})
    await engine.ended(run.run_id)
    with pytest.raises(RunInputError) as raised:
        await engine.runs.fork(run.run_id, None, {"trail": ["forged"]})
    assert [each["path"] for each in raised.value.details["errors"]] == ["$.input.trail"]
    assert len(await engine.runs.list()) == 1


async def test_a_fork_has_what_was_left_of_the_budget_where_it_begins(engine: Engine) -> None:
    await engine.host()
    # 225 tokens and 21 micro-USD a step: the second step's last call is one too many.
    budget = {"max_tokens": 400, "max_cost_micro_usd": 1_000}
    run = await engine.runs.start("spendthrift", {"steps": 2}, {"trail": []}, budget=budget)
    assert ((await engine.ended(run.run_id)).error or {})["code"] == "budget_exceeded"
    between, begun, _ = await engine.runs.checkpoints(run.run_id)
    fork = await engine.runs.fork(run.run_id, between.checkpoint_id)
    assert fork.budget == {"max_tokens": 175, "max_cost_micro_usd": 979}
    ended = await engine.ended(fork.run_id)
    assert (ended.error or {})["code"] == "budget_exceeded"
    # What it used itself, and not what the other had.
    assert ended.usage["prompt_tokens"] + ended.usage["completion_tokens"] == 225
    assert (await engine.runs.fork(run.run_id, begun.checkpoint_id)).budget == budget
    assert (await engine.runs.fork(fork.run_id)).budget == fork.budget
    with_more = await engine.runs.fork(run.run_id, between.checkpoint_id, budget={"max_tokens": 225})
    assert (await engine.ended(with_more.run_id)).status == "completed"
    # Another try counts what the first one used.
    for limit, status in ((674, "failed"), (900, "completed")):
        await engine.runs.retry(run.run_id, budget={"max_tokens": limit})
        assert (await engine.ended(run.run_id)).status == status
