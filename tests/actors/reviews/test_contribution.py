"""A verdict REVIEW waits for a person, who sees what was judged; what they decide stands on the contribution."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from actors.agents.review_policy import ReviewPolicy
from actors.errors import ReviewConflictError, ReviewEditError
from actors.reviews.decisions import DECISION
from storage import activities, verdict_reviews, verifications
from storage.errors import ConflictError
from storage.reviews import Review
from storage.verifications import ResultRow, VerificationResult
from tests.actors.reviews.asking import pass_time
from tests.actors.reviews.verdicts import Verdicts, opened
from tests.actors.verification.population import Population, distinct, open_batch, put


@pytest.fixture
async def people(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Verdicts]:
    async with opened(database_url, redis_url, tmp_path) as made:
        yield made


async def asked(people: Verdicts) -> tuple[Population, Review]:
    """A campaign of one contribution, and what a person is asked about its verdict."""
    population = await people.campaign(distinct(1, asking="mark 71"))
    await people.verified(population)
    (review,) = await people.waiting(1)
    return population, review


async def history(people: Verdicts, population: Population, number: int = 0) -> list[VerificationResult]:
    """A contribution's results, oldest first."""
    async with people.database.read() as session:
        found = await verifications.of_contribution(session, population.contribution_ids[number], limit=100)
    return list(reversed(found))


async def runs_of(people: Verdicts) -> dict[str, int]:
    async with people.database.read() as session:
        query = text("SELECT status, count(*) FROM runs WHERE kind = 'contribution_review' GROUP BY 1")
        return {row[0]: row[1] for row in await session.execute(query)}


async def test_each_review_is_asked_of_the_creator_and_of_nobody_for_the_others(people: Verdicts) -> None:
    contents = [*distinct(2, asking="mark 71"), *distinct(3, asking="mark 95", salt="b"), b"refuse this"]
    population = await people.campaign(contents)
    batch_id = await people.verified(population)
    found = await people.waiting(2)
    assert {each.contribution_id for each in found} == {str(each) for each in population.contribution_ids[:2]}
    first = found[0]
    assert (first.owner, first.campaign_id, first.answers) == ("0xc", "campaign_1", ["approve", "edit", "reject"])
    assert first.subject["verdict"] == "ACCEPT"
    assert (await people.progress(batch_id)).verdicts == {"REVIEW": 2, "ACCEPT": 3, "ERROR": 1}
    # Whoever drives the batch again asks nobody twice.
    async with people.database.begin() as session:
        await session.execute(text("UPDATE verification_batches SET state = 'running'"))
    await people.verification.drive(batch_id)
    assert await runs_of(people) == {"waiting": 2}


async def test_a_reviewer_sees_the_content_the_reason_the_marks_and_the_original(people: Verdicts) -> None:
    earlier, copy = distinct(2, words=200)
    population = await people.campaign([earlier, copy])
    marks = [{"criterion": "accuracy", "value": 90.0, "reason": "as told"}]
    row = ResultRow(
        campaign_id=population.campaign_id, contribution_id=population.contribution_ids[1], contributor="0x0001",
        verdict="REVIEW", score=90.0, reasoning="A person must decide whether this is a copy.", scorer="scripted",
        marks=marks, duplicate_of=population.contribution_ids[0], duplicate_kind="near", similarity=0.84,
        content_hash="1" * 64, media_type="text/plain", left_out=["pages 3 to 9"],
    )  # fmt: skip
    async with people.database.begin() as session:
        await verifications.write_single(session, row, asks_people=True)
    (review,) = await people.waiting(1)
    shown = {each["title"]: each for each in review.shown}
    assert shown["The contribution"]["kind"] == "text"
    stored = await people.verification.workplace.store.get(shown["The contribution"]["blob_id"])
    assert stored == copy
    assert "whether this is a copy" in shown["Why a person decides"]["content"]
    assert shown["Marks of scripted"]["content"][0] == {"name": "accuracy", "mark": 90.0, "reason": "as told"}
    assert shown["What the scorer did not see"]["content"] == "pages 3 to 9"
    original = shown["The earlier contribution of 0x0000, 84% alike"]
    assert await people.verification.workplace.store.get(original["blob_id"]) == earlier
    assert "perhaps a copy" in review.title


