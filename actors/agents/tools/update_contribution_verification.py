"""`UpdateContributionVerificationTool`: a campaign's creator has an agent record a verdict on a contribution."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from actors.agents.deps import ToolContext
from actors.agents.tools.files import require_wallet
from actors.agents.tools.tool import Arguments, Tool, ToolResult
from actors.errors import ToolForbiddenError
from actors.verification.rows import storable
from storage import activities, campaigns, contributions, idempotency, verifications
from storage.verifications import ResultRow

NAME = "UpdateContributionVerificationTool"
# Stands where a scorer's name would: a person reading the row sees that an agent decided.
SCORER = "agent"


class UpdateContributionVerificationArguments(Arguments):
    contribution_id: Annotated[UUID, Field(description="The contribution's id.")]
    verdict: Annotated[Literal["ACCEPT", "REJECT", "REVIEW"], Field(description="REVIEW leaves it to a person.")]
    reasoning: Annotated[str, Field(min_length=1, max_length=4_000, description="Why, for the contributor to read.")]
    score: Annotated[float, Field(ge=0, le=100, description="Quality of the contribution, 0 to 100.")]


async def update_contribution_verification(
    arguments: UpdateContributionVerificationArguments, context: ToolContext
) -> ToolResult:
    """The verdict stands on the contribution, in its history and in the campaign's activities, once per key."""
    wallet = require_wallet(context)
    asked = hashlib.sha256(arguments.model_dump_json().encode()).hexdigest()
    scope = f"{NAME} {wallet}"
    async with context.database.begin() as session:
        if context.idempotency_key is not None:
            first = await idempotency.replay(session, scope, context.idempotency_key, asked)
            if first is not None:
                return ToolResult(content=first.body)
        contribution = await contributions.get(session, arguments.contribution_id)
        campaign = await campaigns.get(session, contribution.campaign_id)
        if campaign.creator_wallet_address != wallet:
            raise ToolForbiddenError(
                f"only the creator of the campaign may verify contribution {contribution.contribution_id}; this run "
                f"acts for {wallet!r}",
                subject=str(contribution.contribution_id),
            )
        row = ResultRow(
            campaign_id=campaign.campaign_id,
            contribution_id=contribution.contribution_id,
            contributor=contribution.contributor,
            verdict=arguments.verdict,
            reasoning=storable(arguments.reasoning),
            score=arguments.score,
            raw_score=arguments.score,
            adjustment=0.0,
            scorer=SCORER,
            scorer_version=wallet,
        )
        await verifications.write_single(session, row, asks_people=context.verification.settings.review_verdicts)
        activities.record(
            session,
            campaign.campaign_id,
            "contribution_verified",
            wallet,
            contribution_id=str(contribution.contribution_id),
            verdict=arguments.verdict,
            score=arguments.score,
        )
        content = {
            "contribution_id": str(contribution.contribution_id),
            "verdict": arguments.verdict,
            "score": arguments.score,
            "was": {"verdict": contribution.verdict, "score": contribution.verified_score},
        }
        if context.idempotency_key is not None:
            idempotency.remember(session, scope, context.idempotency_key, asked, status=200, body=content)
    return ToolResult(content=content)


TOOL = Tool(
    name=NAME,
    description="Record the verdict and score of a contribution. Only for the creator of its campaign.",
    args_model=UpdateContributionVerificationArguments,
    run=update_contribution_verification,
    effect="writes",
)
