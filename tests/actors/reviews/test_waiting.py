"""Who holds a review, and what time does to it: each thing once, however many hosts look."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from actors.errors import ReviewConflictError
from actors.reviews.decisions import DECISION
from actors.reviews.service import Reviews
from storage.reviews import Review
from tests.actors.reviews.asking import ALL, People, gate


def approval(review: Review) -> Any:
    return DECISION.validate_python({"answer": "approve", "review_id": str(review.review_id), "saw": review.saw})


async def ticked(people: People, hosts: int = 4) -> dict[str, int]:
    """Many hosts tick at once; what they did together."""
    done = await asyncio.gather(*(Reviews(people.engine.database).tick() for _ in range(hosts)))
    return {name: sum(each[name] for each in done) for name in done[0]}


async def test_a_held_review_is_nobody_elses_until_its_lease_is_over(people: People) -> None:
    run, review = await people.asked()
    await people.reviews.claim(review.review_id, by="ann", lease_s=60)
    for work in (
        people.reviews.claim(review.review_id, by="bob"), people.reviews.release(review.review_id, by="bob"),
        people.reviews.decide(review.review_id, approval(review), by="bob"),
    ):  # fmt: skip
        with pytest.raises(ReviewConflictError) as raised:
            await work
        assert raised.value.details["conflict"] == "held"
    renewed = await people.reviews.claim(review.review_id, by="ann", lease_s=600)
    assert renewed.lease_until is not None
    assert (await ticked(people))["leases"] == 0
    await people.pass_time(review.review_id, renewed.lease_until + timedelta(seconds=1))
    assert (await ticked(people))["leases"] == 1
    assert (await people.reviews.get(review.review_id)).holder is None
    await people.reviews.claim(review.review_id, by="bob")
    await people.reviews.decide(review.review_id, approval(review), by="bob")
    await people.engine.ended(run.run_id)
    assert await people.actions(review.review_id) == [
        "asked", "claimed", "refused", "renewed", "lease_lost", "claimed", "decided", "settled", "delivered",
    ]  # fmt: skip


async def test_a_lease_that_is_over_is_taken_over_before_any_host_looked(people: People) -> None:
    _, review = await people.asked()
    held = await people.reviews.claim(review.review_id, by="ann")
    assert held.lease_until is not None
    await people.pass_time(review.review_id, held.lease_until + timedelta(seconds=1))
    assert (await people.reviews.claim(review.review_id, by="bob")).holder == "bob"
    lost = (await people.reviews.actions(review.review_id))[2]
    assert (lost.kind, lost.who, lost.details["to"]) == ("lease_lost", "ann", "bob")


async def test_reminders_escalations_and_the_end_come_in_time_and_once(people: People) -> None:
    deadline = {
        "timeout_s": 1000, "on_timeout": "escalate", "escalate_to": ["leads"], "finally": "reject", "reminders": [0.5],
    }  # fmt: skip
    run, review = await people.asked(question={"deadline": deadline, "reviewers": ["ann"]})
    assert await ticked(people) == {"leases": 0, "deadlines": 0, "deliveries": 0}
    for kind in ("reminded", "escalated", "reminded"):
        now_waiting = await people.reviews.get(review.review_id)
        assert now_waiting.next_at is not None
        await people.pass_time(review.review_id, now_waiting.next_at + timedelta(seconds=1))
        assert (await ticked(people))["deadlines"] == 1
        assert (await people.actions(review.review_id))[-1] == kind
        if kind == "escalated":
            escalated = await people.reviews.get(review.review_id)
            # Whoever is in the group may decide now, and those it was taken from do not hold it.
            assert (escalated.group_name, escalated.reviewers, escalated.holder) == ("leads", [], None)
    last = await people.reviews.get(review.review_id)
    assert last.due_at is not None
    await people.pass_time(review.review_id, last.due_at + timedelta(seconds=1))
    with pytest.raises(ReviewConflictError) as raised:  # late, though no host has looked yet
        await people.reviews.decide(review.review_id, approval(review), by="ann")
    assert raised.value.details["conflict"] == "late"
    assert (await ticked(people))["deadlines"] == 1
    (told,) = (await people.engine.ended(run.run_id)).output["told"]  # type: ignore[index]
    assert (told["answer"], told["settled_by"], told["by"]) == ("reject", "timeout", [])
    assert "nobody decided before" in told["reason"]


@pytest.mark.parametrize(("on_timeout", "state"), [("approve", "approved"), ("fail", "failed")])
async def test_a_deadline_ends_a_review_as_its_question_says(people: People, on_timeout: str, state: str) -> None:
    run, review = await people.asked(question={"deadline": {"timeout_s": 100, "on_timeout": on_timeout}})
    assert review.due_at is not None
    await people.pass_time(review.review_id, review.due_at + timedelta(seconds=1))
    await ticked(people)
    assert (await people.reviews.get(review.review_id)).state == state
    (told,) = (await people.engine.ended(run.run_id)).output["told"]  # type: ignore[index]
    assert told["answer"] == on_timeout


async def test_an_outcome_that_could_not_be_delivered_at_once_is_delivered_by_the_next_tick(people: People) -> None:
    run = await people.engine.runs.start("asking people", {"beside": "driving"}, {"told": []})
    async with asyncio.timeout(10):
        while not (found := await people.reviews.queue(ALL, limit=1, run_id=run.run_id)):
            await asyncio.sleep(0.02)
    review = await people.reviews.get(found[0].review_id)
    async with people.engine.database.begin() as session:  # as if the run did not wait for it yet
        await session.execute(
            people.moved, {"interrupt_id": "not asked yet", "review_id": review.review_id}
        )  # fmt: skip
    decided = await people.reviews.decide(review.review_id, approval(review), by="ann")
    assert (decided.state, decided.delivered_at) == ("approved", None)
    assert (await ticked(people))["deliveries"] == 0
    async with people.engine.database.begin() as session:
        await session.execute(
            people.moved, {"interrupt_id": review.interrupt_id, "review_id": review.review_id}
        )  # fmt: skip
    assert (await ticked(people))["deliveries"] == 1
    gate("driving").set()
    (told,) = (await people.engine.ended(run.run_id)).output["told"]  # type: ignore[index]
    assert told["answer"] == "approve"


async def test_what_cannot_be_done_keeps_nothing_else_from_being_done(people: People) -> None:
    question = {"deadline": {"timeout_s": 60, "on_timeout": "reject", "reminders": []}}
    # In the order in which they are due. The middle ones' runs are being cancelled: a deadline is no use there.
    broken, *idle, last = [(await people.asked(question=question))[1] for _ in range(5)]
    (host,) = people.engine.hosts
    await people.engine.stop(host)
    for each in idle:
        await people.engine.runs.cancel(each.run_id)
    assert last.due_at is not None
    for each in (broken, *idle, last):
        await people.pass_time(each.review_id, last.due_at)
    async with people.engine.database.begin() as session:  # whatever it is that the database does not take
        refused = f"ALTER TABLE review_actions ADD CHECK (kind <> 'settled' OR review_id <> '{broken.review_id}')"
        await session.execute(text(refused))
    done = await Reviews(people.engine.database, at_once=2).tick()
    assert done["deadlines"] == 1
    assert [(await people.reviews.get(each.review_id)).state for each in (broken, last)] == ["open", "rejected"]


async def test_20_reviewers_at_1000_reviews_hold_each_once_and_lose_none(people: People) -> None:
    await people.waiting(1000)
    taken: dict[str, list[Any]] = {f"reviewer {number}": [] for number in range(20)}

    async def work(name: str) -> None:
        while (review := await people.reviews.claim_next(ALL, by=name)) is not None:
            taken[name].append(review.review_id)

    await asyncio.gather(*(work(name) for name in taken))
    all_taken = [review_id for several in taken.values() for review_id in several]
    assert (len(all_taken), len(set(all_taken))) == (1000, 1000)
    held = await people.reviews.queue(ALL, limit=2000)
    assert {each.review_id: each.holder for each in held} == {
        review_id: name for name, several in taken.items() for review_id in several
    }


async def test_20_reviewers_at_one_review_are_one_holder_and_19_conflicts(people: People) -> None:
    _, review = await people.asked()
    claims = [people.reviews.claim(review.review_id, by=f"reviewer {number}") for number in range(20)]
    results = await asyncio.gather(*claims, return_exceptions=True)
    assert sum(isinstance(each, Review) for each in results) == 1
    assert sum(isinstance(each, ReviewConflictError) for each in results) == 19
