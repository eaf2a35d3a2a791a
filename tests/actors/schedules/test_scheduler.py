"""Schedulers on one real database: one firing per due time, whatever happens to those who run it."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from actors.errors import CutOffError
from actors.schedules.task import Periodic, Work
from actors.schedules.timing import LISTED, Rule
from storage import firings, schedules
from storage.clock import now
from storage.engine import Database
from storage.errors import NotFoundError
from storage.firings import Firing
from storage.settings import StorageSettings
from tests.actors.schedules.periodic import (
    by_hand,
    done,
    doze,
    eventually,
    fail_always,
    fail_twice,
    fired,
    hang,
    known,
    make_table,
    note,
    noting,
    running,
    setup,
)


@pytest.fixture
async def storage(database: Database, database_url: str, tmp_path: Path) -> StorageSettings:
    await make_table(database)
    return StorageSettings(database_url=database_url, redis_url="unix:///none", data_dir=tmp_path)


async def test_six_schedulers_fire_each_due_time_once_and_one_after_the_other(
    database: Database, storage: StorageSettings
) -> None:
    """Forty missed due times caught up, and new ones each second meanwhile, by six schedulers at once."""
    periodic = noting(Rule(every_s=1), "catch_up")
    await known(database, *periodic, due_ago=timedelta(seconds=40))
    async with running(*[setup(storage, *periodic)] * 6):
        rows = await eventually(
            database, "note", lambda found: len([each for each in found if each.state == "completed"]) >= 43
        )
    ended = sorted((each for each in rows if each.state == "completed"), key=lambda each: each.due_at)
    dues = [each.due_at for each in ended]
    assert dues == [dues[0] + timedelta(seconds=n) for n in range(len(dues))], "one was left out"
    written = Counter(due_at for due_at, _ in await done(database))
    assert set(dues) <= set(written)
    assert set(written.values()) == {1}, "one was done twice"
    for before, after in itertools.pairwise(ended):
        assert before.ended_at is not None
        assert after.started_at is not None
        assert before.ended_at <= after.started_at, "two of one schedule ran at once"


@pytest.mark.parametrize(("missed", "count"), [("latest", 1), ("skip", 0)])
async def test_missed_firings_are_skipped_by_policy_and_the_record_says_so(
    database: Database, storage: StorageSettings, missed: str, count: int
) -> None:
    # Due once an hour, half an hour ago the last time: that one is missed whenever this test runs.
    periodic = noting(Rule(cron=f"{(now() - timedelta(minutes=30)).minute} * * * *"), missed)  # type: ignore[arg-type]
    await known(database, *periodic, due_ago=timedelta(hours=5))
    async with running(setup(storage, *periodic)):
        rows = await eventually(
            database, "note", lambda found: found and all(each.state in ("completed", "skipped") for each in found)
        )
    states = Counter(each.state for each in rows)
    assert states == Counter({"completed": count, "skipped": 5 - count}) - Counter()
    async with database.read() as session:
        assert (await schedules.get(session, "note")).next_due > await schedules.clock(session)


async def test_after_a_long_absence_one_row_tells_of_all_that_were_too_many(
    database: Database, storage: StorageSettings
) -> None:
    periodic = noting(Rule(every_s=1), "latest")
    await known(database, *periodic, due_ago=timedelta(days=300))
    async with running(setup(storage, *periodic)):
        rows = await eventually(database, "note", lambda found: any(each.state == "completed" for each in found))
    *_, first_listed, summary = rows
    assert summary.outcome == {"skipped_until": first_listed.due_at.astimezone(UTC).isoformat()}
    assert (summary.state, first_listed.state) == ("skipped", "skipped")
    assert LISTED <= len(rows) <= LISTED + 10
    assert first_listed.due_at - summary.due_at > timedelta(days=299)


async def test_a_lease_that_is_renewed_keeps_others_away(database: Database, storage: StorageSettings) -> None:
    slow = Periodic(name="job", task=doze, rule=Rule(every_s=3600))
    await known(database, slow)
    await by_hand(database, "job")
    async with running(*[setup(storage, slow, lease_s=2.0)] * 3):  # the work takes two leases
        (row,) = await eventually(database, "job", lambda found: found[0].state == "completed")
    assert (row.attempt, len(await done(database))) == (1, 1)


async def test_due_times_that_come_while_the_work_is_still_busy_do_not_pile_up(
    database: Database, storage: StorageSettings
) -> None:
    busy = Periodic(name="busy", task=hang, rule=Rule(every_s=1))
    await known(database, busy)

    def since(found: Sequence[Firing]) -> list[str]:
        """The states from the one that runs; what was due before a slow machine had its scheduler up is skipped too."""
        states = [each.state for each in sorted(found, key=lambda each: each.due_at)]
        return states[states.index("running") :] if "running" in states else []

    async with running(setup(storage, busy)):
        rows = await eventually(database, "busy", lambda found: since(found).count("skipped") >= 2)
    states = since(rows)
    assert states == ["running", *["skipped"] * (len(states) - 2), "pending"]


async def test_a_failed_firing_says_why_and_is_tried_again_until_it_works(
    database: Database, storage: StorageSettings
) -> None:
    flaky = Periodic(name="flaky", task=fail_twice, rule=Rule(every_s=3600))
    await known(database, flaky)
    await by_hand(database, "flaky")
    async with running(setup(storage, flaky, backoff_s=0.5)):
        (failed,) = await eventually(database, "flaky", lambda found: found[0].error)
        assert failed.error is not None
        assert failed.error["code"] == "unexpected"
        assert "the far end is away" in failed.error["message"]
        (row,) = await eventually(database, "flaky", lambda found: found[0].state == "completed")
    assert (row.attempt, row.outcome, row.error) == (3, {"noted": 3}, None)


async def test_a_firing_that_never_works_is_failed_after_its_attempts(
    database: Database, storage: StorageSettings
) -> None:
    hopeless = Periodic(name="hopeless", task=fail_always, rule=Rule(every_s=3600), max_attempts=2)
    slow = Periodic(name="slow", task=hang, rule=Rule(every_s=3600), max_attempts=1, timeout_s=1)
    await known(database, hopeless, slow)
    for name in ("hopeless", "slow"):
        await by_hand(database, name)
    async with running(setup(storage, hopeless, slow, backoff_s=0.1)):
        (row,) = await eventually(database, "hopeless", lambda found: found[0].state == "failed")
        assert row.error is not None
        assert (row.attempt, row.error["message"]) == (2, "RuntimeError: no way")
        (row,) = await eventually(database, "slow", lambda found: found[0].state == "failed")
        assert row.error is not None
        assert row.error["code"] == "timeout"


async def test_what_a_dead_scheduler_was_at_is_done_by_another(database: Database, storage: StorageSettings) -> None:
    job = Periodic(name="job", task=hang, rule=Rule(every_s=3600))
    await known(database, job)
    await by_hand(database, "job")
    async with running(setup(storage, job, lease_s=1.0)):
        await eventually(database, "job", lambda found: found[0].state == "running")
    # Closed in its midst, as a killed one would be: only its lease tells.
    alive = Periodic(name="job", task=note, rule=Rule(every_s=3600))
    async with running(setup(storage, alive)):
        (row,) = await eventually(database, "job", lambda found: found[0].state == "completed")
    assert (row.attempt, len(await done(database))) == (2, 1)


async def test_a_firing_whose_hosts_keep_dying_ends_as_failed(database: Database, storage: StorageSettings) -> None:
    job = Periodic(name="job", task=note, rule=Rule(every_s=3600), max_attempts=2)
    await known(database, job)
    await by_hand(database, "job")
    for _ in range(2):  # two hosts that die at once
        async with database.begin() as session:
            assert len(await firings.claim(session, ["job"], host="h", lease_s=-1, limit=9)) == 1
    async with running(setup(storage, job)):
        (row,) = await eventually(database, "job", lambda found: found[0].state == "failed")
    assert row.error == {"code": "host_lost", "message": "its host h did not finish it"}
    assert await done(database) == []


async def test_a_scheduler_that_was_cut_off_cannot_write_nor_end_the_firing(
    database: Database, storage: StorageSettings
) -> None:
    await known(database, *noting())
    await by_hand(database, "note")
    async with database.begin() as session:
        (stale,) = await firings.claim(session, ["note"], host="a", lease_s=-1, limit=9)
    async with database.begin() as session:
        (fresh,) = await firings.claim(session, ["note"], host="b", lease_s=30, limit=9)
    assert (stale.attempt, fresh.attempt) == (1, 2)
    with pytest.raises(CutOffError):
        await note(Work(database, storage, stale))
    async with database.begin() as session:
        assert not await firings.complete(session, stale, {})
        assert not await firings.renew(session, stale, lease_s=30)
        assert await firings.renew(session, fresh, lease_s=30)
    await note(Work(database, storage, fresh))
    async with database.begin() as session:
        assert await firings.complete(session, fresh, {"noted": 2})
    assert [attempt for _, attempt in await done(database)] == [2]


async def test_nobody_takes_a_firing_over_while_its_scheduler_is_writing(
    database: Database, storage: StorageSettings
) -> None:
    await known(database, *noting())
    await by_hand(database, "note")
    async with database.begin() as session:
        (slow,) = await firings.claim(session, ["note"], host="a", lease_s=-1, limit=9)
    async with Work(database, storage, slow).begin():
        async with database.begin() as session:
            assert await firings.claim(session, ["note"], host="b", lease_s=30, limit=9) == []
        async with database.begin() as session:  # its heartbeat passes
            assert await firings.renew(session, slow, lease_s=-1)
    async with database.begin() as session:
        assert len(await firings.claim(session, ["note"], host="b", lease_s=30, limit=9)) == 1


async def test_schedules_that_are_at_work_keep_no_other_from_its_turn(database: Database) -> None:
    due_s = {"a": 3600, "b": 3600, "c": 7200}
    await known(database, *(Periodic(name=name, task=note, rule=Rule(every_s=due_s[name])) for name in due_s))
    for name in ("a", "b"):
        await by_hand(database, name)
    async with database.begin() as session:
        assert len(await firings.claim(session, ["a", "b", "c"], host="h", lease_s=30, limit=2)) == 2
    for name in ("a", "b", "c"):
        await by_hand(database, name)
    async with database.begin() as session:
        claimed = await firings.claim(session, ["a", "b", "c"], host="h", lease_s=30, limit=2)
    assert [claim.schedule for claim in claimed] == ["c"]


async def test_a_paused_schedule_fires_by_hand_alone_and_misses_nothing(
    database: Database, storage: StorageSettings
) -> None:
    periodic = noting(Rule(every_s=1), "catch_up")
    await known(database, *periodic)
    async with database.begin() as session:
        await schedules.pause(session, "note")
    async with running(setup(storage, *periodic)):
        await by_hand(database, "note")
        (row,) = await eventually(database, "note", lambda found: [e for e in found if e.state == "completed"])
        assert row.by_hand
        await asyncio.sleep(1.5)  # a due time passes, and nothing is to happen
        assert len(await fired(database, "note")) == 1
        async with database.begin() as session:
            resumed = await schedules.resume(session, "note", periodic[0].rule.after(await schedules.clock(session)))
        rows = await eventually(
            database, "note", lambda found: any(e.state == "completed" and not e.by_hand for e in found)
        )
    assert min(each.due_at for each in rows if not each.by_hand) >= resumed.next_due


async def test_a_new_version_changes_the_rule_and_not_what_the_operator_said(
    database: Database, storage: StorageSettings
) -> None:
    await known(database, *noting(Rule(every_s=3600)))
    async with database.begin() as session:
        await schedules.pause(session, "note")
        first = await schedules.get(session, "note")
    await known(database, *noting(Rule(every_s=3600), "skip"))
    async with database.read() as session:
        kept = await schedules.get(session, "note")
    assert (kept.paused, kept.missed, kept.next_due) == (True, "skip", first.next_due)
    await known(database, *noting(Rule(cron="5 4 * * *")))
    async with database.read() as session:
        changed = await schedules.get(session, "note")
    assert (changed.paused, changed.every_s, changed.cron) == (True, None, "5 4 * * *")
    assert changed.next_due != first.next_due


async def test_work_that_this_version_does_not_know_waits_for_one_that_does(
    database: Database, storage: StorageSettings
) -> None:
    await known(database, *noting())
    await by_hand(database, "note")
    other = Periodic(name="other", task=note, rule=Rule(every_s=3600))
    async with running(setup(storage, other)):
        await eventually(database, "other", lambda _: True)
        await by_hand_when_known(database, "other")
        await eventually(database, "other", lambda found: found and found[0].state == "completed")
        (row,) = await fired(database, "note")
        assert row.state == "pending"
    async with running(setup(storage, *noting())):
        await eventually(database, "note", lambda found: found[0].state == "completed")


async def by_hand_when_known(database: Database, name: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await by_hand(database, name)
            except NotFoundError:
                await asyncio.sleep(0.05)
            else:
                return
