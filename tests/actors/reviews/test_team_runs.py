"""A provider's call that people review, on the real engine, the providers' own libraries talking to stub servers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from actors.errors import ReviewEditError, RunInputError
from actors.reviews.decisions import MAX_PAYLOAD_BYTES
from tests.actors.reviews.teams import Team
from tests.stubs import openai as openai_chat
from tests.stubs.openai import OpenAIStub
from tests.stubs.openai_platform import OpenAIPlatformStub, response
from tests.stubs.replicate import End, ReplicateStub, problem

ALL_THREE = ("information_review", "payload_review", "response_review")


def sent(openai: OpenAIPlatformStub) -> Any:
    return openai.paid[-1].json()


async def test_auto_asks_nobody_and_keeps_what_every_checkpoint_found(team: Team, openai: OpenAIPlatformStub) -> None:
    run = await team.start(policy="AUTO")
    ended = await team.ended(run)
    assert ended.status == "completed", ended.error
    assert ended.output is not None
    assert ended.output["response"]["text"] == "Lima is the capital of Peru."
    assert sent(openai)["input"] == "What is the capital of Peru?"
    rulings = {each["checkpoint"]: each for each in ended.output["rulings"]}
    assert set(rulings) == set(ALL_THREE)
    assert {each["needs_person"] for each in rulings.values()} == {False}
    [confidence, safety] = rulings["information_review"]["findings"]
    assert (confidence["threshold"], confidence["value"]) == ("confidence_min", 1.0)
    assert (safety["threshold"], safety["value"]) == ("safety_flags", 0)
    assert ("ruling", "payload_review") in await team.record(run.run_id)


async def test_require_human_asks_at_each_checkpoint_and_goes_on_with_what_was_approved(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    run = await team.start(policy="REQUIRE_HUMAN")
    await team.approve_at(run, "information_review", "payload_review")
    review = await team.asked(run)
    assert len(openai.paid) == 1
    assert review.checkpoint == "response_review"
    assert review.subject == {"text": "Lima is the capital of Peru."}
    await team.decide(review, "approve")
    ended = await team.ended(run)
    assert ended.status == "completed"
    assert ended.output is not None
    assert [each["by"] for each in ended.output["decisions"]] == [["ann"]] * 3
    assert len(openai.paid) == 1


async def test_only_the_steps_that_are_allowed_ask(team: Team, openai: OpenAIPlatformStub) -> None:
    run = await team.start(policy="REQUIRE_HUMAN", allowed_steps=["payload_review"])
    await team.approve_at(run, "payload_review")
    assert (await team.ended(run)).status == "completed"
    assert len(openai.paid) == 1


@pytest.mark.parametrize(
    ("run_input", "thresholds", "checkpoint", "reason"),
    [
        ({"prompt": "", "parameters": {"temperature": 1}}, {}, "information_review", "confidence"),
        ({"prompt": "Write to jo.miller@kelpworks.com about Peru"}, {"confidence_min": None}, "information_review",
         "personal_data/email"),
        ({"parameters": {"temperature": 1, "colour": "red"}}, {"confidence_min": 0.9}, "information_review",
         "confidence"),
    ],
)  # fmt: skip
async def test_thresholds_ask_where_a_measure_is_past_them(
    team: Team, run_input: dict[str, Any], thresholds: dict[str, Any], checkpoint: str, reason: str
) -> None:
    run = await team.start(run_input, policy="AUTO_WITH_THRESHOLDS", review_thresholds=thresholds)
    review = await team.asked(run)
    assert review.checkpoint == checkpoint
    assert review.ruling is not None
    assert reason in review.ruling["reason"]
    failed = [each for each in review.ruling["findings"] if not each["passed"]]
    assert failed
    assert all(each["value"] is not None for each in failed)


async def test_an_answer_below_the_quality_that_was_set_waits_for_a_person(team: Team) -> None:
    run = await team.start(review_thresholds={"response_quality_min": 0.81})
    review = await team.asked(run)
    assert review.checkpoint == "response_review"
    assert review.ruling is not None
    [quality] = [each for each in review.ruling["findings"] if each["threshold"] == "response_quality_min"]
    assert (quality["value"], quality["passed"]) == (0.8, False)
    assert quality["details"]["scorer"].startswith("openai")


async def test_a_payload_that_was_changed_more_than_it_may_waits_for_another_look(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    run = await team.start(
        {"parameters": {"temperature": 1}, "prompt": "Write to jo.miller@kelpworks.com"},
        review_thresholds={"payload_changes_max": 1, "response_quality_min": None},
    )
    review = await team.asked(run)
    edited = {**review.subject, "input": "Write about Peru", "temperature": 0.5}
    await team.decide(review, "edit", payload=edited)
    review = await team.asked(run)
    assert review.checkpoint == "payload_review"
    assert review.ruling is not None
    [changed] = [each for each in review.ruling["findings"] if not each["passed"]]
    assert (changed["threshold"], changed["value"], changed["limit"]) == ("payload_changes_max", 2, 1)
    assert any(part["kind"] == "diff" for part in review.shown)
    await team.decide(review, "approve")
    assert (await team.ended(run)).status == "completed"
    assert sent(openai)["temperature"] == 0.5
    assert ("diff", "information_review") in await team.record(run.run_id)


async def test_an_edited_payload_is_what_is_sent_and_an_edited_answer_is_the_result(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    run = await team.start(policy="REQUIRE_HUMAN", allowed_steps=["payload_review", "response_review"])
    review = await team.asked(run)
    await team.decide(review, "edit", payload={"input": "And of Chile?", "max_output_tokens": 64})
    review = await team.asked(run)
    assert (sent(openai)["input"], sent(openai)["max_output_tokens"]) == ("And of Chile?", 64)
    await team.decide(review, "edit", payload={"text": "Santiago."})
    ended = await team.ended(run)
    assert ended.output is not None
    assert ended.output["response"]["text"] == "Santiago."
    assert ended.output["suggested"] == {"input": "What is the capital of Peru?"}


async def test_an_edit_that_the_provider_would_refuse_comes_back_with_what_is_wrong(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    """A file that our address guard refuses satisfies the schema, and only the provider's check knows it."""
    run = await team.start(
        {"provider": "replicate", "model": "acme/flux", "operation": None, "prompt": "a cat"},
        policy="REQUIRE_HUMAN", allowed_steps=["payload_review"],
    )  # fmt: skip
    review = await team.asked(run)
    await team.decide(review, "edit", payload={**review.subject, "image": "not a file at all"})
    again = await team.asked(run)
    assert again.review_id != review.review_id
    said = orjson.dumps(again.shown).decode()
    assert "$.input.image" in said


