"""Every page of the console over an installation with something on each: what is photographed, and walked by a test."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from uuid import UUID

from playwright.async_api import Page

from tests.serve.console import seeds
from tests.serve.console.site import Site
from tests.stubs.openai import completion

NAME = "Ines"
# What more there is of a page than its picture on a wide window: by the end of the picture's name.
DARK, PHONE = "-dark", "-phone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A page of the console: which template it is made from, and how else its picture is taken."""

    path: str
    template: str
    looks: tuple[str, ...] = ()
    signed_in: bool = True


async def seeded(opened: Site) -> dict[str, Place]:
    """Something for every page; answers the pages by the names of their pictures."""
    seeded = await seeds.seed_campaign(opened.database, opened.data_dir)
    judged = [
        seeds.Piece(name=f"{n}", data=f"A tree in winter, {n}".encode(), contributor=f"0x{n:04}", file_type="text/plain",
                    verdict="REVIEW", score=65.2 + 0.4 * n, reason="It is within 5 points of the required 70.") for n in range(25)
    ]  # fmt: skip
    trees = await seeds.seed_campaign(
        opened.database, opened.data_dir, judged, title="Descriptions of street trees in winter", unit_price=10**7
    )
    await seeds.seed_decisions(opened.database, trees.campaign_id, approved_from=68.0)
    schedule = await seeds.seed_schedules(opened.database)
    workflow = await seeds.seed_workflow(opened.database)
    story = await _seed_runs(opened, workflow)
    review, contents, comparison = await _seed_reviews(opened, seeded)
    campaign = f"/campaigns/{seeded.campaign_id}"
    return {
        "overview": Place(path="/", template="overview.html", looks=(DARK, PHONE)),
        "campaigns": Place(path="/campaigns", template="campaigns.html"),
        "campaign": Place(path=campaign, template="campaign.html"),
        "calibration": Place(path=f"/campaigns/{trees.campaign_id}/calibration", template="calibration.html"),
        "duplicates": Place(path=f"{campaign}/duplicates", template="duplicates.html"),
        "contribution": Place(path=f"/contributions/{seeded.contributions['loaf.png']}", template="contribution.html"),
        "runs": Place(path="/runs", template="runs.html"),
        "run": Place(path=f"/runs/{story}", template="run.html", looks=(PHONE,)),
        "reviews": Place(path="/reviews", template="reviews.html"),
        "review": Place(path=f"/reviews/{review}", template="review.html", looks=(PHONE,)),
        "review-contents": Place(path=f"/reviews/{contents}", template="review.html"),
        "review-comparison": Place(path=f"/reviews/{comparison}", template="review.html"),
        "workflows": Place(path="/workflows", template="workflows.html"),
        "workflow": Place(path=f"/workflows/{workflow}", template="workflow.html"),
        "schedules": Place(path="/schedules", template="schedules.html"),
        "schedule": Place(path=f"/schedules/{schedule}", template="schedule.html"),
        "error": Place(path=f"/runs/{UUID(int=0)}", template="error.html"),
        "sign-in": Place(path="/sign-in", template="sign_in.html", signed_in=False),
    }


async def sign_in(page: Page, url: str, wallet: str = seeds.CREATOR) -> None:
    await page.goto(f"{url}/console/sign-in")
    await page.fill("#name", NAME)
    await page.fill("#wallet", wallet)
    await page.click("main button")
    await page.wait_for_url("**/console/")


async def _seed_runs(opened: Site, workflow: str) -> UUID:
    """Runs in every state; answers that of a workflow that waits for a person."""
    opened.llm.script.extend([completion("Known: a rye bread of 1933."), completion("Borodinsky, once more.")])
    services, runs, owner = opened.app.state.services, opened.engine.runs, seeds.CREATOR
    story = await services.workflow_runs.start(
        await services.workflows.get(workflow), "The bread of Borodino", owner=owner
    )
    for number in range(7):
        await runs.start("counting", {"steps": 4 + number, "pause_s": 0.05}, {"trail": []}, owner=owner)
    await runs.start("failing", {}, {"trail": []}, owner=owner)
    await runs.start("gated", {"gate": "never"}, {"trail": []}, owner=owner)
    spent = await runs.start("spendthrift", {}, {"trail": []}, owner=owner)
    await opened.engine.ended(spent.run_id)
    with contextlib.suppress(AssertionError):
        await opened.engine.waiting(story.run_id, 15)
    await asyncio.sleep(1)  # for the last of them to end
    made: UUID = story.run_id
    return made


async def _seed_reviews(opened: Site, seeded: seeds.Seeded) -> tuple[UUID, UUID, UUID]:
    """A payload with a schema, an answer of several contents and a comparison, all claimed; and a few more that wait."""
    people, owner = opened.people, seeds.CREATOR
    for title in ("Is this the answer that was asked for?", "May it cost 4.20 USD?"):
        await people.asked(owner=owner, question={"title": title, "subject": {"estimate_usd": 4.2}})
    claimed = []
    for checkpoint, question in (
        ("payload_review", seeds.picture_question(seeded)), ("response_review", seeds.contents_question(seeded)),
        ("comparison", {"title": "Which answer is better?", **seeds.comparison()}),
    ):  # fmt: skip
        _, review = await people.asked(owner=owner, at=[checkpoint], question=question)
        await people.reviews.claim(review.review_id, by=NAME)
        claimed.append(review.review_id)
    hurry = await people.asked(
        owner=owner, question={"title": "May this be sent today?", "deadline": {"timeout_s": 3600, "reminders": [0.5]}}
    )
    if hurry[1].next_at is not None:
        await people.pass_time(hurry[1].review_id, hurry[1].next_at)
        await people.reviews.tick()
    first, second, third = claimed
    return first, second, third
