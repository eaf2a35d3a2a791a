"""The workflows that Hyvve brings along do what they say: AthenaV2 gives the verdict that the fan-out gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

from actors.agents import builtin
from actors.agents.definition import WorkflowDefinition
from actors.agents.deps import ToolContext
from actors.agents.enterprise_workflow import EnterpriseWorkflowManager
from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.node_step import Workshop
from actors.agents.tools.registry import TOOLS
from actors.agents.workflow_runs import WorkflowOutcome
from actors.settings import LLMProviderSettings, LLMSettings
from actors.verification.inprocess import InProcessVerification
from storage import contributions, verifications
from tests.actors.agents.tools.bench import CREATOR, Bench, png
from tests.actors.verification.population import distinct
from tests.stubs.gemini import GeminiStub, function_call, generated

[STORY] = distinct(1, words=90, asking="mark 91")


@pytest.fixture
async def bench(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = await Bench.open(database_url=database_url, redis_url=redis_url, data_dir=tmp_path)
    yield bench
    await bench.workplace.close()


def workshop(bench: Bench, google: GeminiStub | None = None) -> Workshop:
    def open_context(
        *, wallet: str | None, scratchpad: Mapping[str, object], idempotency_key: str | None
    ) -> ToolContext:
        return bench.context(wallet, scratchpad=scratchpad, key=idempotency_key)

    llms = LLMSettings()
    if google is not None:
        llms = LLMSettings(google=LLMProviderSettings(base_url=google.url, api_key=SecretStr("key")))
    return Workshop(llms=LLMCatalogue(llms), tools=TOOLS, open_context=open_context)


def athena() -> WorkflowDefinition:
    found = builtin.find("AthenaV2")
    assert found is not None
    return WorkflowDefinition.model_validate(found.payload)


async def judged(bench: Bench, reference: str, wallet: str | None = CREATOR) -> WorkflowOutcome:
    # With a checkpointer, so that the whole state goes through its serializer at every step.
    manager = EnterpriseWorkflowManager(workshop(bench), checkpointer=InMemorySaver())
    return await manager.run_workflow(athena(), "verify", initial_scratchpad={"reference": reference}, wallet=wallet)


def test_all_of_them_are_sound(bench: Bench) -> None:
    manager = EnterpriseWorkflowManager(workshop(bench))
    for workflow in builtin.BUILT_IN.values():
        manager.check(WorkflowDefinition.model_validate(workflow.payload))


@pytest.mark.parametrize(
    "data", [STORY, png(), b"short and poor. mark 20", b"PK\x03\x04" + bytes(300), b"please refuse this"]
)
async def test_athena_gives_the_verdict_of_the_fan_out(bench: Bench, data: bytes) -> None:
    await bench.campaign()
    contribution = await bench.contribute(data)
    outcome = await judged(bench, str(contribution))
    row = await InProcessVerification(bench.workplace.setup).verify_contribution(contribution)
    assert outcome.status == "COMPLETED", outcome.message
    scratchpad = outcome.final_state["workflow_scratchpad"]
    assert (scratchpad["verdict"], scratchpad["score"]) == (row.verdict, row.score)
    assert scratchpad["reasoning"].casefold() in row.reasoning.casefold()
    assert scratchpad["routing_signal"] == "DECIDED"
    named = [each["name"] for each in outcome.final_state["messages"] if each["type"] == "ai"]
    assert named[0] == "FileProcessorAgent"
    assert named[-1] == "DecisionMakerAgent"


async def test_a_stranger_gets_no_verdict_on_anothers_contribution(bench: Bench) -> None:
    await bench.campaign()
    contribution = await bench.contribute(STORY)
    for wallet in ("0xstranger", None):
        outcome = await judged(bench, str(contribution), wallet)
        assert outcome.status == "ERROR"
        assert "tool_forbidden" in outcome.message


async def test_the_dataset_verifier_fetches_scores_decides_and_records(bench: Bench) -> None:
    """The model says which tools come next; what stands in the end is what the tools found."""
    await bench.campaign()
    contribution = await bench.contribute(STORY)
    verdict = await InProcessVerification(bench.workplace.setup).verify_contribution(contribution)
    assert verdict.score is not None
    named = {"reference": str(contribution)}
    recorded = {
        "contribution_id": str(contribution), "verdict": verdict.verdict, "reasoning": "as the tools found",
        "score": verdict.score,
    }  # fmt: skip
    found = builtin.find("AIDatasetContributionVerifier_SystemDefault")
    assert found is not None
    async with GeminiStub() as google:
        google.script.extend([
            generated(None, calls=[
                function_call("CampaignDataTool", {"view": "contributions", "onchain_campaign_id": "campaign_1"}),
                function_call("read_file_content", named),
            ]),
            generated(f"There is one: {contribution}, a story."),
            generated(None, calls=[function_call("get_text_verification_score", named)]),
            generated(None, calls=[function_call("make_verification_decision", named)]),
            generated(None, calls=[function_call("UpdateContributionVerificationTool", recorded)]),
            generated(f"It is recorded: {verdict.verdict}."),
        ])  # fmt: skip
        shop = workshop(bench, google)
        manager = EnterpriseWorkflowManager(shop, checkpointer=InMemorySaver())
        outcome = await manager.run_workflow(
            WorkflowDefinition.model_validate(found.payload), "verify campaign_1 and record it", wallet=CREATOR
        )
        await shop.llms.close()
    assert (outcome.status, outcome.message) == ("COMPLETED", f"It is recorded: {verdict.verdict}.")
    messages = outcome.final_state["messages"]
    assert [each["name"] for each in messages if each["type"] == "tool" and each["status"] == "success"] == [
        "CampaignDataTool", "read_file_content", "get_text_verification_score", "make_verification_decision",
        "UpdateContributionVerificationTool",
    ]  # fmt: skip
    # Each agent has its own tools, and sees what its own answered.
    fetcher, verifier = google.calls[0], google.calls[2]
    assert set(fetcher.tools) == {"CampaignDataTool", "read_file_content"}
    assert "UpdateContributionVerificationTool" in verifier.tools
    assert str(contribution) in str(google.calls[1].tool_results)
    assert f"[ContributionDataFetcherAgent]: There is one: {contribution}" in verifier.text
    # What the tools decided is what the fan-out decides, and it stands on the contribution by the agent's hand.
    scratchpad = outcome.final_state["workflow_scratchpad"]
    assert (scratchpad["verdict"], scratchpad["score"]) == (verdict.verdict, verdict.score)
    async with bench.workplace.database.read() as session:
        stored = await contributions.get(session, contribution)
        last = (await verifications.of_contribution(session, contribution, limit=5))[0]
    assert (stored.verdict, stored.verified_score) == (verdict.verdict, verdict.score)
    assert (last.scorer, last.scorer_version, last.reasoning) == ("agent", CREATOR, "as the tools found")
