"""Decisions: the right one, by the right person, of what that person saw; N of M of them; in time."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.errors import ReviewConflictError, ReviewEditError
from actors.reviews.agreement import Agreement, State, Vote, standing, vote
from actors.reviews.deadlines import Action, Clock, Deadline, advanced, due_at, group_of, next_at
from actors.reviews.decisions import DECISION, Approve, Edit, Reject, Respond, ReviewState, admit, digest_of, edited

ID = UUID(int=7)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SUBJECT = {"prompt": "a fox", "seed": 1}
SAW = digest_of(SUBJECT)
SCHEMA = {"type": "object", "properties": {"prompt": {"type": "string"}, "seed": {"type": "integer", "maximum": 9}}}


def state(**changed: Any) -> ReviewState:
    return ReviewState(**{"review_id": ID, "state": "open", "saw": SAW, **changed})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"answer": "approve"}, "review_id"),
        ({"answer": "approve", "review_id": str(ID)}, "saw"),
        ({"answer": "reject", "review_id": str(ID), "saw": SAW}, "reason"),
        ({"answer": "reject", "review_id": str(ID), "saw": SAW, "reason": "  "}, "reason"),
        ({"answer": "edit", "review_id": str(ID), "saw": SAW}, "payload"),
        ({"answer": "edit", "review_id": str(ID), "saw": SAW, "payload": []}, "payload"),
        ({"answer": "respond", "review_id": str(ID), "saw": SAW}, "message"),
        ({"answer": "approve", "review_id": str(ID), "saw": SAW, "payload": {}}, "payload"),
        ({"answer": "shrug", "review_id": str(ID), "saw": SAW}, ""),
        ({"review_id": str(ID), "saw": SAW}, ""),
    ],
)
def test_a_decision_without_what_it_needs_is_refused_with_the_field(body: Any, path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DECISION.validate_python(body)
    assert not path or caught.value.errors()[0]["loc"][-1] == path


def test_a_decision_comes_back_from_json_as_it_was() -> None:
    for decision in (
        Approve(review_id=ID, saw=SAW), Edit(review_id=ID, saw=SAW, payload={"a": 1}),
        Reject(review_id=ID, saw=SAW, reason="no"), Respond(review_id=ID, saw=SAW, message="do it again"),
    ):  # fmt: skip
        assert DECISION.validate_json(decision.model_dump_json()) == decision


@pytest.mark.parametrize(
    ("review", "conflict"),
    [
        (state(review_id=UUID(int=8)), "foreign"),
        (state(reviewers=frozenset({"bo"})), "foreign"),
        (state(decided_by=frozenset({"ann"})), "repeated"),
        (state(state="approved", decided_by=frozenset({"ann"})), "repeated"),
        (state(state="approved"), "late"),
        (state(due_at=NOW), "late"),
        (state(holder="bo"), "held"),
        (state(holder="bo", lease_until=NOW + timedelta(seconds=1)), "held"),
        (state(saw=digest_of({**SUBJECT, "seed": 2})), "changed"),
        (state(answers=("reject",)), "answer"),
    ],
)
def test_a_foreign_late_repeated_or_outdated_decision_is_refused_with_the_present_state(
    review: ReviewState, conflict: str
) -> None:
    with pytest.raises(ReviewConflictError) as caught:
        admit(Approve(review_id=ID, saw=SAW), review, by="ann", at=NOW)
    assert (caught.value.details["conflict"], caught.value.details["state"]) == (conflict, review.state)


@pytest.mark.parametrize(
    "review",
    [state(), state(holder="ann", lease_until=NOW), state(holder="bo", lease_until=NOW), state(reviewers=frozenset({"ann"})),
     state(due_at=NOW + timedelta(seconds=1))],
)  # fmt: skip
def test_who_holds_an_open_review_decides_and_a_lease_that_ended_holds_nobody_off(review: ReviewState) -> None:
    admit(Approve(review_id=ID, saw=SAW), review, by="ann", at=NOW)


def test_equal_subjects_have_equal_digests_and_others_have_not() -> None:
    assert digest_of({"b": 1, "a": [1]}) == digest_of({"a": [1], "b": 1}) != digest_of({"a": [2], "b": 1})


def edit(payload: Any) -> Edit:
    return Edit(review_id=ID, saw=SAW, payload=payload)


def test_an_edit_is_validated_again_and_its_differences_kept() -> None:
    assert [each.path for each in edited(edit({"prompt": "a wolf", "seed": 1}), SUBJECT, SCHEMA)] == ["$.prompt"]
    assert edited(edit(SUBJECT), SUBJECT, SCHEMA) == ()


@pytest.mark.parametrize(
    ("payload", "path"),
    [({"prompt": 5}, "$.prompt"), ({"seed": 10}, "$.seed"), ({"prompt": "x", "sead": 1}, "$.sead"), ({"prompt": "\x00"}, "$"),
     ({"prompt": "x" * 2**20}, "$"), ({"seed": float("nan")}, "$")],
)  # fmt: skip
def test_an_edit_that_the_step_does_not_take_is_refused_with_the_path(payload: Any, path: str) -> None:
    with pytest.raises(ReviewEditError) as caught:
        edited(edit(payload), SUBJECT, SCHEMA)
    assert [each["path"] for each in caught.value.details["errors"]] == [path]
    assert path in caught.value.message


def test_an_edit_nested_without_end_is_refused() -> None:
    deep: Any = {}
    for _ in range(500):
        deep = {"a": deep}
    with pytest.raises(ReviewEditError, match="deeper"):
        edited(edit(deep), SUBJECT, None)


def test_an_edit_under_a_schema_that_is_no_good_is_refused_in_words() -> None:
    with pytest.raises(ReviewEditError, match="no good"):
        edited(edit({"prompt": "x"}), SUBJECT, {"properties": {"prompt": {"type": "bogus"}}})


def cast(*answers: tuple[str, str]) -> list[Vote]:
    return [
        Vote(reviewer=name, answer="approve" if outcome == "approve" else "reject", outcome=outcome)
        for name, outcome in answers
    ]


TWO = Agreement(needed=2, asked=2)


def test_one_reviewer_is_enough_where_one_is_needed() -> None:
    found = standing(Agreement(), cast(("ann", "reject")))
    assert (found.state, found.settled_by) == (State.SETTLED, "agreement")
    assert standing(Agreement(), []).state is State.OPEN


def test_two_who_agree_settle_it_and_two_who_do_not_send_it_to_a_third() -> None:
    assert standing(TWO, cast(("ann", "approve"))).state is State.OPEN
    assert standing(TWO, cast(("ann", "approve"), ("bo", "approve"))).state is State.SETTLED
    disputed = standing(TWO, cast(("ann", "approve"), ("bo", "reject")))
    assert (disputed.state, disputed.still_needed, disputed.vote) == (State.DISPUTED, 1, None)
    settled = standing(TWO, cast(("ann", "approve"), ("bo", "reject"), ("cy", "reject")))
    assert settled.vote is not None
    assert (settled.state, settled.settled_by, settled.vote.reviewer) == (State.SETTLED, "third", "cy")


def test_a_dispute_is_known_as_soon_as_agreement_is_impossible() -> None:
    three = Agreement(needed=3, asked=3)
    assert standing(three, cast(("ann", "approve"), ("bo", "reject"))).state is State.DISPUTED
    of_three = Agreement(needed=2, asked=3)
    assert standing(of_three, cast(("ann", "approve"), ("bo", "reject"))).state is State.OPEN


@pytest.mark.parametrize(
    ("agreement", "votes", "conflict"),
    [
        (TWO, cast(("ann", "approve"), ("ann", "approve")), "repeated"),
        (Agreement(), cast(("ann", "approve"), ("bo", "approve")), "late"),
        (TWO, cast(("ann", "approve"), ("bo", "reject"), ("bo", "approve")), "repeated"),
        (Agreement(needed=2, asked=2, arbiters=frozenset({"judge"})), cast(("a", "approve"), ("b", "reject"), ("c", "reject")), "foreign"),
    ],
)  # fmt: skip
def test_a_vote_that_cannot_be_cast_is_a_conflict(agreement: Agreement, votes: list[Vote], conflict: str) -> None:
    with pytest.raises(ReviewConflictError) as caught:
        standing(agreement, votes)
    assert caught.value.details["conflict"] == conflict


def test_equal_edits_agree_whatever_the_order_of_their_fields_and_an_idle_edit_approves() -> None:
    one = vote(edit({"a": 1, "b": [1.0]}), reviewer="ann", subject=SUBJECT)
    other = vote(edit({"b": [1], "a": 1.0}), reviewer="bo", subject=SUBJECT)
    assert one.outcome == other.outcome
    assert vote(edit({"a": 2}), reviewer="bo", subject=SUBJECT).outcome != one.outcome
    assert vote(edit(dict(SUBJECT)), reviewer="ann", subject=SUBJECT).answer == "approve"
    reasons = [vote(Reject(review_id=ID, saw=SAW, reason=words), reviewer=words) for words in ("bad", "ugly")]
    assert reasons[0].outcome == reasons[1].outcome


def test_an_agreement_that_can_never_be_is_refused() -> None:
    with pytest.raises(ValidationError, match="never agree"):
        Agreement(needed=3, asked=2)


@given(st.integers(1, 4), st.integers(0, 3), st.lists(st.sampled_from("xyz"), max_size=9))
def test_every_series_of_votes_settles_after_one_more_than_were_asked_at_most(
    needed: int, more: int, outcomes: list[str]
) -> None:
    agreement = Agreement(needed=needed, asked=needed + more)
    votes = [Vote(reviewer=str(n), answer="approve", outcome=outcome) for n, outcome in enumerate(outcomes)]
    for count in range(len(votes) + 1):
        found = standing(agreement, votes[:count])
        if found.state is State.SETTLED:
            assert found.vote is not None
            assert found.settled_by == "third" or found.tally[found.vote.outcome] >= needed
            assert count <= agreement.asked + 1
            return
        assert found.state is State.OPEN or max(found.tally.values()) < needed
    assert len(votes) <= agreement.asked


CLOCK = Clock(since=NOW)
HOUR = Deadline(timeout_s=3600, on_timeout="reject")


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def done(actions: tuple[Action, ...]) -> list[str]:
    return [action.kind for action in actions]


def test_reminders_come_at_their_share_of_the_time_and_once() -> None:
    assert next_at(HOUR, CLOCK) == after(30)
    assert advanced(HOUR, CLOCK, after(29)) == (CLOCK, ())
    clock, actions = advanced(HOUR, CLOCK, after(30))
    assert done(actions) == ["remind"]
    assert advanced(HOUR, clock, after(40)) == (clock, ())
    assert next_at(HOUR, clock) == after(54)
    clock, actions = advanced(HOUR, clock, after(55))
    assert (done(actions), next_at(HOUR, clock)) == (["remind"], after(60))


def test_reminders_that_were_slept_through_come_as_one() -> None:
    clock, actions = advanced(HOUR, CLOCK, after(58))
    assert (done(actions), clock.reminded) == (["remind"], 2)


@pytest.mark.parametrize("kind", ["approve", "reject", "fail"])
def test_at_the_deadline_what_was_set_happens_once(kind: Any) -> None:
    deadline = Deadline(timeout_s=3600, on_timeout=kind)
    clock, actions = advanced(deadline, CLOCK, after(60))
    assert done(actions) == [kind]
    assert actions[0].due_at == after(60)
    assert advanced(deadline, clock, after(600)) == (clock, ())
    assert next_at(deadline, clock) is due_at(deadline, clock) is None


def test_each_group_has_its_whole_time_however_late_it_was_asked() -> None:
    deadline = Deadline(timeout_s=3600, on_timeout="escalate", escalate_to=("leads", "owners"), finally_="reject")
    clock, actions = advanced(deadline, CLOCK, after(500))  # the host was down
    assert (done(actions), actions[0].group, actions[0].due_at) == (["escalate"], "leads", after(60))
    assert group_of(deadline, clock) == "leads"
    assert (due_at(deadline, clock), next_at(deadline, clock)) == (after(560), after(530))
    clock, actions = advanced(deadline, clock, after(560))
    assert (done(actions), group_of(deadline, clock)) == (["escalate"], "owners")
    clock, actions = advanced(deadline, clock, after(620))
    assert (done(actions), clock.ended) == (["reject"], True)


def test_without_a_deadline_nothing_is_ever_due() -> None:
    assert next_at(Deadline(), CLOCK) is None
    assert advanced(Deadline(), CLOCK, after(10**6)) == (CLOCK, ())


@pytest.mark.parametrize(
    "wrong",
    [{"on_timeout": "escalate"}, {"timeout_s": 0}, {"timeout_s": float("inf")}, {"timeout_s": 10**9}, {"on_timeout": "shrug"},
     {"reminders": [0.9, 0.5]}, {"reminders": [0]}, {"reminders": [1]}, {"on_timeout": "escalate", "escalate_to": [" "]}],
)  # fmt: skip
def test_a_deadline_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Deadline.model_validate(wrong)


@given(
    st.sampled_from(["escalate", "approve", "reject", "fail"]),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3),
    st.lists(st.floats(0.1, 200), max_size=40),
)
def test_however_often_the_clock_is_read_it_ends_once_and_every_group_is_asked_before(
    kind: Any, groups: list[str], steps: list[float]
) -> None:
    deadline = Deadline(timeout_s=3600, on_timeout=kind, escalate_to=tuple(groups))
    clock, at, kinds = CLOCK, NOW, []
    for step in [*steps, *[61.0] * 5]:
        at += timedelta(minutes=step)
        clock, actions = advanced(deadline, clock, at)
        kinds += done(actions)
        assert advanced(deadline, clock, at) == (clock, ())
        assert Clock.model_validate_json(clock.model_dump_json()) == clock
    assert clock.ended
    assert [each for each in kinds if each != "remind"] == (
        ["escalate"] * len(groups) + ["fail"] if kind == "escalate" else [kind]
    )