async def test_an_approval_and_a_rejection_are_written_beside_what_the_machine_found(people: Verdicts) -> None:
    population = await people.campaign(distinct(3, asking="mark 71"))
    batch_id = await people.verified(population)
    first, second, _ = await people.waiting(3)
    made = await people.decide(first, "approve", by="ann")
    assert (made["verdict"], made["by"]) == ("ACCEPT", ["ann"])
    await people.decide(second, "reject", by="bob", reason="not about recipes")
    accepted = await people.contribution(population.contribution_ids[0])
    assert (accepted.verdict, accepted.is_verified) == ("ACCEPT", True)
    rejected = await people.contribution(population.contribution_ids[1])
    assert (rejected.verdict, rejected.is_verified) == ("REJECT", False)
    machine, person = await history(people, population, 1)
    assert (machine.verdict, person.verdict, person.scorer) == ("REVIEW", "REJECT", "person")
    assert (person.decides, person.decided_by, person.review_id) == (machine.result_id, "bob", second.review_id)
    assert person.reasoning == "Rejected by bob: not about recipes"
    assert person.score == machine.score
    counted = await people.progress(batch_id)
    assert (counted.judged, counted.verdicts) == (3, {"ACCEPT": 1, "REJECT": 1, "REVIEW": 1})
    assert counted.decided == {"ACCEPT": 1, "REJECT": 1}
    async with people.database.read() as session:
        told = await activities.of_campaign(session, population.campaign_id, limit=10)
    reviewed = [each for each in told if each.kind == "contribution_reviewed"]
    assert [(each.actor, each.detail["verdict"]) for each in reviewed] == [("bob", "REJECT"), ("ann", "ACCEPT")]


async def test_an_edit_gives_another_score_or_verdict_within_bounds(people: Verdicts) -> None:
    population = await people.campaign(distinct(2, asking="mark 69"))
    await people.verified(population)
    first, second = await people.waiting(2)
    for payload, path in (
        ({"verdict": "ACCEPT", "score": 101}, "$.score"), ({"verdict": "PAY", "score": 80}, "$.verdict"),
        ({"verdict": "REJECT", "score": 10}, "$.reason"), ({"verdict": "ACCEPT", "score": 80, "pay": 1}, "$.pay"),
    ):  # fmt: skip
        with pytest.raises(ReviewEditError) as raised:
            await people.decide(first, "edit", payload=payload)
        assert path in [each["path"] for each in raised.value.details["errors"]]
    await people.decide(first, "edit", payload={"verdict": "ACCEPT", "score": 88.5, "reason": "better than it seems"})
    made = await people.contribution(population.contribution_ids[0])
    assert (made.verdict, made.verified_score) == ("ACCEPT", 88.5)
    person = (await history(people, population))[-1]
    assert person.reasoning == "Accepted by ann, who gave 88.5: better than it seems"
    await people.decide(second, "edit", payload={"verdict": "REJECT", "score": 20, "reason": "thin"})
    assert (await people.contribution(population.contribution_ids[1])).verdict == "REJECT"


async def test_verifying_anew_closes_the_older_question_and_asks_a_new_one(people: Verdicts) -> None:
    population = await people.campaign(distinct(1, asking="mark 71"))
    await people.verified(population)
    (older,) = await people.waiting(1)
    row = await people.verification.verify_contribution(population.contribution_ids[0])
    assert row.verdict == "REVIEW"
    await people.waiting(1, states=["cancelled"])
    (newer,) = await people.waiting(1)
    assert newer.review_id != older.review_id
    await people.decide(newer, "approve")
    assert (await people.contribution(population.contribution_ids[0])).verdict == "ACCEPT"


async def test_an_outage_closes_no_question(people: Verdicts) -> None:
    population, review = await asked(people)
    failed = ResultRow(
        campaign_id=population.campaign_id, contribution_id=population.contribution_ids[0], contributor="0x0000",
        verdict="ERROR", reasoning="down", error_code="scorer_unavailable",
    )  # fmt: skip
    async with people.database.begin() as session:
        await verifications.write_single(session, failed, asks_people=True)
    await people.decide(review, "approve")
    assert (await people.contribution(population.contribution_ids[0])).verdict == "ACCEPT"


async def test_what_a_person_decided_on_this_content_stands(people: Verdicts) -> None:
    population, review = await asked(people)
    await people.decide(review, "reject", reason="dull")
    batch_id = await people.verified(population)
    assert (await people.contribution(population.contribution_ids[0])).verdict == "REJECT"
    assert (await people.progress(batch_id)).verdicts == {"REJECT": 1}
    assert await runs_of(people) == {"completed": 1}
    # Other content under the same address is another matter.
    other = put(people.storage, distinct(1, asking="mark 95", salt="new")[0])
    async with people.database.begin() as session:
        await session.execute(text("UPDATE contributions SET data_url = :url"), {"url": other})
    await people.verified(population)
    assert (await people.contribution(population.contribution_ids[0])).verdict == "ACCEPT"


async def accepted(people: Verdicts, review: Review, reason: str) -> None:
    """A rejection that is accepted while no host is there to go on with its run."""
    (host,) = people.engine.hosts
    await people.engine.stop(host)
    given = {"answer": "reject", "review_id": review.review_id, "saw": review.saw, "reason": reason}
    await people.reviews.decide(review.review_id, DECISION.validate_python(given), by="ann")


