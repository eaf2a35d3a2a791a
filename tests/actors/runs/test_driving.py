"""A run that was accepted is driven to its end, once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from actors.errors import RunConflictError, RunTooLargeError, ThreadBusyError
from actors.runs import service
from actors.runs.group_commit import GroupCommit
from actors.runs.pipeline import conninfo_of
from actors.runs.rows import STANDINGS, json, shown
from storage.clock import now
from storage.errors import ConflictError
from storage.ids import new_id
from storage.runs import Run
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine


async def test_a_run_is_driven_from_its_row_to_its_result(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("counting", {"steps": 3}, {"trail": ["input"]}, owner="0xabc")
    ended = await engine.ended(run.run_id)
    assert ended.status == "completed", ended.error
    assert ended.output == {"trail": ["input", "0", "1", "2"]}
    assert (ended.steps, ended.attempt, ended.owner) == (3, 1, "0xabc")
    assert await engine.told(run.run_id) == [
        "run.created", "run.started",
        "step.started", "step.completed", "step.started", "step.completed", "step.started", "step.completed",
        "run.completed",
    ]  # fmt: skip
    assert engines.done == [f"{run.run_id}:step {number}@{number + 1}/count" for number in range(3)]


async def test_an_accepted_run_survives_a_crash_before_its_first_checkpoint(engine: Engine) -> None:
    # langgraph #8764: nothing but the row, the host of which died at once. Here as pending, and as running.
    run = await engine.runs.start("counting", {"steps": 2}, {"trail": ["input"]})
    other = await engine.runs.start("counting", {"steps": 2}, {"trail": ["input"]})
    async with engine.database.begin() as session:
        await session.execute(text("UPDATE runs SET status = 'running' WHERE run_id = :id"), {"id": other.run_id})
    await engine.host()
    for each in (run, other):
        ended = await engine.ended(each.run_id)
        assert (ended.status, ended.output) == ("completed", {"trail": ["input", "0", "1"]})
    assert "run.recovered" in await engine.told(other.run_id)


async def test_a_host_that_is_gone_leaves_no_ghost_and_its_done_steps_stay_done(engine: Engine) -> None:
    host = await engine.host()
    run = await engine.runs.start("gated", {"gate": "g"}, {"trail": []})
    await engines.until(lambda: "wait" in engines.done)
    await engine.stop(host)
    assert (await engine.runs.get(run.run_id)).status == "running"
    engines.done.clear()
    engines.gate("g").set()
    await engine.host()
    ended = await engine.ended(run.run_id)
    assert ended.output == {"trail": ["before", "wait", "after"]}
    assert engines.done == ["wait", "after"]
    assert (await engine.told(run.run_id)).count("run.recovered") == 1


async def test_a_crash_after_the_last_step_only_ends_the_run(engine: Engine) -> None:
    host = await engine.host()
    run = await engine.runs.start("counting", {"steps": 2}, {"trail": []})
    await engine.ended(run.run_id)
    await engine.stop(host)
    async with engine.database.begin() as session:
        await session.execute(
            text("UPDATE runs SET status = 'running', output = NULL, ended_at = NULL, event_seq = event_seq - 1")
        )
        await session.execute(text("DELETE FROM run_events WHERE type = 'run.completed'"))
    engines.done.clear()
    await engine.host()
    ended = await engine.ended(run.run_id)
    assert (ended.status, ended.output, engines.done) == ("completed", {"trail": ["0", "1"]}, [])
    assert (await engine.told(run.run_id))[-2:] == ["run.recovered", "run.completed"]


async def test_a_step_that_kills_its_host_again_and_again_fails_its_run(engine: Engine) -> None:
    run = await engine.runs.start("gated", {"gate": "never"}, {"trail": []})
    for _ in range(engine.setup.actors.runs.max_recoveries + 1):
        engines.done.clear()
        host = await engine.host()
        await engines.until(lambda: "wait" in engines.done)
        await engine.stop(host)
    await engine.host()
    ended = await engine.ended(run.run_id)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error["code"] == "host_lost"
    assert "'wait'" in ended.error["message"]


async def test_cancel_really_stops_the_step(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("gated", {"gate": "never"}, {"trail": []})
    await engines.until(lambda: "wait" in engines.done)
    await engine.runs.cancel(run.run_id)
    ended = await engine.ended(run.run_id, 5)
    assert ended.status == "cancelled"
    assert engines.done == ["before", "wait", "wait was cancelled"]
    assert (await engine.told(run.run_id))[-2:] == ["run.cancel_requested", "run.cancelled"]
    # Asked again, it stays what it is.
    assert (await engine.runs.cancel(run.run_id)).status == "cancelled"


async def test_a_run_can_be_cancelled_before_any_host_has_it(engine: Engine) -> None:
    run = await engine.runs.start("counting", {"steps": 1}, {"trail": []})
    await engine.runs.cancel(run.run_id)
    await engine.host()
    assert (await engine.ended(run.run_id)).status == "cancelled"
    assert engines.done == []


async def test_a_cancelled_step_that_goes_on_regardless_writes_nothing(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("stubborn", {}, {"trail": []})
    await engines.until(lambda: "stubborn" in engines.done)
    await engine.runs.cancel(run.run_id)
    assert (await engine.ended(run.run_id, 10)).status == "cancelled"
    told = await engine.told(run.run_id)
    engines.gate("stubborn").set()
    await engines.until(lambda: "stubborn went on" in engines.done)
    # Its event was refused, and so is its result.
    again = await engine.runs.start("counting", {"steps": 1}, {"trail": []}, thread_id=run.thread_id)
    assert (await engine.ended(again.run_id)).output == {"trail": ["0"]}
    assert await engine.told(run.run_id) == told


async def test_a_run_past_its_deadline_fails_wherever_it_is(engine: Engine) -> None:
    await engine.host()

    async def past(kind: str, spec: dict[str, Any], deadline_s: float) -> None:
        run = await engine.runs.start(kind, spec, {"trail": []}, deadline_s=deadline_s)
        async with asyncio.timeout(deadline_s + 60):
            while (ended := await engine.runs.get(run.run_id)).status not in ("failed", "completed"):
                await asyncio.sleep(0.02)
        assert ended.error is not None
        assert (ended.status, ended.error["code"]) == ("failed", "run_deadline")

    await past("asking", {}, 0.6)
    # A busy machine may take seconds to come to the step that is to be cut short.
    for deadline_s in (1.0, 5.0, 20.0):
        engines.done.clear()
        await past("gated", {"gate": "never"}, deadline_s)
        if "wait" in engines.done:
            break
    assert "wait was cancelled" in engines.done


async def test_a_retry_gives_a_run_its_time_anew_or_another(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("failing", {}, {"trail": []}, deadline_s=900)
    # As if it had taken longer than that until it failed.
    await engine.ended(run.run_id)
    async with engine.database.begin() as session:
        await session.execute(text("UPDATE runs SET deadline_at = deadline_at - interval '1 hour'"))
    for given, expected_s in ((None, 900), (1800, 1800), (None, 1800)):
        before = now()
        retried = await engine.runs.retry(run.run_id, deadline_s=given)
        assert retried.deadline_at is not None
        assert 0 <= (retried.deadline_at - before).total_seconds() - expected_s < 60
        failed = await engine.ended(run.run_id)
        assert failed.error is not None
        assert "no such luck" in failed.error["message"], "it was not driven again"
    without = await engine.runs.start("failing", {}, {"trail": []})
    await engine.ended(without.run_id)
    assert (await engine.runs.retry(without.run_id)).deadline_at is None


async def test_retry_goes_on_from_the_failed_step(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("failing", {}, {"trail": []})
    failed = await engine.ended(run.run_id)
    assert failed.error is not None
    assert (failed.status, failed.step, failed.error["class"]) == ("failed", "breaks", "permanent")
    assert "no such luck" in failed.error["message"]
    with pytest.raises(RunConflictError, match="completed"):
        await engine.runs.retry((await engine.ended((await start_one(engine)).run_id)).run_id)
    engines.gate("mended").set()
    engines.done.clear()
    assert (await engine.runs.retry(run.run_id)).status == "pending"
    ended = await engine.ended(run.run_id)
    assert (ended.status, ended.attempt, ended.error) == ("completed", 2, None)
    assert ended.output is not None
    assert sorted(ended.output["trail"]) == ["beside", "breaks"]
    # The branch beside it had succeeded and is not run again.
    assert engines.done == ["breaks"]
    assert "run.retried" in await engine.told(run.run_id)


async def start_one(engine: Engine) -> Run:
    return await engine.runs.start("counting", {"steps": 1}, {"trail": []})


async def test_what_one_attempt_wrote_and_writes_again_ends_no_later_one(engine: Engine, database_url: str) -> None:
    """A transaction whose answer was lost is repeated, and the run may have been retried between the two."""
    host = await engine.host()
    run = await engine.runs.start("failing", {}, {"trail": []})
    await engine.ended(run.run_id)
    await engine.stop(host)
    await engine.runs.retry(run.run_id)
    moment = now()
    given = (
        run.run_id, 1, "failed", None, 1, b"{}", None, json({"message": "again"}), b"[]", None, b"{}", 0, 1, None,
        moment, moment, moment,
    )  # fmt: skip
    commit = GroupCommit(conninfo_of(database_url))
    await commit.write([(STANDINGS, given)])
    await commit.close()
    retried = await engine.runs.get(run.run_id)
    assert (retried.status, retried.attempt, retried.error) == ("pending", 2, None)


@pytest.mark.parametrize(
    "said",
    ["What does \\u0000 mean?", "ends on \\u0000", "\\\\u0000 \\\\\\u0000", "a\x00b"],
    ids=["in", "end", "slashes", "nul"],
)
async def test_a_text_that_spells_an_escape_is_kept_as_it_is(engine: Engine, said: str) -> None:
    await engine.host()
    run = await engine.runs.start("counting", {"steps": 1}, {"trail": [said.replace("\x00", "")]})
    assert (await engine.ended(run.run_id)).output == {"trail": [said.replace("\x00", ""), "0"]}
    kept = said.replace("\x00", "")
    for encode in (json, shown):
        assert orjson.loads(encode({said: [said]})) == {kept: [kept]}


async def test_a_retryable_error_is_tried_again_and_told(engine: Engine) -> None:
    await engine.host()
    run = await engine.runs.start("flaky", {"times": 2}, {"trail": []})
    assert (await engine.ended(run.run_id)).output == {"trail": ["tries: 3"]}
    told = await engine.told(run.run_id)
    assert told.count("step.retrying") == 2
    exhausted = await engine.runs.start("flaky", {"times": 99}, {"trail": []})
    ended = await engine.ended(exhausted.run_id)
    assert ended.error is not None
    assert (ended.status, ended.error["class"]) == ("failed", "retryable")


async def test_a_thread_takes_one_run_at_a_time_and_goes_on_with_the_next(engine: Engine) -> None:
    await engine.host()
    first = await engine.runs.start("gated", {"gate": "g"}, {"trail": []}, thread_id="t")
    await engines.until(lambda: "wait" in engines.done)
    with pytest.raises(ThreadBusyError) as busy:
        await engine.runs.start("counting", {"steps": 1}, {"trail": []}, thread_id="t")
    assert busy.value.subject == str(first.run_id)
    queued = [
        await engine.runs.start("counting", {"steps": 1}, {"trail": [name]}, thread_id="t", queue=True)
        for name in ("second", "third")
    ]
    assert (await engine.runs.get(queued[0].run_id)).status == "pending"
    engines.gate("g").set()
    await engine.ended(first.run_id)
    # The thread's values are carried on.
    assert (await engine.ended(queued[0].run_id)).output == {"trail": ["before", "wait", "after", "second", "0"]}
    last = await engine.ended(queued[1].run_id)
    assert last.output is not None
    assert last.output["trail"][-2:] == ["third", "0"]


async def test_a_threads_queue_has_an_end_and_names_it(engine: Engine) -> None:
    first, *_ = [
        await engine.runs.start("counting", {"steps": 1}, {"trail": []}, thread_id="t", queue=True)
        for _ in range(1 + service.MAX_QUEUED)
    ]
    with pytest.raises(ThreadBusyError, match=f"has {service.MAX_QUEUED} runs waiting") as busy:
        await engine.runs.start("counting", {"steps": 1}, {"trail": []}, thread_id="t", queue=True)
    assert busy.value.subject == str(first.run_id)
    await engine.runs.start("counting", {"steps": 1}, {"trail": []}, thread_id="u", queue=True)


async def test_the_same_run_is_accepted_once(engine: Engine) -> None:
    run_id = new_id()
    runs = [await engine.runs.start("counting", {"steps": 1}, {"trail": []}, run_id=run_id) for _ in range(2)]
    assert runs[0].run_id == runs[1].run_id == run_id
    with pytest.raises(ConflictError):
        await engine.runs.start("gated", {}, {}, run_id=run_id)
    assert len(await engine.runs.list()) == 1


async def test_what_cannot_be_run_fails_with_its_reason(engine: Engine) -> None:
    await engine.host()
    faults: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("unheard of", {}, "unknown_kind"), ("counting", {}, "unexpected"), ("endless", {}, "recursion_limit"),
        ("unspeakable", {}, "run_result"), ("spendthrift", {}, "budget_exceeded"),
    )  # fmt: skip
    for kind, spec, code in faults:
        run = await engine.runs.start(kind, spec, {"trail": []}, budget={"max_tokens": 100})
        ended = await engine.ended(run.run_id)
        assert ended.error is not None
        assert (ended.status, ended.error["code"]) == ("failed", code), ended.error
    assert ended.usage["models"]["m"] == {
        "prompt_tokens": 120, "completion_tokens": 30, "cost_micro_usd": 14, "calls": 2
    }  # fmt: skip
    with pytest.raises(RunTooLargeError, match="4,194,304"):
        await engine.runs.start("counting", {"steps": 1}, {"trail": ["x" * 5_000_000]})


async def test_a_run_can_be_put_off_and_sleeps_without_a_host(engine: Engine) -> None:
    await engine.host()
    due = now() + timedelta(seconds=0.8)
    later = await engine.runs.start("counting", {"steps": 1}, {"trail": []}, start_at=due)
    assert (await engine.runs.get(later.run_id)).status == "pending"
    sleeper = await engine.runs.start("sleeping", {"s": 0.5}, {"trail": []})
    ended = await engine.ended(sleeper.run_id)
    assert ended.output == {"trail": ["slept"]}
    assert ended.ended_at is not None
    assert (ended.ended_at - ended.created_at).total_seconds() >= 0.5
    assert "run.waiting" in await engine.told(sleeper.run_id)
    begun = await engine.ended(later.run_id)
    assert begun.started_at is not None
    assert (begun.status, begun.started_at >= due) == ("completed", True)
