"""`make screenshots`: every page of the console over a seeded installation, as docs/console/*.png.

Fails where one of them is wider than its window.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import typer
from PIL import Image
from playwright.async_api import Browser
from sqlalchemy import make_url

from cluster.embedded import start_postgres, start_redis, stop_postgres, stop_redis
from serve.settings import ServeSettings
from storage.migrations import schema
from tests.serve.console import browser as browsers
from tests.serve.console import site, tour
from tests.serve.console.tour import DARK, PHONE, Place

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
        wide = asyncio.run(_take(url, start_redis(directory), directory, out, only))
    finally:
        stop_redis(directory)
        stop_postgres(directory)
        shutil.rmtree(directory, ignore_errors=True)
    if wide:
        typer.echo(f"wider than their windows: {', '.join(wide)}", err=True)
        raise typer.Exit(1)


async def _take(database_url: str, redis_url: str, directory: Path, out: Path, only: str) -> list[str]:
    """Answers which pages are too wide."""
    out.mkdir(parents=True, exist_ok=True)
    settings = ServeSettings(dashboard_url="http://127.0.0.1:8265", heartbeat_s=5)
    wide = []
    async with site.opened(database_url, redis_url, directory, serve_settings=settings) as opened:
        places = await tour.seeded(opened)
        async with browsers.opened() as browser:
            for name, place in places.items():
                for look in ("", *place.looks):
                    shot = f"{name}{look}"
                    if only in shot and await _shoot(browser, opened.url, out / f"{shot}.png", place, look):
                        wide.append(shot)
    return wide


async def _shoot(browser: Browser, url: str, path: Path, place: Place, look: str) -> bool:
    """Take it; answers whether it is wider than its window."""
    context = await browser.new_context(
        viewport={"width": 390, "height": 844} if look == PHONE else {"width": 1240, "height": 860},
        color_scheme="dark" if look == DARK else "light",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    if place.signed_in:
        await tour.sign_in(page, url)
    await page.goto(f"{url}/console{place.path}")
    await page.wait_for_timeout(500)
    wide = int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
    await page.screenshot(path=path, full_page=True)
    with Image.open(path) as image:  # a palette is enough for pages, and a quarter of the size
        image.convert("RGB").quantize(256).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB{f', {wide} px too wide' if wide > 0 else ''}")
    await context.close()
    return wide > 0


if __name__ == "__main__":
    typer.run(main)
