"""Debian's Chromium, driven by Playwright: a real browser that finds nothing but this machine."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator

from playwright.async_api import Browser, async_playwright

_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
MISSING = "no chromium on PATH; install it: apt-get install -y --no-install-recommends chromium fonts-dejavu"


def chromium() -> str | None:
    """Where Chromium is, if it is installed."""
    return shutil.which("chromium")


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()
