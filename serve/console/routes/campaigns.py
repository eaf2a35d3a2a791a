"""Campaigns: what was asked for, what came in, how it was judged, what repeats what."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from markupsafe import Markup
from starlette.responses import Response

from serve.console.contents import Named, require_may_open
from serve.console.live import changes
from serve.console.pages import page, to
from serve.console.session import Visiting
from serve.deps import Given, Services
from serve.errors import ForbiddenError
from serve.schemas.fields import I64_MAX
from serve.shown.chart import binned, histogram, proportions
from serve.shown.difference import marked
from storage import campaigns, contributions, verifications
from storage.clock import now
from storage.contributions import Contribution

router = APIRouter(prefix="/campaigns")

VERDICTS = ("ACCEPT", "REVIEW", "REJECT", "ERROR", "NONE")
_PAGE = 50
_PAIRS = 6
_BIN = 5

Verdict = Annotated[str | None, Query(max_length=10)]
After = Annotated[int | None, Query(ge=0, le=I64_MAX)]


@router.get("")
async def list_campaigns(
    request: Request,
    given: Given,
    _: Visiting,
    *,
    creator: Annotated[str | None, Query(max_length=300)] = None,
    active: bool = False,
    after: UUID | None = None,
) -> Response:
    moment = now()
    async with given.database.read() as session:
        rows = await campaigns.listed(
            session, limit=_PAGE + 1, after=after, creator=creator or None, active_at=moment if active else None
        )
    shown = rows[:_PAGE]
    return page(
        request, "campaigns.html", campaigns=shown, moment=moment, creator=creator or "", active=active, after=after,
        more=shown[-1].campaign_id if len(rows) > _PAGE else None,
    )  # fmt: skip


@router.get("/named/{onchain_campaign_id}")
async def campaign_named(
    request: Request, given: Given, _: Visiting, onchain_campaign_id: Annotated[str, Path(max_length=300)]
) -> Response:
    """To the page of the campaign with this id on its chain, which is what reviews know."""
    async with given.database.read() as session:
        campaign = await campaigns.by_onchain_id(session, onchain_campaign_id)
    return to(request, f"/campaigns/{campaign.campaign_id}")


@router.get("/{campaign_id}")
async def campaign_page(
    request: Request, given: Given, _: Visiting, *, campaign_id: UUID, verdict: Verdict = None, after: After = None
) -> Response:
    chosen = verdict if verdict in VERDICTS else None
    async with given.database.read() as session:
        campaign = await campaigns.get(session, campaign_id)
        counted = await contributions.scores(session, campaign_id, step=_BIN)
        rows = await contributions.judged(session, campaign_id, verdict=chosen, limit=_PAGE + 1, after=after)
        shown = rows[:_PAGE]
        results = await verifications.last_of_each(session, [row.contribution_id for row in shown])
        batches = await verifications.batches_of(session, campaign_id, limit=5)
        progress = {each.batch_id: await verifications.progress(session, each.batch_id) for each in batches}
    counts = dict.fromkeys(VERDICTS, 0)
    for _score, each, count in counted:
        counts[each or "NONE"] = counts.get(each or "NONE", 0) + count
    bins = binned((score, each or "NONE", count) for score, each, count in counted)
    # Numbers and names of verdicts, drawn by us.
    return page(
        request, "campaign.html", campaign=campaign, moment=now(), counts=counts, verdict=chosen, contributions=shown,
        results=results, batches=batches, progress=progress, after=after, verdicts=VERDICTS,
        more=shown[-1].seq if len(rows) > _PAGE else None,
        chart=Markup(histogram(bins, campaign.accepted_from)),  # noqa: S704
        shares=Markup(proportions({each: counts[each] for each in VERDICTS[:4]})),  # noqa: S704
    )  # fmt: skip


@router.get("/{campaign_id}/live")
async def live(request: Request, given: Given, _: Visiting, campaign_id: UUID) -> Response:
    async with given.database.read() as session:
        await campaigns.get(session, campaign_id)
    return changes(request, given, f"campaign {campaign_id}", lambda: _standing(given, campaign_id))


async def _standing(given: Services, campaign_id: UUID) -> Any:
    async with given.database.read() as session:
        return [
            (await campaigns.get(session, campaign_id)).version,
            await contributions.scores(session, campaign_id, step=_BIN),
            [[each.batch_id, each.state] for each in await verifications.batches_of(session, campaign_id, limit=5)],
        ]


@router.get("/{campaign_id}/duplicates")
async def duplicates(
    request: Request, given: Given, visitor: Visiting, *, campaign_id: UUID, after: After = None
) -> Response:
    """Contributions that repeat an earlier one, each beside it, with the words that differ marked."""
    async with given.database.read() as session:
        campaign = await campaigns.get(session, campaign_id)
        found = await verifications.duplicates(session, campaign_id, limit=_PAIRS + 1, after=after or 0)
        ids = [each for _, row in found for each in (row.contribution_id, row.duplicate_of) if each is not None]
        rows = await contributions.of_ids(session, ids)
    pairs = []
    for _seq, result in found[:_PAIRS]:
        assert result.contribution_id is not None
        copy, original = rows[result.contribution_id], rows.get(result.duplicate_of)
        sides = None
        if original is not None:
            try:
                for each in (copy, original):
                    require_may_open(visitor, each, campaign)
            except ForbiddenError:
                pass
            else:
                sides = await _sides(request, original, copy)
        pairs.append((result, copy, original, sides))
    return page(
        request, "duplicates.html", campaign=campaign, pairs=pairs, after=after,
        more=found[_PAIRS - 1][0] if len(found) > _PAIRS else None,
    )  # fmt: skip


async def _sides(request: Request, original: Contribution, copy: Contribution) -> dict[str, Any]:
    """Both contents, and the words of theirs that differ where both are texts."""
    contents = request.app.state.contents
    left, right = [await contents.view(Named.of(each)) for each in (original, copy)]
    one = two = None
    if left.kind == right.kind == "text" and left.text != right.text:
        one, two = (Markup(each) for each in marked(left.text, right.text))  # noqa: S704  # `marked` escapes
    return {
        "left": left,
        "right": right,
        "one": one,
        "two": two,
        "equal": left.text == right.text and left.kind == "text",
    }
