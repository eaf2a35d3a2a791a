"""Every page of the console, on a phone and on a desk, in the dark and in the light: it fits its window, every control
has a name, and its words can be read (WCAG 2.1 AA, as axe-core finds it in a real browser).
"""

from __future__ import annotations

import asyncio
from importlib import resources
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext

import serve.console
from serve.settings import ServeSettings
from tests.serve.console import site as sites
from tests.serve.console import tour
from tests.serve.console.tour import Place

PHONE, DESK = 390, 1240
# Tabs at work at once: one waits for the server while another is looked at.
TABS = 3

_AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
_RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
_FAULTS = """async (only) => (await axe.run(document, {runOnly: only, resultTypes: ["violations"]})).violations.flatMap(
    (rule) => rule.nodes.map((node) => `${rule.id} at ${node.target.join(" ")}: ${node.any.concat(node.all, node.none)[0]?.message ?? rule.help}`))"""
_TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def faults(context: BrowserContext, url: str, name: str, place: Place) -> list[str]:
    """What is wrong with a page, as sentences."""
    page = await context.new_page()
    found: list[str] = []
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    await page.set_viewport_size({"width": PHONE, "height": 844})
    await page.goto(f"{url}/console{place.path}")
    await page.evaluate(_AXE)

    async def look(where: str, only: dict[str, Any]) -> None:
        if (wide := await page.evaluate(_TOO_WIDE)) > 0:
            found.append(f"{name} {where}: {wide} px too wide")
        found.extend(f"{name} {where}: {each}" for each in await page.evaluate(_FAULTS, only))

    await look("on a phone in the dark", _RULES)
    await page.emulate_media(color_scheme="light", reduced_motion="reduce")
    await page.set_viewport_size({"width": DESK, "height": 860})
    await look("on a desk in the light", {"type": "rule", "values": ["color-contrast"]})
    await page.close()
    return found


async def test_every_page_fits_names_its_controls_and_can_be_read(
    browser: Browser, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = ServeSettings(dashboard_url="http://127.0.0.1:8265", heartbeat_s=5)
    async with sites.opened(database_url, redis_url, tmp_path, serve_settings=settings) as site:
        places = await tour.seeded(site)
        templates = {each.name for each in (Path(serve.console.__file__).parent / "templates").glob("[!_]*.html")}
        assert {place.template for place in places.values()} == templates, "a page that nobody walks"
        guest, visitor = await browser.new_context(), await browser.new_context()
        await tour.sign_in(await visitor.new_page(), site.url)
        turn = asyncio.Semaphore(TABS)

        async def walked(name: str, place: Place) -> list[str]:
            async with turn:
                return await faults(visitor if place.signed_in else guest, site.url, name, place)

        found = await asyncio.gather(*(walked(name, place) for name, place in places.items()))
        # Before the site, which would wait for their streams.
        await guest.close()
        await visitor.close()
    said = [fault for of_page in found for fault in of_page]
    assert not said, "\n".join(said)
