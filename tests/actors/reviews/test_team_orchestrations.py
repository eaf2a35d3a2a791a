"""Custom checkpoints, batches and blind comparisons, on the real engine."""

from __future__ import annotations

from uuid import uuid4

import orjson
import pytest
from sqlalchemy import text

from actors.agents.llms.catalogue import LLMCatalogue
from actors.errors import ReviewRuleError, TeamRequestError
from actors.providers.models import ModelInfo, Payload, Price
from actors.reviews import record
from actors.reviews.checkpoints import registry
from actors.reviews.checkpoints.cost_approval import estimated_micro_usd
from actors.reviews.checkpoints.security_scan import scanned
from actors.reviews.teams.comparison import drawn
from actors.reviews.teams.request import Candidate, Compared, ComparisonConfig, HITLConfig, RunInput
from actors.reviews.teams.service import TeamRuns
from actors.runs.step import StepContext, entered
from tests.actors.reviews.teams import Team, asking
from tests.stubs import openai as openai_chat
from tests.stubs.openai_platform import OpenAIPlatformStub, response
from tests.stubs.replicate import End, ReplicateStub


async def test_a_call_that_costs_more_than_its_limit_waits_for_its_approval(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    cheap = await team.start(checkpoints={"cost_approval": {"limit_micro_usd": 1_000_000}})
    assert (await team.ended(cheap)).status == "completed"
    dear = await team.start({"parameters": {"max_output_tokens": 50_000}}, checkpoints={"cost_approval": {}})
    review = await team.asked(dear)
    assert review.checkpoint == "cost_approval"
    assert review.ruling is not None
    [cost] = [each for each in review.ruling["findings"] if each["threshold"] == "limit_micro_usd"]
    assert cost["value"] > cost["limit"] == 100_000
    assert len(openai.paid) == 1
    await team.decide(review, "edit", payload={**review.subject, "max_output_tokens": 100})
    assert (await team.ended(dear)).status == "completed"
    assert openai.paid[-1].json()["max_output_tokens"] == 100


async def test_a_secret_is_not_sent_before_a_person_has_seen_where_it_stands(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    secret = "AKIA" + "ABCDEFGHIJKLMNOP"
    run = await team.start({"prompt": f"Why does {secret} not work?"}, checkpoints={"security_scan": {}})
    review = await team.asked(run)
    assert review.checkpoint == "security_scan"
    assert review.ruling is not None
    [found] = [each for each in review.ruling["findings"] if each["threshold"] == "secrets"]
    assert found["details"]["places"] == [{"kind": "api_key", "path": "$.input"}]
    assert secret not in orjson.dumps(review.ruling).decode(), "a record of secrets must hold none"
    await team.decide(review, "reject", reason="a key")
    assert (await team.ended(run)).status == "failed"
    assert openai.paid == []


async def test_the_providers_moderation_stops_an_answer_and_one_that_is_down_stops_it_too(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    openai.flagged = ("violence",)
    run = await team.start(checkpoints={"content_moderation": {}})
    review = await team.asked(run)
    assert (review.checkpoint, len(openai.paid)) == ("content_moderation", 1)
    assert review.ruling is not None
    assert "moderation/provider:violence" in review.ruling["reason"]
    await team.decide(review, "edit", payload={"text": "Nothing to see here."})
    # What a person let pass at a checkpoint is not asked there again.
    ended = await team.ended(run)
    assert ended.output is not None
    assert ended.output["response"]["text"] == "Nothing to see here."

    openai.flagged, openai.moderates = (), False
    review = await team.asked(await team.start(checkpoints={"content_moderation": {}}))
    assert review.ruling is not None
    assert (review.checkpoint, review.ruling["needs_person"]) == ("content_moderation", True)
    assert "not all of it could be looked at" in review.ruling["reason"]


async def test_the_providers_moderation_looks_for_safety_flags_where_the_owner_says_so(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    openai.flagged = ("violence",)
    unasked = await team.ended(await team.start())
    assert unasked.status == "completed", "our own words find nothing in it"
    for moderates, said in (
        (True, "flagged: moderation/provider:violence"),
        (False, "not all of it could be looked at"),
    ):
        openai.moderates = moderates
        review = await team.asked(await team.start(moderation="provider"))
        assert review.ruling is not None
        assert review.checkpoint == "information_review"
        [flags] = [each for each in review.ruling["findings"] if each["threshold"] == "safety_flags"]
        assert flags["reason"] == said
        assert flags["details"]["detector"].startswith("openai's moderation")


async def test_auto_asks_nobody_whatever_a_checkpoint_finds_and_keeps_the_finding(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    run = await team.start(policy="AUTO", checkpoints={"cost_approval": {"limit_micro_usd": 0}})
    ended = await team.ended(run)
    assert (ended.status, len(openai.paid)) == ("completed", 1)
    assert ended.output is not None
    [ruling] = [each for each in ended.output["rulings"] if each["checkpoint"] == "cost_approval"]
    assert (ruling["needs_person"], ruling["findings"][0]["passed"]) == (False, False)


async def test_the_installations_checkpoints_are_on_in_runs_that_name_no_steps(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    always = TeamRuns(
        team.engine.database, team.engine.runs, team.runs.providers, LLMCatalogue(team.engine.setup.actors.agents.llms),
        team.engine.setup.storage, checkpoints={"cost_approval": {"limit_micro_usd": 1}},
    )  # fmt: skip
    given = RunInput.model_validate(asking())
    run = await always.start(given, HITLConfig())
    assert (await team.asked(run)).checkpoint == "cost_approval"
    narrowed = await always.start(given, HITLConfig(allowed_steps=("payload_review",)))
    assert (await team.ended(narrowed)).status == "completed"
    with pytest.raises(ReviewRuleError):
        TeamRuns(
            team.engine.database, team.engine.runs, team.runs.providers,
            LLMCatalogue(team.engine.setup.actors.agents.llms), team.engine.setup.storage, checkpoints={"cost_aproval": {}},
        )  # fmt: skip


async def test_an_edit_at_a_later_checkpoint_is_looked_at_by_those_before_it(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    run = await team.start(
        policy="REQUIRE_HUMAN", allowed_steps=["payload_review", "cost_approval"], checkpoints={"cost_approval": {}}
    )
    await team.approve_at(run, "payload_review")
    review = await team.asked(run)
    assert review.checkpoint == "cost_approval"
    await team.decide(review, "edit", payload={**review.subject, "max_output_tokens": 32}, by="bob")
    await team.approve_at(run, "payload_review")
    assert (await team.ended(run)).status == "completed"
    assert openai.paid[-1].json()["max_output_tokens"] == 32


def test_a_checkpoint_that_is_not_there_or_has_wrong_options_is_named_by_its_path() -> None:
    with pytest.raises(ReviewRuleError) as caught:
        registry.opened(["payload_review", "vibes"], {"cost_approval": {"limit_micro_usd": -1}, "mood": {}})
    paths = [each["path"] for each in caught.value.details["errors"]]
    assert paths == [
        "$.hitl_config.allowed_steps[1]",
        "$.hitl_config.checkpoints.mood",
        "$.hitl_config.checkpoints.cost_approval",
        "$.hitl_config.checkpoints.cost_approval.limit_micro_usd",
    ]


def test_what_a_call_may_cost_is_not_guessed_where_nobody_said_a_price() -> None:
    payload = Payload(provider="p", model="m", operation="o", input={"prompt": "x" * 400, "n": 3, "max_tokens": 1000})
    assert estimated_micro_usd(payload, ModelInfo(id="m", operation="o")) is None
    tokens = (Price(unit="input_tokens", micro_usd_per_million=10_000_000),
              Price(unit="output_tokens", micro_usd_per_million=100_000_000))  # fmt: skip
    cost = estimated_micro_usd(payload, ModelInfo(id="m", operation="o", prices=tokens))
    assert cost is not None
    assert 101_000 <= cost <= 101_200, "400 characters in, a thousand tokens out"
    images = (Price(unit="images", micro_usd_per_million=40_000 * 1_000_000),)
    assert estimated_micro_usd(payload, ModelInfo(id="m", operation="o", prices=images)) == 3 * 40_000


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", ["private_key"]),
        ("postgres://ann:hunter2@db.example.com/x", ["password"]),
        ("see http://169.254.169.254/latest/meta-data and http://wiki.corp/", ["internal_address"]),
        ("ghp_" + "a" * 36, ["token"]),
        ("sketchy sk-pattern, hf_short, https://example.com/a, ratio 16:9", []),
        ("data:image/png;base64,AKIAABCDEFGHIJKLMNOP", []),
    ],
)
def test_secrets_are_told_from_words_that_only_look_like_them(text: str, kinds: list[str]) -> None:
    found, complete = scanned({"messages": [{"content": text}]})
    assert [each["kind"] for each in found] == kinds
    assert complete


async def test_a_batch_is_accepted_whole_or_not_at_all_and_told_in_one_summary(
    team: Team, openai: OpenAIPlatformStub
) -> None:
    inputs = [RunInput.model_validate(asking(prompt=f"What of {place}?")) for place in ("Peru", "Chile", "Cuba")]
    config = HITLConfig.model_validate({"policy": "AUTO"})
    wrong = RunInput.model_validate(asking(model="gpt-99", attachments=[{"ref": "ftp://x"}]))
    with pytest.raises(TeamRequestError) as caught:
        await team.runs.start_batch([*inputs, wrong], config, owner="0xa")
    paths = [each["path"] for each in caught.value.details["errors"]]
    assert paths == ["$.inputs[3].model", "$.inputs[3].attachments[0].ref"]
    assert not await team.runs.page(owner="0xa")
    batch_id = await team.runs.start_batch(inputs, config, owner="0xa")
    assert await team.runs.start_batch(inputs, config, owner="0xa", batch_id=batch_id) == batch_id
    runs = await team.runs.batch(batch_id)
    assert len(runs) == 3
    for run in runs:
        assert (await team.ended(run)).status == "completed"
    assert sorted(each.json()["input"] for each in openai.paid) == [f"What of {x}?" for x in ("Chile", "Cuba", "Peru")]


COMPARED = Compared(prompt="What is the capital of Peru?", user_id="0xa")
CANDIDATES = (
    Candidate(provider="openai", model="gpt-5-mini", operation="responses"),
    Candidate(provider="replicate", model="acme/llama"),
)


async def test_who_picks_an_answer_cannot_tell_whose_it_is_and_the_record_can(
    team: Team, openai: OpenAIPlatformStub, replicate: ReplicateStub
) -> None:
    openai.default = response("Lima, says the first.")
    replicate.default = End(output=["Lima, says the second."])
    run = await team.runs.start_comparison(COMPARED, CANDIDATES, ComparisonConfig(), owner="0xa")
    review = await team.asked(run)
    assert review.blind
    seen = orjson.dumps([review.subject, review.shown, review.edit_schema, review.title, review.step]).decode()
    assert not [word for word in ("openai", "gpt", "replicate", "llama", "acme") if word in seen.lower()]
    [choices] = [part["content"] for part in review.shown if part["kind"] == "choices"]
    second = next(each["key"] for each in choices if "second" in each["content"])
    before = await team.record(run.run_id)
    assert ("sides", "comparison") not in before
    await team.decide(review, "edit", payload={"choice": second})
    ended = await team.ended(run)
    assert ended.output is not None
    assert ended.output["picked"] == {
        "candidate": 2, "provider": "replicate", "model": "acme/llama", "operation": None,
    }  # fmt: skip
    assert ended.output["response"]["text"] == "Lima, says the second."
    assert ("sides", "comparison") in await team.record(run.run_id)
    assert (len(openai.paid), len(replicate.made)) == (1, 1)


async def test_the_order_of_answers_follows_from_nothing_that_is_known_and_favours_nobody() -> None:
    with entered(StepContext(run_id=uuid4())):
        sides = [await drawn(2) for _ in range(400)]
    assert 140 <= sum(each["A"] == 0 for each in sides) <= 260
    assert sorted((await drawn(4)).values()) == [0, 1, 2, 3]


async def test_the_order_stays_as_it_was_shown_when_the_step_is_run_again(
    team: Team, openai: OpenAIPlatformStub, replicate: ReplicateStub
) -> None:
    openai.default, replicate.default = response("first"), End(output=["second"])
    for _ in range(8):
        run = await team.runs.start_comparison(COMPARED, CANDIDATES, ComparisonConfig(), owner="0xa")
        review = await team.asked(run)
        [choices] = [part["content"] for part in review.shown if part["kind"] == "choices"]
        second = next(each["key"] for each in choices if each["content"] == "second")
        await team.decide(review, "edit", payload={"choice": second})
        ended = await team.ended(run)
        assert ended.output is not None
        assert (ended.output["response"]["text"], ended.output["picked"]["candidate"]) == ("second", 2)


async def test_a_model_that_gave_no_answer_cannot_be_picked(
    team: Team, openai: OpenAIPlatformStub, replicate: ReplicateStub
) -> None:
    openai.default = openai_chat.error(400, "no")
    run = await team.runs.start_comparison(COMPARED, CANDIDATES, ComparisonConfig(), owner="0xa")
    review = await team.asked(run)
    [choices] = [part["content"] for part in review.shown if part["kind"] == "choices"]
    [side] = [each["key"] for each in choices]
    assert review.edit_schema is not None
    assert review.edit_schema["properties"]["choice"]["enum"] == [side]


async def test_a_comparison_that_ended_undecided_withholds_whose_is_whose_until_it_cannot_be_retried(
    team: Team,
) -> None:
    run = await team.runs.start_comparison(COMPARED, CANDIDATES, ComparisonConfig(), owner="0xa")
    review = await team.asked(run)
    await team.engine.runs.cancel(run.run_id)
    assert (await team.engine.ended_not_waiting(run.run_id)).status == "cancelled"

    async def exported() -> str:
        return b"".join([line async for line in record.lines(team.engine.database, run.run_id)]).decode()

    assert "gpt-5-mini" not in await exported()
    await team.engine.runs.retry(run.run_id)
    assert (await team.asked(run)).review_id == review.review_id
    await team.engine.runs.cancel(run.run_id)
    await team.engine.ended_not_waiting(run.run_id)
    async with team.engine.database.begin() as session:
        await session.execute(text("UPDATE runs SET retained = 'none'"))
    assert "gpt-5-mini" in await exported()


async def test_a_comparison_that_is_rejected_has_no_winner(team: Team) -> None:
    run = await team.runs.start_comparison(COMPARED, CANDIDATES, ComparisonConfig(), owner="0xa")
    await team.decide(await team.asked(run), "reject", reason="both are wrong")
    ended = await team.ended(run)
    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == ("failed", "rejected")
