"""A tool never acts beyond the wallet it acts for: who reads, lists, scores and changes what."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actors.agents.tools.bench import ALICE, BOB, CREATOR, Bench
from tests.stubs.web import WebStub, answer

TEXT = b"Boil the rice for twelve minutes. Drain it, add butter and salt, and serve it. mark 80"


async def reads(bench: Bench, reference: str) -> dict[str | None, str | None]:
    """What `read_file_content` says to each wallet: `None` where it reads, else the error."""
    return {
        wallet: (await bench.call("read_file_content", wallet, reference=reference)).error
        for wallet in (CREATOR, ALICE, BOB, None)
    }


async def test_a_contribution_is_for_its_contributor_and_the_campaigns_creator(bench: Bench) -> None:
    await bench.campaign()
    contribution = await bench.contribute(TEXT)
    forbidden = "tool_forbidden"
    assert await reads(bench, str(contribution)) == {CREATOR: None, ALICE: None, BOB: forbidden, None: forbidden}
    # Nor is it read by the id of its blob, which stands in public lists.
    blob_id = await bench.workplace.store.put(TEXT)
    assert await reads(bench, blob_id) == {CREATOR: None, ALICE: None, BOB: forbidden, None: forbidden}


async def test_to_contribute_what_is_anothers_gives_no_right_to_it(bench: Bench) -> None:
    """Blob ids stand in public lists, and whoever creates a campaign can contribute them to it."""
    await bench.campaign()
    alices = await bench.contribute(TEXT)
    blob_id = await bench.workplace.store.put(TEXT)
    await bench.campaign("campaign_2", creator_wallet_address=BOB)
    bobs = await bench.contribute(blob_id, by=BOB, campaign="campaign_2")
    forbidden = "tool_forbidden"
    for reference in (blob_id, str(bobs)):
        assert (await reads(bench, reference))[BOB] == forbidden
    for tool in ("get_text_verification_score", "make_verification_decision"):
        assert (await bench.call(tool, BOB, reference=str(bobs))).error == forbidden
    assert await reads(bench, str(alices)) == {CREATOR: None, ALICE: None, BOB: forbidden, None: forbidden}
    # What Alice herself contributes again is for that campaign's creator, and what Bob has is his.
    hers = str(await bench.contribute(blob_id, campaign="campaign_2"))
    assert await reads(bench, hers) == {CREATOR: forbidden, ALICE: None, BOB: None, None: forbidden}
    await bench.campaign("campaign_3", creator_wallet_address="0xd")
    copy = str(await bench.contribute(blob_id, by=BOB, campaign="campaign_3"))
    assert (await bench.call("read_file_content", "0xd", reference=copy)).error == forbidden
    await bench.call("WalrusStorageTool", BOB, action="store", name="b.txt", content=TEXT.decode())
    assert (await bench.call("read_file_content", "0xd", reference=copy)).error is None


@pytest.mark.parametrize("tool", ["get_text_verification_score", "make_verification_decision"])
async def test_nobody_else_has_it_scored_or_decided(bench: Bench, tool: str) -> None:
    await bench.campaign()
    contribution = str(await bench.contribute(TEXT))
    for wallet in (BOB, None):
        assert (await bench.call(tool, wallet, reference=contribution)).error == "tool_forbidden"


async def test_a_stored_file_is_its_wallets_alone(bench: Bench) -> None:
    stored = await bench.call("WalrusStorageTool", ALICE, action="store", name="a.txt", content="Alice's notes")
    blob_id = stored.content["blob_id"]
    for wallet in (BOB, None):
        assert (await bench.call("WalrusStorageTool", wallet, action="read", blob_id=blob_id)).error == "tool_forbidden"
        assert (await bench.call("read_file_content", wallet, reference=blob_id)).error == "tool_forbidden"
        packed = await bench.call(
            "DataPreprocessorTool", wallet, operation="join_texts", references=[blob_id], name="all.txt"
        )
        assert packed.error == "tool_forbidden"
    assert (await bench.call("WalrusStorageTool", BOB, action="list")).content == {"files": []}
    # Who stores the same bytes has them already.
    await bench.call("WalrusStorageTool", BOB, action="store", name="b.txt", content="Alice's notes")
    assert (await bench.call("WalrusStorageTool", BOB, action="read", blob_id=blob_id)).error is None


async def test_a_run_for_nobody_sees_what_is_public_and_changes_nothing(bench: Bench) -> None:
    await bench.campaign()
    contribution = str(await bench.contribute(TEXT))
    seen = await bench.call("CampaignDataTool", None, onchain_campaign_id="campaign_1")
    assert seen.content["title"] == "Recipes"
    for tool, arguments in (
        ("CampaignDataTool", {"view": "contributions", "onchain_campaign_id": "campaign_1"}),
        ("CampaignDataTool", {"view": "own_campaigns"}),
        ("WalrusStorageTool", {"action": "store", "name": "a.txt", "content": "x"}),
        ("WalrusStorageTool", {"action": "list"}),
        ("UpdateContributionVerificationTool",
         {"contribution_id": contribution, "verdict": "ACCEPT", "score": 99, "reasoning": "good"}),
    ):  # fmt: skip
        assert (await bench.call(tool, None, **arguments)).error == "tool_forbidden", tool


@pytest.mark.parametrize("wallet", [ALICE, BOB])
async def test_only_the_creator_records_a_verdict(bench: Bench, wallet: str) -> None:
    await bench.campaign()
    contribution = str(await bench.contribute(TEXT))
    asked: dict[str, Any] = {"contribution_id": contribution, "verdict": "ACCEPT", "score": 99, "reasoning": "mine!"}
    result = await bench.call("UpdateContributionVerificationTool", wallet, **asked)
    assert result.error == "tool_forbidden"
    seen = await bench.call("CampaignDataTool", CREATOR, view="contribution", contribution_id=contribution)
    assert (seen.content["verdict"], seen.content["results"]) == (None, [])


async def test_the_tools_reach_no_address_that_a_contribution_may_not(bench: Bench) -> None:
    async with WebStub() as web:
        web.pages["/notes.txt"] = answer(b"Some notes on rice.", headers={"content-type": "text/plain"})
        read = await bench.call("read_file_content", ALICE, reference=f"{web.url}/notes.txt")
        assert read.content["text"] == "Some notes on rice."
        asked = web.connections
        for reference in (
            "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://[::1]/", "http://2130706433/",
            "https://user:pass@example.org/", "file:///etc/passwd", "ftp://example.org/x", "../../etc/passwd",
        ):  # fmt: skip
            result = await bench.call("read_file_content", ALICE, reference=reference)
            assert result.error in {"address_refused", "bad_reference"}, reference
        assert web.connections == asked
