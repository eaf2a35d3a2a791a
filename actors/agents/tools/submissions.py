"""What the verification tools share: the file before them, the brief it is judged against, and what it repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from actors.agents.deps import ToolContext
from actors.agents.tools.files import REFERENCE, Opened, open_file, require_wallet
from actors.agents.tools.tool import Arguments
from actors.errors import ToolArgumentsError
from actors.verification import duplicates
from actors.verification.models import Brief, Content, Duplicate
from actors.verification.pipeline import brief_of, fingerprint_row
from actors.verification.rows import Submission
from storage import campaigns, fingerprints


class SubmissionArguments(Arguments):
    reference: Annotated[str, Field(min_length=1, max_length=2_048, description=f"The file: {REFERENCE}.")]
    onchain_campaign_id: Annotated[
        str,
        Field(
            max_length=200,
            description="On-chain id of the campaign to judge it for; a contribution is judged for its own.",
        ),
    ] = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    opened: Opened
    content: Content
    brief: Brief
    contributor: str


async def open_submission(arguments: SubmissionArguments, context: ToolContext) -> Submitted:
    """The file as read, whole, and what it is judged against.

    Raises as `open_file` and the reader do, and `ToolArgumentsError` where the campaign is missing or another.
    """
    opened = await open_file(context, arguments.reference)
    campaign = opened.campaign
    if campaign is None:
        if not arguments.onchain_campaign_id:
            raise ToolArgumentsError(
                "`onchain_campaign_id` is needed: the reference is no contribution, so it says no campaign to judge for"
            )
        async with context.database.read() as session:
            campaign = await campaigns.by_onchain_id(session, arguments.onchain_campaign_id)
    elif arguments.onchain_campaign_id not in {"", campaign.onchain_campaign_id}:
        raise ToolArgumentsError(
            f"the contribution is of campaign {campaign.onchain_campaign_id!r}, not {arguments.onchain_campaign_id!r}"
        )
    contributor = opened.contribution.contributor if opened.contribution is not None else require_wallet(context)
    return Submitted(opened, await read_whole(context, opened), brief_of(campaign), contributor)


async def read_whole(context: ToolContext, opened: Opened) -> Content:
    """As verification reads it. Raises `UnreadableError`."""
    verification = context.verification
    return await verification.read(
        opened.data, verification.settings.read, file_name=opened.file_name, declared_type=opened.media_type
    )


async def duplicate_of(context: ToolContext, opened: Opened, content: Content) -> Duplicate | None:
    """The earlier contribution that this one repeats, among those that the campaign has read so far."""
    contribution = opened.contribution
    if contribution is None:
        return None
    submission = Submission(
        contribution_id=contribution.contribution_id,
        seq=contribution.seq,
        contributor=contribution.contributor,
        data_url=contribution.data_url,
    )
    row = fingerprint_row(submission, content)
    async with context.database.read() as session:
        row = replace(row, seq=await fingerprints.place(session, row))
        found = await duplicates.find(
            session, contribution.campaign_id, [row], threshold=context.verification.settings.near_duplicate
        )
    return found.get(contribution.contribution_id)