async def test_what_is_rejected_is_never_sent_however_often_it_is_tried_again(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    run = await team.start(policy="REQUIRE_HUMAN", allowed_steps=["payload_review"])
    await team.decide(await team.asked(run), "reject", reason="not with our money")
    ended = await team.ended(run)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error["code"] == "rejected"
    assert "ann rejected it at payload_review: not with our money" in ended.error["message"]
    await team.engine.runs.retry(run.run_id)
    ended = await team.ended(run)
    assert (ended.status, ended.error and ended.error["code"]) == ("failed", "rejected")
    assert openai.paid == []


async def test_a_reviewers_words_go_into_the_next_try_beside_what_was_edited(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    run = await team.start(policy="REQUIRE_HUMAN", allowed_steps=["payload_review", "response_review"])
    review = await team.asked(run)
    await team.decide(review, "edit", payload={**review.subject, "max_output_tokens": 64})
    review = await team.asked(run)
    await team.decide(review, "respond", message="Shorter, please.")
    review = await team.asked(run)
    assert review.checkpoint == "payload_review"
    assert review.subject["max_output_tokens"] == 64
    assert review.subject["input"].endswith("Shorter, please.")
    assert len(openai.paid) == 1
    await team.decide(review, "approve")
    review = await team.asked(run)
    assert len(openai.paid) == 2
    await team.decide(review, "approve")
    assert (await team.ended(run)).status == "completed"


async def test_rounds_end_when_the_responses_are_used_up(team: Team, openai: OpenAIPlatformStub) -> None:
    run = await team.start(policy="REQUIRE_HUMAN", allowed_steps=["information_review"], max_responses=1)
    review = await team.asked(run)
    await team.decide(review, "respond", message="Say which Peru.")
    review = await team.asked(run)
    assert "respond" not in review.answers
    assert review.subject["input"] == "What is the capital of Peru?\n\nSay which Peru."


async def test_a_refusal_is_shown_with_its_field_and_mended_by_a_person(team: Team, replicate: ReplicateStub) -> None:
    replicate.script.append(problem(422, "Input validation failed", invalid={"prompt": "is too rude"}))
    run = await team.start(
        {"provider": "replicate", "model": "acme/llama", "operation": None, "prompt": "You fool"},
        review_thresholds={"response_quality_min": None},
    )
    review = await team.asked(run)
    assert review.checkpoint == "payload_review"
    assert review.ruling is not None
    assert "too rude" in review.ruling["reason"]
    [why] = [part["content"] for part in review.shown if part["title"] == "Why it came back"]
    assert (why["field"], why["status"]) == ("prompt", 422)
    await team.decide(review, "edit", payload={**review.subject, "prompt": "Dear friend"})
    ended = await team.ended(run)
    assert ended.status == "completed", ended.error
    assert replicate.inputs[-1]["prompt"] == "Dear friend"


async def test_where_nobody_is_asked_a_refusal_ends_the_run_and_names_the_field(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    openai.default = openai_chat.error(400, "temperature is not supported", param="temperature")
    run = await team.start(policy="AUTO")
    ended = await team.ended(run)
    assert ended.error is not None
    assert (ended.error["code"], ended.progress["refusal"]["field"]) == ("provider_refused", "temperature")
    assert len(openai.paid) == 1


async def test_a_provider_that_is_busy_or_broken_is_asked_again_and_paid_once(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    openai.script.extend([openai_chat.error(429, "slow down"), openai_chat.error(503, "overloaded")])
    run = await team.start(policy="AUTO")
    ended = await team.ended(run)
    assert ended.status == "completed", ended.error
    assert len(openai.paid) == 3
    assert (await team.engine.told(run.run_id)).count("step.retrying") == 2
    assert ended.usage["calls"] == 1


async def test_a_complete_request_asks_a_model_twice_at_most(team: Team, chat: OpenAIStub) -> None:
    chat.answer = lambda _: openai_chat.completion('{"values": [], "classes": []}')
    run = await team.start(
        {"provider": "replicate", "model": "acme/flux", "operation": None, "prompt": "a cat, wide"},
        policy="REQUIRE_HUMAN", form_llm="openai:stub-model",
    )  # fmt: skip
    await team.decide(await team.asked(run), "respond", message="By night, and taller.")
    await team.approve_at(run, *ALL_THREE)
    ended = await team.ended(run)
    assert ended.status == "completed", ended.error
    assert ended.output is not None
    assert ended.usage["models"]["stub-model"]["calls"] == ended.output["form"]["llm_calls"] == 2
    assert "rules decided" in " ".join(ended.output["form"]["notes"])


async def test_a_jobs_files_are_shown_by_our_copy_and_can_be_left_out(team: Team, replicate: ReplicateStub) -> None:
    urls = [replicate.deliver("one.png", b"\x89PNG one"), replicate.deliver("two.png", b"\x89PNG two")]
    replicate.ends.append(End(output=urls))
    run = await team.start(
        {"provider": "replicate", "model": "acme/flux", "operation": None, "prompt": "a cat"},
        policy="REQUIRE_HUMAN", allowed_steps=["response_review"],
    )  # fmt: skip
    review = await team.asked(run)
    first, second = review.subject["files"]
    shown = [part for part in review.shown if part["title"].startswith("File ")]
    assert [part["blob_id"] for part in shown] == [first, second]
    with pytest.raises(ReviewEditError) as caught:
        await team.decide(review, "edit", payload={"text": ""})
    assert [each["path"] for each in caught.value.details["errors"]] == ["$.files"], "or it would take both away"
    await team.decide(review, "edit", payload={**review.subject, "files": [second]})
    ended = await team.ended(run)
    assert ended.output is not None
    assert [file["ref"] for file in ended.output["response"]["files"]] == [second]


async def test_a_fork_asks_for_itself_and_takes_no_other_policy_or_decision(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    run = await team.start(policy="REQUIRE_HUMAN", allowed_steps=["payload_review"])
    review = await team.asked(run)
    for forged in ({"hitl_config": {"policy": "AUTO"}}, {"settled": {"payload_review": review.saw}}):
        with pytest.raises(RunInputError):
            await team.engine.runs.fork(run.run_id, None, forged)
    fork = await team.engine.runs.fork(run.run_id)
    its_own = await team.asked(fork)
    assert (its_own.review_id != review.review_id, its_own.subject) == (True, review.subject)
    await team.decide(review, "approve")
    assert (await team.ended(run)).status == "completed"
    await team.decide(its_own, "reject", reason="once is enough")
    assert (await team.ended(fork)).status == "failed"
    assert len(openai.paid) == 1


async def test_a_decision_on_what_is_too_large_to_show_is_on_that_very_value(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    seen = []
    for letter in "aab":
        openai.default = response(letter * MAX_PAYLOAD_BYTES)
        run = await team.start(policy="REQUIRE_HUMAN", allowed_steps=["response_review"])
        review = await team.asked(run)
        assert ("too_large" in review.subject, "edit" in review.answers) == (True, False)
        seen.append(review.saw)
    assert (seen[0] == seen[1], seen[0] != seen[2]) == (True, True)
