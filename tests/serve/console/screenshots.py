"""`make screenshots`: every page of the console over a seeded installation, as docs/console/*.png."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import typer
from PIL import Image
from playwright.async_api import Browser, Page
from sqlalchemy import make_url

from cluster.embedded import start_postgres, start_redis, stop_postgres, stop_redis
from serve.settings import ServeSettings
from storage.migrations import schema
from tests.serve.console import browser as browsers
from tests.serve.console import seeds, site
from tests.serve.console.site import Site
from tests.stubs.openai import completion

_OUT = Path(__file__).parents[3] / "docs" / "console"


def main(out: Path = _OUT, only: str = "") -> None:
    """Take them anew."""
    if browsers.chromium() is None:
        raise typer.BadParameter(browsers.MISSING)
    directory = Path(tempfile.mkdtemp(prefix="shots", dir="/tmp"))
    directory.chmod(0o755)
    try:
        url = start_postgres(directory)
        schema.upgrade(make_url(url).render_as_string(hide_password=False))
        asyncio.run(_take(url, start_redis(directory), directory, out, only))
    finally:
        stop_redis(directory)
        stop_postgres(directory)
        shutil.rmtree(directory, ignore_errors=True)


async def _take(database_url: str, redis_url: str, directory: Path, out: Path, only: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    settings = ServeSettings(dashboard_url="http://127.0.0.1:8265", heartbeat_s=5)
    async with site.opened(database_url, redis_url, directory, serve_settings=settings) as opened:
        shots = await _seed(opened)
        async with browsers.opened() as browser:
            for name, path, look in shots:
                if only in name:
                    await _shoot(browser, opened.url, out / f"{name}.png", path, **look)


async def _seed(opened: Site) -> list[tuple[str, str, dict[str, Any]]]:
    """Something for every page; answers (name, path, look)."""
    seeded = await seeds.seed_campaign(opened.database, opened.data_dir)
    await seeds.seed_campaign(
        opened.database,
        opened.data_dir,
        seeds.PIECES[:2],
        title="Photographs of street trees in winter",
        unit_price=10**7,
    )
    await seeds.seed_schedules(opened.database)
    workflow = await seeds.seed_workflow(opened.database)
    opened.llm.script.extend([completion("Known: a rye bread of 1933."), completion("Borodinsky, once more.")])
    runs = opened.engine.runs
    owner = seeds.CREATOR
    services = opened.app.state.services
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
    review = await _seed_reviews(opened, seeded)
    await asyncio.sleep(1.5)
    return [
        ("overview", "/", {}),
        ("overview-dark", "/", {"dark": True}),
        ("overview-phone", "/", {"phone": True}),
        ("campaigns", "/campaigns", {}),
        ("campaign", f"/campaigns/{seeded.campaign_id}", {}),
        ("calibration", f"/campaigns/{seeded.campaign_id}/calibration", {}),
        ("duplicates", f"/campaigns/{seeded.campaign_id}/duplicates", {}),
        ("contribution", f"/contributions/{seeded.contributions['loaf.png']}", {}),
        ("runs", "/runs", {}),
        ("run", f"/runs/{story.run_id}", {}),
        ("reviews", "/reviews", {}),
        ("review", f"/reviews/{review}", {}),
        ("review-phone", f"/reviews/{review}", {"phone": True}),
        ("run-phone", f"/runs/{story.run_id}", {"phone": True}),
        ("workflows", "/workflows", {}),
        ("workflow", f"/workflows/{workflow}", {}),
        ("schedules", "/schedules", {}),
        ("sign-in", "/sign-in", {"signed_in": False}),
    ]


async def _seed_reviews(opened: Site, seeded: seeds.Seeded) -> UUID:
    """A payload with a schema, claimed, and a few more that wait."""
    for title in ("Is this the answer that was asked for?", "May it cost 4.20 USD?"):
        await opened.people.asked(owner=seeds.CREATOR, question={"title": title, "subject": {"estimate_usd": 4.2}})
    _, review = await opened.people.asked(owner=seeds.CREATOR, question=seeds.picture_question(seeded))
    await opened.people.reviews.claim(review.review_id, by="Ines")
    return review.review_id


async def _shoot(
    browser: Browser,
    url: str,
    path: Path,
    address: str,
    *,
    dark: bool = False,
    phone: bool = False,
    signed_in: bool = True,
) -> None:
    context = await browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1240, "height": 860},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    if signed_in:
        await sign_in(page, url, "Ines", seeds.CREATOR)
    await page.goto(f"{url}/console{address}")
    await page.wait_for_timeout(500)
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    await page.screenshot(path=path, full_page=True)
    with Image.open(path) as image:  # a palette is enough for pages, and a quarter of the size
        image.convert("RGB").quantize(256).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB{f', {wide} px too wide' if wide > 0 else ''}")
    await context.close()


async def sign_in(page: Page, url: str, name: str, wallet: str = "") -> None:
    await page.goto(f"{url}/console/sign-in")
    await page.fill("#name", name)
    await page.fill("#wallet", wallet)
    await page.click("main button")
    await page.wait_for_url("**/console/")


if __name__ == "__main__":
    typer.run(main)