async def test_what_was_decided_stands_though_its_content_is_verified_anew_before_it_is_written(
    people: Verdicts,
) -> None:
    population, review = await asked(people)
    await accepted(people, review, "dull")
    batch_id = await people.verified(population)  # another REVIEW, about which another question is asked
    await people.engine.host()
    made = (await people.engine.ended(review.run_id)).output
    assert made is not None
    assert (made["verdict"], made["superseded"]) == ("REJECT", False)
    assert (await people.contribution(population.contribution_ids[0])).verdict == "REJECT"
    assert (await people.progress(batch_id)).verdicts == {"REJECT": 1}
    async with asyncio.timeout(20):  # nobody is asked again
        while await runs_of(people) != {"completed": 1, "cancelled": 1}:
            await asyncio.sleep(0.02)


async def verified_anew(people: Verdicts, earlier: VerificationResult) -> None:
    """Another REVIEW of equal content."""
    row = ResultRow(
        campaign_id=earlier.campaign_id, contribution_id=earlier.contribution_id, contributor=earlier.contributor,
        verdict="REVIEW", score=70.0, reasoning="anew", content_hash=earlier.content_hash,
    )  # fmt: skip
    async with people.database.begin() as session:
        await verifications.write_single(session, row, asks_people=True)


async def until_it_waits(people: Verdicts) -> None:
    """For somebody else's transaction."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20):
        while True:
            async with people.database.read() as session:
                if (await session.execute(query)).scalar_one():
                    return
            await asyncio.sleep(0.02)


async def test_a_verification_that_waits_while_a_decision_is_written_asks_nobody_and_changes_nothing(
    people: Verdicts,
) -> None:
    population, review = await asked(people)
    await accepted(people, review, "dull")
    (machine,) = await history(people, population)
    async with people.database.begin() as session:
        await verdict_reviews.decide(
            session, machine.result_id, verdict="REJECT", score=71, by="ann", reasoning="dull",
            review_id=review.review_id, run_id=review.run_id,
        )  # fmt: skip
        anew = asyncio.create_task(verified_anew(people, machine))
        await until_it_waits(people)
    await anew
    assert (await people.contribution(population.contribution_ids[0])).verdict == "REJECT"
    assert sum((await runs_of(people)).values()) == 1
    await people.engine.host()
    assert (await people.engine.ended(review.run_id)).status == "completed"


async def test_a_verification_that_waits_while_a_decision_is_accepted_does_not_end_its_run(people: Verdicts) -> None:
    population, review = await asked(people)
    (host,) = people.engine.hosts
    await people.engine.stop(host)
    (machine,) = await history(people, population)
    given = {"answer": "approve", "review_id": review.review_id, "saw": review.saw}
    async with people.database.begin() as session:
        taken = await people.reviews.take(session, review.review_id, DECISION.validate_python(given), by="ann")
        assert isinstance(taken, Review)
        await session.flush()
        anew = asyncio.create_task(verified_anew(people, machine))
        await until_it_waits(people)
        # As the run's host leaves it, should it come first: the answer is taken, and not yet written.
        await session.execute(text("UPDATE runs SET resume = '{}', interrupts = '[]', status = 'running'"))
    await anew
    async with people.database.read() as session:
        found = await session.execute(
            text("SELECT cancel_requested_at FROM runs WHERE run_id = :run_id"), {"run_id": review.run_id}
        )
    assert found.scalar_one() is None


async def test_a_decision_on_content_that_was_replaced_meanwhile_writes_nothing(people: Verdicts) -> None:
    population, review = await asked(people)
    await accepted(people, review, "dull")
    changed = ResultRow(
        campaign_id=population.campaign_id, contribution_id=population.contribution_ids[0], contributor="0x0000",
        verdict="ACCEPT", score=90.0, reasoning="anew", content_hash="f" * 64,
    )  # fmt: skip
    async with people.database.begin() as session:
        await verifications.write_single(session, changed)
    await people.engine.host()
    made = (await people.engine.ended(review.run_id)).output
    assert made is not None
    assert made["superseded"]
    assert (await people.contribution(population.contribution_ids[0])).verdict == "ACCEPT"
    assert len(await history(people, population)) == 2


async def test_a_run_writes_about_its_own_result_what_its_own_review_came_to(people: Verdicts) -> None:
    population = await people.campaign(distinct(2, asking="mark 71"))
    await people.verified(population)
    first, second = await people.waiting(2)
    await people.decide(first, "approve")
    results = [(await history(people, population, number))[0].result_id for number in range(2)]
    for result_id, run_id, review_id in (
        (results[1], first.run_id, first.review_id), (results[1], second.run_id, first.review_id),
        (results[1], second.run_id, second.review_id),
    ):  # fmt: skip
        with pytest.raises(ConflictError, match="may not decide"):
            async with people.database.begin() as session:
                await verdict_reviews.decide(
                    session, result_id, verdict="ACCEPT", score=100, by="eve", reasoning="so", review_id=review_id,
                    run_id=run_id,
                )  # fmt: skip
    assert (await people.contribution(population.contribution_ids[1])).verdict == "REVIEW"


async def test_content_that_lies_elsewhere_and_cannot_be_had_is_a_link_and_said_to_be(people: Verdicts) -> None:
    population = await people.campaign(["https://127.0.0.1/x.txt"])
    row = ResultRow(
        campaign_id=population.campaign_id, contribution_id=population.contribution_ids[0], contributor="0x0000",
        verdict="REVIEW", reasoning="who knows", score=70.0, content_hash="0" * 64, media_type="image/png",
    )  # fmt: skip
    async with people.database.begin() as session:
        await verifications.write_single(session, row, asks_people=True)
    (review,) = await people.waiting(1)
    content, about = review.shown[:2]
    assert (content["kind"], content["url"]) == ("image", "https://127.0.0.1/x.txt")
    assert "cannot be shown here" in about["content"]


async def test_an_installation_says_whom_verdicts_are_for_and_how_long_they_wait(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    policy = ReviewPolicy(reviewers=("ann", "bob"), needed=2, timeout_seconds=60, on_timeout="reject")
    async with opened(database_url, redis_url, tmp_path, verdict_reviews=policy) as people:
        population = await people.campaign(distinct(2, asking="mark 71"))
        await people.verified(population)
        first, second = await people.waiting(2)
        approval = DECISION.validate_python({"answer": "approve", "review_id": first.review_id, "saw": first.saw})
        with pytest.raises(ReviewConflictError, match="for others"):
            await people.reviews.decide(first.review_id, approval, by="eve")
        assert (await people.reviews.decide(first.review_id, approval, by="ann")).state == "open"
        assert (await people.decide(first, "approve", by="bob"))["by"] == ["ann", "bob"]
        assert second.due_at is not None
        await pass_time(people.database, second.review_id, second.due_at)
        await people.reviews.tick()
        assert (await people.engine.ended(second.run_id)).output is not None
        rejected = (await history(people, population, 1))[-1]
        assert (rejected.verdict, rejected.decided_by) == ("REJECT", "its deadline")


@pytest.mark.parametrize("how", ["setting", "batch"])
async def test_nobody_is_asked_where_it_is_switched_off(
    database_url: str, redis_url: str, tmp_path: Path, how: str
) -> None:
    async with opened(database_url, redis_url, tmp_path, review_verdicts=how != "setting") as people:
        population = await people.campaign(distinct(2, asking="mark 71"))
        batch_id = await open_batch(people.database, population.campaign_id)
        if how == "batch":
            async with people.database.begin() as session:
                await session.execute(text("UPDATE verification_batches SET asks_people = false"))
        await people.verification.drive(batch_id)
        assert (await people.progress(batch_id)).verdicts == {"REVIEW": 2}
        assert await runs_of(people) == {}


async def test_two_thousand_reviews_are_opened_with_their_rows(people: Verdicts) -> None:
    population = await people.campaign(distinct(2000, asking="mark 71", words=6))
    batch_id = await open_batch(people.database, population.campaign_id)
    rows: list[Any] = [
        ResultRow(
            campaign_id=population.campaign_id, contribution_id=each, contributor="0x0", verdict="REVIEW", score=71.0,
            reasoning="close", content_hash=f"{number:064x}",
        )
        for number, each in enumerate(population.contribution_ids)
    ]  # fmt: skip
    async with people.database.begin() as session:
        epoch = await verifications.take_over(session, batch_id)
        assert epoch is not None
        for start in range(0, 2000, 100):
            await verifications.write_results(session, batch_id, epoch, rows[start : start + 100], asks_people=True)
        # A part that is written again, as after a lost answer, opens nothing twice and closes nothing of its own.
        await verifications.write_results(session, batch_id, epoch, rows[1990:], asks_people=True)
    async with people.database.read() as session:
        query = text(
            "SELECT count(*) FROM runs JOIN verification_results v ON v.review_run_id = runs.run_id"
            " AND (runs.input->>'result_id')::bigint = v.result_id AND runs.cancel_requested_at IS NULL"
        )
        assert (await session.execute(query)).scalar_one() == 2000
        assert (await session.execute(text("SELECT count(*) FROM runs"))).scalar_one() == 2000
