"""`CampaignDataTool`: campaigns and their contributions, as far as the wallet may see them.

A campaign is public. Its contributions are for its creator, who sees them all, and for each contributor, who sees their
own; so are the verdicts on them. What happened in it is for its creator.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from actors.agents.deps import ToolContext
from actors.agents.tools.files import open_contribution, require_wallet
from actors.agents.tools.tool import Arguments, Tool, ToolResult
from actors.errors import ToolArgumentsError, ToolForbiddenError
from actors.verification.pipeline import brief_of
from storage import activities, campaigns, contributions, verifications
from storage.activities import Activity
from storage.campaigns import Campaign
from storage.clock import now
from storage.contributions import Contribution
from storage.verifications import VerificationResult

NAME = "CampaignDataTool"
_RESULTS = 5


class CampaignDataArguments(Arguments):
    view: Annotated[
        Literal["campaign", "contributions", "contribution", "activities", "open_campaigns", "own_campaigns"],
        Field(
            description="campaign: what it asks for; contributions: the list; contribution: one with its verdicts; "
            "activities: what happened; open_campaigns and own_campaigns: lists of campaigns."
        ),
    ] = "campaign"
    onchain_campaign_id: Annotated[
        str, Field(max_length=200, description="The campaign's on-chain id; for campaign, contributions, activities.")
    ] = ""
    contribution_id: Annotated[str, Field(max_length=36, description="The contribution's id; for contribution.")] = ""
    limit: Annotated[int, Field(ge=1, le=100, description="How many entries of a list at most.")] = 20
    after: Annotated[str, Field(max_length=36, description="The `next` of the list before, to go on from there.")] = ""


async def campaign_data(arguments: CampaignDataArguments, context: ToolContext) -> ToolResult:
    """The view that was asked for."""
    match arguments.view:
        case "campaign":
            return ToolResult(content=_campaign(await _find(arguments, context)))
        case "contributions":
            return await _contributions(arguments, context)
        case "contribution":
            return await _contribution(arguments, context)
        case "activities":
            return await _activities(arguments, context)
        case "open_campaigns" | "own_campaigns":
            return await _campaigns(arguments, context)


async def _find(arguments: CampaignDataArguments, context: ToolContext) -> Campaign:
    if not arguments.onchain_campaign_id:
        raise ToolArgumentsError(f"the view {arguments.view!r} needs `onchain_campaign_id`", subject=NAME)
    async with context.database.read() as session:
        return await campaigns.by_onchain_id(session, arguments.onchain_campaign_id)


async def _contributions(arguments: CampaignDataArguments, context: ToolContext) -> ToolResult:
    wallet = require_wallet(context)
    campaign = await _find(arguments, context)
    whose = None if campaign.creator_wallet_address == wallet else wallet
    after = _number(arguments.after)
    async with context.database.read() as session:
        found = await contributions.of_campaign(
            session, campaign.campaign_id, contributor=whose, limit=arguments.limit + 1, after=after
        )
    shown = found[: arguments.limit]
    return _page(
        "contributions",
        [_contribution_of(each) for each in shown],
        next_=str(shown[-1].seq) if len(found) > len(shown) else None,
        total=campaign.current_contributions if whose is None else None,
        only=None if whose is None else "only those of this wallet, for it did not create the campaign",
    )


async def _contribution(arguments: CampaignDataArguments, context: ToolContext) -> ToolResult:
    contribution, campaign = await open_contribution(context, _uuid(arguments.contribution_id, "contribution_id"))
    async with context.database.read() as session:
        results = await verifications.of_contribution(session, contribution.contribution_id, limit=_RESULTS)
    content = {
        **_contribution_of(contribution),
        "onchain_campaign_id": campaign.onchain_campaign_id,
        "results": [_result(each) for each in results],
    }
    return ToolResult(content=content)


async def _activities(arguments: CampaignDataArguments, context: ToolContext) -> ToolResult:
    wallet = require_wallet(context)
    campaign = await _find(arguments, context)
    if campaign.creator_wallet_address != wallet:
        raise ToolForbiddenError(
            f"only the creator of campaign {campaign.onchain_campaign_id!r} sees its activities",
            subject=campaign.onchain_campaign_id,
        )
    async with context.database.read() as session:
        found = await activities.of_campaign(
            session, campaign.campaign_id, limit=arguments.limit + 1, after=_number(arguments.after)
        )
    shown = found[: arguments.limit]
    next_ = str(shown[-1].activity_id) if len(found) > len(shown) else None
    return _page("activities", [_activity(each) for each in shown], next_=next_)


async def _campaigns(arguments: CampaignDataArguments, context: ToolContext) -> ToolResult:
    own = arguments.view == "own_campaigns"
    async with context.database.read() as session:
        found = await campaigns.listed(
            session,
            limit=arguments.limit + 1,
            after=_uuid(arguments.after, "after") if arguments.after else None,
            active_at=None if own else now(),
            creator=require_wallet(context) if own else None,
        )
    shown = found[: arguments.limit]
    next_ = str(shown[-1].campaign_id) if len(found) > len(shown) else None
    return _page("campaigns", [_campaign(each) for each in shown], next_=next_)


def _page(
    name: str, entries: list[dict[str, Any]], *, next_: str | None, total: int | None = None, only: str | None = None
) -> ToolResult:
    content: dict[str, Any] = {name: entries, "next": next_}
    if total is not None:
        content["total"] = total
    if only is not None:
        content["note"] = only
    left_out = ("further entries: ask again with `after` set to `next`",) if next_ is not None else ()
    return ToolResult(content=content, left_out=left_out)


def _campaign(campaign: Campaign) -> dict[str, Any]:
    brief = brief_of(campaign)
    return {
        "onchain_campaign_id": campaign.onchain_campaign_id,
        "title": campaign.title,
        "description": campaign.description,
        "campaign_type": campaign.campaign_type,
        "data_requirements": list(brief.data_requirements),
        "quality_criteria": list(brief.quality_criteria),
        "required_quality_score": campaign.required_quality_score,
        # Up to u256, which JSON numbers do not hold.
        "unit_price": str(campaign.unit_price),
        "total_budget": str(campaign.total_budget),
        "min_data_count": campaign.min_data_count,
        "max_data_count": campaign.max_data_count,
        "contributions": campaign.current_contributions,
        "contributors": campaign.unique_contributions_count,
        "creator_wallet_address": campaign.creator_wallet_address,
        "expiration": campaign.expiration,
        "open": campaign.open_at(now()),
    }


def _contribution_of(contribution: Contribution) -> dict[str, Any]:
    return {
        "contribution_id": str(contribution.contribution_id),
        "contributor": contribution.contributor,
        "data_url": contribution.data_url,
        "file_type": contribution.file_type,
        "verdict": contribution.verdict,
        "score": contribution.verified_score,
        "submitted_at": contribution.created_at.isoformat(),
    }


def _result(result: VerificationResult) -> dict[str, Any]:
    return {
        "verdict": result.verdict,
        "score": result.score,
        "confidence": result.confidence,
        "reasoning": result.reasoning,
        "scorer": result.scorer,
        "marks": result.marks,
        "duplicate_of": str(result.duplicate_of) if result.duplicate_of else None,
        "left_out": result.left_out,
        "at": result.created_at.isoformat(),
    }


def _activity(activity: Activity) -> dict[str, Any]:
    return {
        "kind": activity.kind,
        "actor": activity.actor,
        "detail": activity.detail,
        "at": activity.created_at.isoformat(),
    }


def _number(after: str) -> int | None:
    if not after:
        return None
    # Longer ones are no number of ours, and would overflow the column.
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        raise ToolArgumentsError("`after` is the `next` of the list before", subject=NAME)
    return int(after)


def _uuid(written: str, name: str) -> UUID:
    try:
        return UUID(written)
    except ValueError:
        raise ToolArgumentsError(f"{name!r} is not an id: {written!r}", subject=NAME) from None


TOOL = Tool(
    name=NAME,
    description="Look up a campaign, its contributions and the verdicts on them, or list campaigns.",
    args_model=CampaignDataArguments,
    run=campaign_data,
)
