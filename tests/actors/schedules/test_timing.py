"""When schedules are due, and what becomes of due times that nobody was there for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import BadRuleError
from actors.schedules.timing import LISTED, Missed, Rule, plan

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOMENTS = st.integers(0, 20 * 365 * 86_400 * 1_000_000).map(lambda us: NOON + timedelta(microseconds=us))
RULES = st.one_of(
    st.builds(Rule, every_s=st.integers(1, 200_000)),
    st.sampled_from(["*/7 * * * *", "30 3 * * *", "0 0 29 2 *", "15 8 * * mon-fri", "0 0 L * *"]).map(
        lambda cron: Rule(cron=cron)
    ),
)


@given(RULES, MOMENTS)
def test_the_next_due_time_is_the_first_one_after_now_on_every_host(rule: Rule, moment: datetime) -> None:
    due = rule.after(moment)
    assert due > moment
    assert rule.between(moment, due) in ([due], [moment, due])
    assert rule.after(due - timedelta(microseconds=1)) == due


@pytest.mark.parametrize(("rule", "expected"), [
    (Rule(every_s=1800), [NOON, NOON + timedelta(minutes=30), NOON + timedelta(hours=1)]),
    (Rule(cron="*/30 * * * *"), [NOON, NOON + timedelta(minutes=30), NOON + timedelta(hours=1)]),
])  # fmt: skip
def test_both_ends_of_a_span_are_due_times_of_it(rule: Rule, expected: list[datetime]) -> None:
    assert rule.between(NOON, NOON + timedelta(hours=1)) == expected
    assert rule.between(NOON, NOON + timedelta(hours=1, milliseconds=999)) == expected
    assert rule.between(NOON, NOON + timedelta(minutes=59, seconds=59.5)) == expected[:-1]


@pytest.mark.parametrize(("missed", "fired", "skipped"), [("catch_up", 6, 0), ("latest", 1, 5), ("skip", 0, 6)])
def test_what_was_missed_while_nobody_ran_follows_the_policy(missed: Missed, fired: int, skipped: int) -> None:
    rule = Rule(every_s=600)
    todo = plan(rule, NOON, NOON + timedelta(minutes=55), missed)
    assert (len(todo.fired), len(todo.skipped), todo.left_out_since) == (fired, skipped, None)
    assert sorted(todo.fired + todo.skipped) == rule.between(NOON, NOON + timedelta(minutes=55))


@pytest.mark.parametrize("missed", ["catch_up", "latest", "skip"])
def test_a_scheduler_that_is_a_little_late_fires_whatever_the_policy(missed: Missed) -> None:
    assert plan(Rule(every_s=600), NOON, NOON + timedelta(seconds=20), missed).fired == [NOON]


def test_after_a_year_away_only_so_many_are_listed_and_the_rest_is_told() -> None:
    todo = plan(Rule(every_s=1), NOON, NOON + timedelta(days=365), "catch_up")
    assert len(todo.fired) == LISTED
    assert todo.fired[-1] == NOON + timedelta(days=365)
    assert todo.left_out_since == NOON


@pytest.mark.parametrize("cron", [
    "", "* * * *", "* * * * * *", "61 * * * *", "0 3 30 2 *", "R R * * *", "H * * * *", "@daily", "nonsense", "*/0 * * * *",
])  # fmt: skip
def test_a_rule_that_is_none_or_never_due_or_differs_by_host_is_refused(cron: str) -> None:
    with pytest.raises(BadRuleError):
        Rule(cron=cron)


@pytest.mark.parametrize("every_s", [0, -5])
def test_an_interval_that_is_none_is_refused(every_s: int) -> None:
    with pytest.raises(BadRuleError):
        Rule(every_s=every_s)
