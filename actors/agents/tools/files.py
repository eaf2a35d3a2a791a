"""Opening what an agent names, with the rights of the wallet it acts for.

A contribution's content is for its contributor and the campaign's creator. A stored blob is for whose it is (who stored
it, or contributed it first) and for the creators of the campaigns that they contributed it to, also where it is another
contribution's content. Any other reference leads to the open web or IPFS, past the address guard.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from actors.agents.deps import ToolContext
from actors.errors import ToolForbiddenError
from storage import campaigns, contributions, fetch, references, stored_files
from storage.campaigns import Campaign
from storage.contributions import Contribution
from storage.references import LocalBlob, WalrusBlob

REFERENCE = "a contribution's id, the blob id of a stored file, an https URL or an IPFS content id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The bytes, what is said of them, and the contribution whose they are, if they are one's."""

    reference: str
    data: bytes
    media_type: str | None
    file_name: str | None
    contribution: Contribution | None = None
    campaign: Campaign | None = None


async def open_file(context: ToolContext, reference: str) -> Opened:
    """What `reference` names. Raises `ToolForbiddenError`, `NotFoundError` or the fetcher's errors."""
    contribution_id = as_uuid(reference)
    if contribution_id is not None:
        contribution, campaign = await open_contribution(context, contribution_id)
        content = fetch.named(contribution.data_url, contribution.blob_id)
        if isinstance(content, (LocalBlob, WalrusBlob)):
            await _check_blob(context, content.blob_id)
        fetched = await context.fetcher.fetch(contribution.data_url, blob_id=contribution.blob_id)
        return Opened(
            reference=reference,
            data=fetched.data,
            media_type=contribution.file_type or fetched.media_type,
            file_name=fetched.file_name,
            contribution=contribution,
            campaign=campaign,
        )
    named = references.parse(reference)
    if isinstance(named, (LocalBlob, WalrusBlob)):
        return await _open_blob(context, named.blob_id)
    fetched = await context.fetcher.fetch(reference)
    return Opened(reference=reference, data=fetched.data, media_type=fetched.media_type, file_name=fetched.file_name)


async def open_contribution(context: ToolContext, contribution_id: UUID) -> tuple[Contribution, Campaign]:
    """The contribution's record and its campaign, for its contributor and the campaign's creator; else
    `ToolForbiddenError`. Whose its content is, `open_file` asks.
    """
    async with context.database.read() as session:
        contribution = await contributions.get(session, contribution_id)
        campaign = await campaigns.get(session, contribution.campaign_id)
    if context.wallet is None or context.wallet not in {contribution.contributor, campaign.creator_wallet_address}:
        raise ToolForbiddenError(
            f"contribution {contribution_id} is neither of the wallet {context.wallet!r} nor of a campaign of it",
            subject=str(contribution_id),
        )
    return contribution, campaign


def require_wallet(context: ToolContext) -> str:
    """The wallet. Raises `ToolForbiddenError` for a run that acts for nobody."""
    if context.wallet is None:
        raise ToolForbiddenError("this run acts for no wallet, so it cannot use this tool")
    return context.wallet


def as_uuid(text: str) -> UUID | None:
    """The id, where it is written as one; a blob id is not."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


async def _open_blob(context: ToolContext, blob_id: str) -> Opened:
    wallet = await _check_blob(context, blob_id)
    async with context.database.read() as session:
        stored = await stored_files.by_blob(session, wallet, blob_id)
    fetched = await context.fetcher.fetch(blob_id)
    return Opened(
        reference=blob_id,
        data=fetched.data,
        media_type=stored.media_type if stored else fetched.media_type,
        file_name=stored.name if stored else fetched.file_name,
    )


async def _check_blob(context: ToolContext, blob_id: str) -> str:
    """The wallet, which may read this blob; else `ToolForbiddenError`."""
    wallet = context.wallet
    async with context.database.read() as session:
        if wallet is not None and await stored_files.may_read(session, wallet, blob_id):
            return wallet
    raise ToolForbiddenError(
        f"the blob {blob_id} is neither a file of the wallet {wallet!r} nor content it may read: it is for whoever "
        "stored it or contributed it first, and for the creators of the campaigns that they contributed it to",
        subject=blob_id,
    )
