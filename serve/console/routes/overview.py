"""What is running, waiting and failing now, and what the last hour came to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from serve.console.formats import pressing
from serve.console.live import changes
from serve.console.pages import page
from serve.console.scope import Scope, sight
from serve.console.session import Visiting
from serve.deps import Given, Services
from serve.shown.throughput import throughput
from storage import contributions, firings, runs, verifications
from storage.clock import now
from storage.reviews import Sight
from storage.runs import Run

router = APIRouter()

_LISTED = 6
# Judgements are counted no further than this, so that the page costs the same after a batch of a million.
MOST_JUDGED = 10_000
MOST_REVIEWS = 100


@router.get("/")
async def overview(request: Request, given: Given, visitor: Visiting) -> Response:
    scope = Scope.of(visitor)
    moment = now()
    since = moment - timedelta(hours=1)
    async with given.database.read() as session:
        tally = await runs.tally(session, since=since, **scope.filters)
        running = await runs.page(session, limit=_LISTED, statuses=("running",), light=True, **scope.filters)
        waiting = await runs.page(session, limit=_LISTED, statuses=("waiting",), light=True, **scope.filters)
        failed = await runs.page(
            session, limit=_LISTED, statuses=("failed",), light=True, since=moment - timedelta(days=7), **scope.filters
        )
        submitted = await contributions.submitted_since(session, since)
        judged = await verifications.judged_since(session, since, most=MOST_JUDGED)
        batches = await verifications.under_way(session, limit=_LISTED)
        schedules = await firings.last_of_each(session)
    asked = await given.reviews.queue(sight(visitor), limit=MOST_REVIEWS)
    ended = {
        state: sum(count for _, each, count in tally.ended if each == state)
        for state in ("completed", "failed", "cancelled")
    }
    return page(
        request, "overview.html", tally=tally, ended=ended, running=running, waiting=waiting, failed=failed,
        # Those that press first, each in the order in which it was asked.
        reviews=sorted(asked, key=lambda each: not pressing(each))[:_LISTED], to_review=len(asked),
        most_reviews=MOST_REVIEWS, pressing_reviews=sum(bool(pressing(each)) for each in asked),
        submitted=submitted, judged=judged, most_judged=MOST_JUDGED, batches=batches,
        troubled=[(each, firing) for each, firing in schedules if firing is not None and firing.state == "failed"],
        chart=Markup(throughput(tally.ended, moment)),  # noqa: S704  # numbers and names of states
    )  # fmt: skip


@router.get("/live")
async def live(request: Request, given: Given, visitor: Visiting) -> Response:
    scope, seen = Scope.of(visitor), sight(visitor)
    return changes(request, given, f"overview {scope.key} {seen}", lambda: _standing(given, scope, seen))


async def _standing(given: Services, scope: Scope, seen: Sight) -> Any:
    since = now().replace(second=0, microsecond=0) - timedelta(hours=1)
    async with given.database.read() as session:
        tally = await runs.tally(session, since=since, **scope.filters)
        newest = await runs.page(
            session, limit=2 * _LISTED, statuses=("running", "waiting"), light=True, **scope.filters
        )
        batches = await verifications.under_way(session, limit=_LISTED)
    queue = await given.reviews.queue(seen, limit=MOST_REVIEWS)
    asked = [[each.review_id, each.holder, pressing(each)] for each in queue]
    return [asked, tally.unfinished, tally.ended, [stands(run) for run in newest], [list(each) for each in batches]]


def stands(run: Run) -> list[Any]:
    """What a line of a list shows of a run."""
    return [run.run_id, run.status, run.step, run.steps, run.attempt, run.cancel_requested_at]
