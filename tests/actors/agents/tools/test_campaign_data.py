"""What an agent learns of campaigns and contributions, page by page."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from actors.agents.tools.tool import ToolResult
from tests.actors.agents.tools.bench import ALICE, BOB, CREATOR, Bench


async def look(bench: Bench, wallet: str | None, **arguments: Any) -> ToolResult:
    return await bench.call("CampaignDataTool", wallet, **arguments)


async def test_a_campaign_is_told_with_its_brief_and_exact_amounts(bench: Bench) -> None:
    await bench.campaign(total_budget=2**200)
    seen = await look(bench, BOB, onchain_campaign_id="campaign_1")
    assert seen.error is None
    assert seen.content["data_requirements"] == ["a", "b"]
    assert seen.content["total_budget"] == str(2**200)
    assert seen.content["open"] is True
    assert seen.content["contributions"] == 0


async def test_the_creator_sees_every_contribution_and_others_their_own(bench: Bench) -> None:
    await bench.campaign()
    for number in range(3):
        await bench.contribute(f"text {number}".encode(), by=ALICE)
    await bench.contribute(b"another text", by=BOB)
    asked = {"view": "contributions", "onchain_campaign_id": "campaign_1"}
    all_ = (await look(bench, CREATOR, **asked)).content
    assert len(all_["contributions"]) == all_["total"] == 4
    own = (await look(bench, ALICE, **asked)).content
    assert {each["contributor"] for each in own["contributions"]} == {ALICE}
    assert len(own["contributions"]) == 3
    assert "total" not in own
    assert "did not create" in own["note"]


async def test_a_list_goes_on_where_it_ended(bench: Bench) -> None:
    await bench.campaign()
    ids = [str(await bench.contribute(f"text {number}".encode())) for number in range(5)]
    seen: list[str] = []
    after = ""
    while True:
        page = await look(bench, CREATOR, view="contributions", onchain_campaign_id="campaign_1", limit=2, after=after)
        seen += [each["contribution_id"] for each in page.content["contributions"]]
        after = page.content["next"]
        if after is None:
            assert page.left_out == ()
            break
        assert "after" in page.left_out[0]
    assert seen == ids


async def test_campaigns_are_listed_own_or_open(bench: Bench) -> None:
    for number in range(3):
        await bench.campaign(f"mine_{number}")
    await bench.campaign("hers", creator_wallet_address=ALICE)
    await bench.campaign("over", expiration=1)
    own = (await look(bench, ALICE, view="own_campaigns")).content["campaigns"]
    assert [each["onchain_campaign_id"] for each in own] == ["hers"]
    first = (await look(bench, None, view="open_campaigns", limit=2)).content
    rest = (await look(bench, None, view="open_campaigns", limit=2, after=first["next"])).content
    found = [each["onchain_campaign_id"] for each in (*first["campaigns"], *rest["campaigns"])]
    assert sorted(found) == ["hers", "mine_0", "mine_1", "mine_2"]
    assert rest["next"] is None


async def test_what_happened_is_for_the_creator(bench: Bench) -> None:
    await bench.campaign()
    contribution = await bench.contribute(b"some text")
    await bench.call(
        "UpdateContributionVerificationTool", CREATOR,
        contribution_id=str(contribution), verdict="REJECT", score=3, reasoning="too short",
    )  # fmt: skip
    asked = {"view": "activities", "onchain_campaign_id": "campaign_1"}
    [activity] = (await look(bench, CREATOR, **asked)).content["activities"]
    assert (activity["kind"], activity["actor"]) == ("contribution_verified", CREATOR)
    assert activity["detail"]["verdict"] == "REJECT"
    assert (await look(bench, ALICE, **asked)).error == "tool_forbidden"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, "tool_arguments"),
        ({"onchain_campaign_id": "none_such"}, "not_found"),
        ({"view": "contribution"}, "tool_arguments"),
        ({"view": "contribution", "contribution_id": str(uuid4())}, "not_found"),
        ({"view": "contribution", "contribution_id": "1"}, "tool_arguments"),
        ({"view": "contributions", "onchain_campaign_id": "campaign_1", "after": "-1"}, "tool_arguments"),
        ({"view": "contributions", "onchain_campaign_id": "campaign_1", "after": "9" * 30}, "tool_arguments"),
        ({"view": "open_campaigns", "after": "yesterday"}, "tool_arguments"),
        ({"view": "all"}, "tool_arguments"),
        ({"onchain_campaign_id": "a\x00b\ud800"}, "not_found"),
    ],
)
async def test_what_cannot_be_found_or_read_is_told(bench: Bench, arguments: dict[str, str], error: str) -> None:
    await bench.campaign()
    assert (await look(bench, CREATOR, **arguments)).error == error
