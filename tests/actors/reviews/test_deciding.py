"""What people decide reaches the run, once, and what must not count is refused and on record."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from actors.errors import ReviewConflictError, ReviewEditError, RunConflictError
from actors.reviews import record
from actors.reviews.decisions import DECISION
from actors.reviews.groups import Groups
from actors.reviews.question import Question
from actors.reviews.service import Reviews
from storage.reviews import Review
from tests.actors.reviews.asking import ALL, People, gate

PROMPT = {"type": "object", "properties": {"prompt": {"type": "string", "maxLength": 20}}, "required": ["prompt"]}


def decision(review: Review, answer: str = "approve", **more: Any) -> Any:
    given = {"answer": answer, "review_id": str(review.review_id), "saw": review.saw, **more}
    return DECISION.validate_python(given)


@pytest.mark.parametrize(
    ("answer", "more", "state"),
    [
        ("approve", {}, "approved"),
        ("edit", {"payload": {"prompt": "a dog"}}, "edited"),
        ("reject", {"reason": "no cats"}, "rejected"),
        ("respond", {"message": "try a dog"}, "responded"),
    ],
)
async def test_a_decision_is_what_the_step_is_told(
    people: People, answer: str, more: dict[str, Any], state: str
) -> None:
    run, review = await people.asked(owner="0xa", question={"edit_schema": PROMPT})
    assert (review.owner, review.source, review.step, review.state) == (
        "0xa",
        "asking people",
        "payload_review",
        "open",
    )
    decided = await people.reviews.decide(review.review_id, decision(review, answer, **more), by="ann")
    assert decided.state == state
    ended = await people.engine.ended(run.run_id)
    assert ended.output is not None
    (told,) = ended.output["told"]
    assert (told["answer"], told["by"], told["settled_by"]) == (answer, ["ann"], "agreement")
    for name, value in more.items():
        assert told[name] == value
    assert await people.actions(review.review_id) == ["asked", "decided", "settled", "delivered"]


async def test_an_edit_that_the_schema_refuses_is_not_taken_and_the_review_stays(people: People) -> None:
    _, review = await people.asked(question={"edit_schema": PROMPT})
    for payload, path in (({"prompt": "x" * 21}, "$.prompt"), ({"prompt": "a", "seed": 1}, "$.seed")):
        with pytest.raises(ReviewEditError) as raised:
            await people.reviews.decide(review.review_id, decision(review, "edit", payload=payload), by="ann")
        assert [each["path"] for each in raised.value.details["errors"]] == [path]
    assert (await people.reviews.get(review.review_id)).state == "open"
    assert await people.actions(review.review_id) == ["asked", "refused", "refused"]


async def test_late_foreign_repeated_and_blind_decisions_are_refused_and_recorded(people: People) -> None:
    run, review = await people.asked(question={"reviewers": ["ann", "bob"], "agreement": {"needed": 2, "asked": 2}})
    other = decision(review).model_copy(update={"review_id": uuid4()})
    stale = decision(review).model_copy(update={"saw": "0" * 64})
    await people.reviews.decide(review.review_id, decision(review), by="ann")
    for made, by, conflict in (
        (other, "bob", "foreign"), (stale, "bob", "changed"), (decision(review), "eve", "foreign"),
        (decision(review), "ann", "repeated"),
    ):  # fmt: skip
        with pytest.raises(ReviewConflictError) as raised:
            await people.reviews.decide(review.review_id, made, by=by)
        assert raised.value.details["conflict"] == conflict
    await people.reviews.decide(review.review_id, decision(review), by="bob")
    await people.engine.ended(run.run_id)
    with pytest.raises(ReviewConflictError) as raised:
        await people.reviews.decide(review.review_id, decision(review), by="eve")
    assert raised.value.details == {"state": "approved", "conflict": "late"}
    refused = [each for each in await people.reviews.actions(review.review_id) if each.kind == "refused"]
    assert [(each.who, each.details["conflict"]) for each in refused] == [
        ("bob", "foreign"), ("bob", "changed"), ("eve", "foreign"), ("ann", "repeated"), ("eve", "late"),
    ]  # fmt: skip


async def test_of_many_decisions_at_once_one_counts(people: People) -> None:
    run, review = await people.asked()
    names = [f"reviewer {number}" for number in range(10)]
    made = [people.reviews.decide(review.review_id, decision(review), by=name) for name in names]
    results = await asyncio.gather(*made, return_exceptions=True)
    assert sum(isinstance(each, Review) for each in results) == 1
    assert sum(isinstance(each, ReviewConflictError) for each in results) == 9
    assert len((await people.engine.ended(run.run_id)).output["told"]) == 1  # type: ignore[index]


async def test_those_who_disagree_are_settled_by_a_third(people: People) -> None:
    question = {"agreement": {"needed": 2, "asked": 2, "arbiters": ["zoe"]}, "reviewers": ["ann", "bob"]}
    run, review = await people.asked(question=question)
    await people.reviews.decide(review.review_id, decision(review), by="ann")
    disputed = await people.reviews.decide(review.review_id, decision(review, "reject", reason="no"), by="bob")
    assert (disputed.state, disputed.disputed, disputed.reviewers) == ("open", True, ["zoe"])
    with pytest.raises(ReviewConflictError):
        await people.reviews.decide(review.review_id, decision(review), by="eve")
    await people.reviews.decide(review.review_id, decision(review, "reject", reason="ugly"), by="zoe")
    (told,) = (await people.engine.ended(run.run_id)).output["told"]  # type: ignore[index]
    assert (told["answer"], told["settled_by"], told["by"], told["reason"]) == (
        "reject", "third", ["bob", "zoe"], "ugly",
    )  # fmt: skip


async def test_a_run_does_not_go_around_its_review(people: People) -> None:
    run, review = await people.asked()
    with pytest.raises(RunConflictError) as raised:
        await people.engine.runs.resume(run.run_id, {review.interrupt_id: {"answer": "approve"}}, by="ann")
    assert raised.value.subject == str(review.review_id)
    assert (await people.engine.runs.get(run.run_id)).status == "waiting"


async def test_a_step_that_asks_again_has_a_review_for_each_question(people: People) -> None:
    run, first = await people.asked(rounds=2)
    await people.reviews.decide(first.review_id, decision(first, "reject", reason="no"), by="ann")
    async with asyncio.timeout(10):
        while not (found := await people.reviews.queue(ALL, limit=1, run_id=run.run_id)):
            await asyncio.sleep(0.02)
    second = await people.reviews.get(found[0].review_id)
    assert second.subject == {"prompt": "a cat, 2"}
    await people.reviews.decide(second.review_id, decision(second), by="bob")
    told = (await people.engine.ended(run.run_id)).output["told"]  # type: ignore[index]
    assert [(each["review_id"], each["answer"]) for each in told] == [
        (str(first.review_id), "reject"), (str(second.review_id), "approve"),
    ]  # fmt: skip


async def test_what_is_decided_while_the_run_is_driven_counts_once(people: People) -> None:
    run = await people.engine.runs.start("asking people", {"beside": "driven", "at": ["one", "two"]}, {"told": []})
    async with asyncio.timeout(10):
        while len(found := await people.reviews.queue(ALL, limit=10, run_id=run.run_id)) < 2:
            await asyncio.sleep(0.02)
    for each in found:
        review = await people.reviews.get(each.review_id)
        await people.reviews.decide(review.review_id, decision(review), by="ann")
    assert (await people.engine.runs.get(run.run_id)).status == "running"
    gate("driven").set()
    told = (await people.engine.ended(run.run_id)).output["told"]  # type: ignore[index]
    assert {each["review_id"] for each in told} == {str(each.review_id) for each in found}


async def exported(people: People, run_id: UUID) -> list[bytes]:
    return [line async for line in record.lines(people.engine.database, run_id)]


async def test_a_run_that_ends_closes_its_reviews_and_a_retry_opens_them(people: People) -> None:
    spec = {"beside": "failing", "fails": True}
    run = await people.engine.runs.start("asking people", spec, {"told": []})
    async with asyncio.timeout(10):
        while not await people.reviews.queue(ALL, limit=1, run_id=run.run_id):
            await asyncio.sleep(0.02)
    gate("failing").set()
    assert (await people.engine.ended(run.run_id)).status == "failed"
    review = await people.review_of(run.run_id, "cancelled")
    with pytest.raises(ReviewConflictError) as raised:
        await people.reviews.decide(review.review_id, decision(review), by="ann")
    assert raised.value.details == {"state": "cancelled", "conflict": "late"}
    earlier = await exported(people, run.run_id)
    await people.engine.runs.retry(run.run_id)
    async with asyncio.timeout(10):
        while not await people.reviews.queue(ALL, limit=1, run_id=run.run_id):
            await asyncio.sleep(0.02)
    await people.reviews.decide(review.review_id, decision(review), by="ann")
    await people.engine.runs.cancel(run.run_id)
    assert (await people.engine.ended(run.run_id)).status == "cancelled"
    assert await people.actions(review.review_id) == [
        "asked", "cancelled", "refused", "asked", "decided", "settled", "delivered",
    ]  # fmt: skip
    later = await exported(people, run.run_id)
    assert len(later) > len(earlier)
    assert later[: len(earlier)] == earlier


async def test_cancelling_a_waiting_run_closes_its_review(people: People) -> None:
    run, review = await people.asked()
    await people.engine.runs.cancel(run.run_id)
    assert (await people.engine.ended_not_waiting(run.run_id)).status == "cancelled"
    assert (await people.reviews.get(review.review_id)).state == "cancelled"


async def test_nothing_is_decided_while_its_run_is_being_cancelled_or_after_its_end(people: People) -> None:
    run, review = await people.asked(question={"deadline": {"timeout_s": 60, "on_timeout": "approve"}})
    (host,) = people.engine.hosts
    await people.engine.stop(host)  # nobody has heeded the cancellation yet
    await people.engine.runs.cancel(run.run_id)
    with pytest.raises(ReviewConflictError, match="is being cancelled") as raised:
        await people.reviews.decide(review.review_id, decision(review), by="ann")
    assert raised.value.details == {"state": "open", "conflict": "late"}
    assert review.due_at is not None
    await people.pass_time(review.review_id, review.due_at)
    await people.reviews.tick()
    assert await people.reviews.decisions(review.review_id) == []
    assert await people.actions(review.review_id) == ["asked", "refused"]
    await people.engine.host()
    assert (await people.engine.ended_not_waiting(run.run_id)).status == "cancelled"
    with pytest.raises(ReviewConflictError) as raised:
        await people.reviews.decide(review.review_id, decision(review), by="ann")
    assert raised.value.details["conflict"] == "late"
    assert (await people.reviews.get(review.review_id)).state == "cancelled"


async def test_an_arbiter_who_was_one_of_those_who_disagreed_leaves_it_to_anybody_else(people: People) -> None:
    run, review = await people.asked(question={"agreement": {"needed": 2, "asked": 2, "arbiters": ["zoe"]}})
    await people.reviews.decide(review.review_id, decision(review), by="zoe")
    disputed = await people.reviews.decide(review.review_id, decision(review, "reject", reason="no"), by="bob")
    assert (disputed.disputed, disputed.reviewers) == (True, [])
    await people.reviews.decide(review.review_id, decision(review), by="ann")
    (told,) = (await people.engine.ended(run.run_id)).output["told"]  # type: ignore[index]
    assert (told["answer"], told["settled_by"]) == ("approve", "third")


async def test_a_dispute_that_is_escalated_is_settled_by_whoever_it_goes_to(people: People) -> None:
    question = {
        "agreement": {"needed": 2, "asked": 2, "arbiters": ["zoe"]}, "reviewers": ["ann", "bob"],
        "deadline": {"timeout_s": 60, "on_timeout": "escalate", "escalate_to": ["leads"]},
    }  # fmt: skip
    run, review = await people.asked(question=question)
    await people.reviews.decide(review.review_id, decision(review), by="ann")
    disputed = await people.reviews.decide(review.review_id, decision(review, "reject", reason="no"), by="bob")
    assert (disputed.reviewers, disputed.due_at is not None) == (["zoe"], True)
    assert disputed.due_at is not None
    await people.pass_time(review.review_id, disputed.due_at)
    await people.reviews.tick()
    taken = await people.reviews.claim_next(ALL, by="lea")
    assert taken is not None
    await people.reviews.decide(review.review_id, decision(review), by="lea")
    (told,) = (await people.engine.ended(run.run_id)).output["told"]  # type: ignore[index]
    assert (told["answer"], told["settled_by"], told["by"]) == ("approve", "third", ["ann", "lea"])


async def test_a_group_that_is_smaller_than_was_asked_for_leaves_the_last_word_to_anybody(people: People) -> None:
    reviews = Reviews(people.engine.database, Groups({"leads": ["ann", "bob"]}))
    run, review = await people.asked(question={"group": "leads", "agreement": {"needed": 2, "asked": 3}})
    await reviews.decide(review.review_id, decision(review), by="ann")
    with pytest.raises(ReviewConflictError, match="for others"):
        await reviews.decide(review.review_id, decision(review), by="eve")
    assert await reviews.claim_next(ALL, by="eve") is None
    await reviews.decide(review.review_id, decision(review, "reject", reason="no"), by="bob")
    assert await people.actions(review.review_id) == ["asked", "decided", "refused", "decided", "opened"]
    assert await reviews.claim_next(ALL, by="eve") is not None
    await reviews.decide(review.review_id, decision(review), by="eve")
    (told,) = (await people.engine.ended(run.run_id)).output["told"]  # type: ignore[index]
    assert (told["answer"], told["settled_by"]) == ("approve", "agreement")


async def test_no_flood_of_refusals_hides_what_was_decided(people: People) -> None:
    _, review = await people.asked(question={"agreement": {"needed": 2, "asked": 3}})
    copies = (
        "INSERT INTO review_actions (action_id, review_id, run_id, kind, who, saw, details, at) SELECT gen_random_uuid(),"
        " review_id, run_id, :kind, 'eve', saw, '{}', at FROM review_actions, generate_series(1, 1500)"
    )
    async with people.engine.database.begin() as session:
        await session.execute(text(copies), {"kind": "refused"})
    await people.reviews.decide(review.review_id, decision(review), by="ann")
    await people.reviews.decide(review.review_id, decision(review), by="bob")
    told = await people.actions(review.review_id)
    assert [kind for kind in told if kind != "refused"] == ["asked", "decided", "decided", "settled", "delivered"]
    assert told.count("refused") == 1000


@pytest.mark.parametrize(
    ("reviewers", "agreement"),
    [
        (["ann"], {"needed": 2, "asked": 3}),
        (["ann", "ann"], {"needed": 2, "asked": 2}),
        (["ann", "bob"], {"needed": 2, "asked": 2, "arbiters": ["bob"]}),
    ],
)
def test_a_question_whose_agreement_cannot_be_reached_is_none(reviewers: list[str], agreement: dict[str, Any]) -> None:
    asked = {"review_id": uuid4(), "checkpoint": "c", "title": "t", "subject": {}}
    with pytest.raises(ValidationError, match=r"the agreement (asks|has)"):
        Question.model_validate({**asked, "reviewers": reviewers, "agreement": agreement})


async def test_the_record_tells_all_in_order_as_json_lines(people: People) -> None:
    run, review = await people.asked(rounds=2)
    await people.reviews.claim(review.review_id, by="ann")
    edit = decision(review, "edit", payload={"prompt": "a dog"})
    await people.reviews.decide(review.review_id, edit, by="ann")
    async with asyncio.timeout(10):
        while not (found := await people.reviews.queue(ALL, limit=1, run_id=run.run_id)):
            await asyncio.sleep(0.02)
    second = await people.reviews.get(found[0].review_id)
    await people.reviews.decide(second.review_id, decision(second, "reject", reason="no"), by="bob")
    await people.engine.ended(run.run_id)
    told = [orjson.loads(line) async for line in record.lines(people.engine.database, run.run_id)]
    assert [each["at"] for each in told] == sorted(each["at"] for each in told)
    events = [each["type"] for each in told if each["what"] == "event"]
    assert events == await people.engine.told(run.run_id)
    rest = [(each["what"], each.get("kind"), each.get("who")) for each in told if each["what"] != "event"]
    assert sorted(rest, key=str) == sorted(
        [
            ("question", None, None), ("action", "asked", None), ("action", "claimed", "ann"), ("decision", None, "ann"),
            ("action", "decided", "ann"), ("action", "settled", None), ("action", "delivered", None),
            ("question", None, None), ("action", "asked", None), ("decision", None, "bob"), ("action", "decided", "bob"),
            ("action", "settled", None), ("action", "delivered", None), ("artifact", "response", None),
        ],
        key=str,
    )  # fmt: skip
    (made,) = [each for each in told if each["what"] == "decision" and each["who"] == "ann"]
    assert (made["saw"], made["changes"][0]["path"], made["payload"]) == (review.saw, "$.prompt", {"prompt": "a dog"})
    assert [each["body"] for each in told if each["what"] == "artifact"] == [{"answers": ["edit", "reject"]}]


async def test_the_record_cannot_be_changed(people: People) -> None:
    run, review = await people.asked()
    await people.reviews.decide(review.review_id, decision(review), by="ann")
    await people.engine.ended(run.run_id)
    for statement in (
        "UPDATE review_decisions SET answer = 'reject'", "DELETE FROM review_actions", "DELETE FROM run_artifacts",
        "TRUNCATE review_actions", "UPDATE reviews SET subject = '{}'", "UPDATE reviews SET created_at = now()",
        "DELETE FROM reviews", "UPDATE run_events SET data = '{}'", "DELETE FROM run_events", "TRUNCATE run_events",
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match="is a record"):
            async with people.engine.database.begin() as session:
                await session.execute(text(statement))
