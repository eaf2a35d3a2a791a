"""The console in a real browser: people decide there, pages move by themselves, and strangers' contents do nothing."""

from __future__ import annotations

import asyncio
import re
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, expect

from storage.reviews import Review
from tests.actors.verification.documents import noise, pdf, scanned
from tests.conftest import database_from_template
from tests.serve.console import browser as browsers
from tests.serve.console import seeds
from tests.serve.console import site as sites
from tests.serve.console.seeds import Piece
from tests.serve.console.site import Site

# One site and one browser for all of them, which take longer to start than most tests: each has a wallet of its own,
# whose reviews and runs alone it sees.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    with database_from_template(postgres, "browsing") as url:
        async with sites.opened(url, redis_server, tmp_path_factory.mktemp("site")) as opened:
            yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    if browsers.chromium() is None:
        pytest.skip(browsers.MISSING)
    async with browsers.opened() as opened:
        yield opened


# What the tests do on purpose is refused, and Chromium tells that as an error.
_REFUSED = re.compile("status of (409|422)")
expect.set_options(timeout=20_000)


@asynccontextmanager
async def at(browser: Browser, site: Site, name: str, wallet: str = "", **options: Any) -> AsyncIterator[Page]:
    """A page of this person's own browser, signed in. What it asks for elsewhere, says or runs fails the test."""
    context = await browser.new_context(base_url=site.url, reduced_motion="reduce", **options)
    page = await context.new_page()
    wrong: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((site.url, "blob:")):
            wrong.append(f"asked {request.url}")

    page.on("request", asked)
    page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
    page.on("pageerror", lambda error: wrong.append(f"error {error}"))
    page.on(
        "console",
        lambda said: wrong.append(said.text) if said.type == "error" and not _REFUSED.search(said.text) else None,
    )
    await page.goto("/console/sign-in")
    await page.get_by_label("Your name").fill(name)
    await page.get_by_label("Wallet to act for").fill(wallet)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    yield page
    assert await page.evaluate("window.owned") is None, "a stranger's script has run"
    assert wrong == []
    await context.close()


async def settled(site: Site, review_id: Any) -> Review:
    async with asyncio.timeout(15):
        while (review := await site.people.reviews.get(review_id)).state == "open":
            await asyncio.sleep(0.05)
    return review


async def test_a_reviewer_claims_edits_and_approves_while_a_second_one_is_refused(site: Site, browser: Browser) -> None:
    seeded = await seeds.seed_campaign(site.database, site.data_dir, seeds.PIECES[2:3])
    run, review = await site.people.asked(owner="0xpair", question=seeds.picture_question(seeded))
    async with at(browser, site, "Ines", "0xpair") as ines, at(browser, site, "Bogdan", "0xpair") as bogdan:
        await bogdan.goto(f"/console/reviews/{review.review_id}")
        await expect(bogdan.get_by_role("button", name="Claim c")).to_be_visible()
        await ines.get_by_role("link", name="Reviews").click()
        await ines.get_by_role("link", name="Send this to the image model?").click()
        picture = ines.get_by_alt_text(re.compile("submitted picture"))
        await expect(picture).to_be_visible()
        assert await picture.evaluate("image => image.complete && image.naturalWidth") == 720
        await ines.keyboard.press("c")
        await expect(ines.get_by_text("Yours until")).to_be_visible()

        # The other one's page says so by itself, and a claim by hand is refused in words.
        await expect(bogdan.get_by_text("Held by Ines")).to_be_visible()
        refused = await bogdan.evaluate(
            """async (id) => (await fetch(`/console/reviews/${id}/claim`, {method: "POST"})).status""",
            str(review.review_id),
        )
        assert refused == 409
        assert (await site.people.reviews.get(review.review_id)).holder == "Ines"

        await ines.keyboard.press("e")
        await expect(ines.get_by_label("prompt")).to_be_focused()
        await ines.get_by_label("prompt").fill("A loaf of rye")
        await ines.get_by_label("steps").fill("99")
        await ines.get_by_role("button", name="Approve as edited").click()
        # The schema says no, at its field; what was filled in is still there.
        await expect(ines.get_by_label("steps")).to_have_attribute("aria-invalid", "true")
        await expect(ines.get_by_label("prompt")).to_have_value("A loaf of rye")
        await ines.get_by_label("steps").fill("12")
        await ines.get_by_label("aspect_ratio").select_option("16:9")
        await ines.get_by_role("button", name="Approve as edited").click()
        await expect(ines.get_by_text("Your decision is kept: edited")).to_be_visible()
        await expect(bogdan.get_by_text("By Ines")).to_be_visible()
    done = await settled(site, review.review_id)
    assert done.outcome is not None
    assert done.outcome["payload"] == {**review.subject, "prompt": "A loaf of rye", "steps": 12, "aspect_ratio": "16:9"}
    assert done.outcome["by"] == ["Ines"]
    assert (await site.engine.ended(run.run_id)).status == "completed"


async def test_after_a_rejection_the_next_review_is_there_claimed_and_an_answer_is_picked_by_its_number(
    site: Site, browser: Browser
) -> None:
    asked = ({"title": "May it go on?"}, {"title": "Passed over?"}, {"title": "Which is better?", **seeds.comparison()})
    reviews = [(await site.people.asked(owner="0xphone", question=question))[1] for question in asked]
    async with at(browser, site, "Ines", "0xphone", viewport={"width": 390, "height": 800}) as page:
        await page.goto("/console/reviews")
        await page.keyboard.press("n")
        await expect(page.get_by_role("heading", name="May it go on?")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, "it scrolls sideways on a phone"
        await page.keyboard.press("r")
        await expect(page.get_by_label("Reason")).to_be_focused()
        await page.keyboard.type("not a cat")
        await page.get_by_role("button", name="Reject", exact=True).click()
        await expect(page.get_by_role("heading", name="Passed over?")).to_be_visible()
        await expect(page.get_by_text("Yours until")).to_be_visible()
        await page.keyboard.press("u")
        await expect(page.get_by_text("are passed over")).to_be_visible()
        await page.keyboard.press("n")
        await expect(page.get_by_role("heading", name="Which is better?")).to_be_visible()
        await expect(page.get_by_role("button", name="Pick Answer A")).to_be_visible()
        await page.keyboard.press("2")
        await expect(page.get_by_text("Your decision is kept: edited")).to_be_visible()
    first, passed, picked = [await site.people.reviews.get(each.review_id) for each in reviews]
    assert (first.state, first.outcome and first.outcome["reason"]) == ("rejected", "not a cat")
    assert (passed.state, passed.holder) == ("open", None)
    assert (picked.state, picked.outcome and picked.outcome["payload"]) == ("edited", {"choice": "B"})


async def test_a_runs_timeline_moves_without_a_reload_and_says_so_to_screen_readers(
    site: Site, browser: Browser
) -> None:
    from tests.actors.runs.engine import gate  # noqa: PLC0415  # beside the gates of this test alone

    run = await site.engine.runs.start("gated", {"gate": "browser"}, {"trail": []}, owner="0xline")
    async with at(browser, site, "Ines", "0xline") as page:
        await page.get_by_role("link", name="Runs", exact=True).click()
        await page.get_by_role("link", name=re.compile("gated")).click()
        steps = page.get_by_role("list").locator("li.step")
        await expect(steps).to_have_count(2)
        await expect(page.locator("#lamp")).to_have_text("Live")
        await page.evaluate("window.same = true")
        gate("browser").set()
        await expect(steps).to_have_count(3)
        await expect(page.locator("#state")).to_contain_text("completed")
        await expect(page.locator("#announce")).to_have_text("The run is completed")
        assert await page.evaluate("window.same") is True, "the page was loaded anew"
        assert (await site.engine.ended(run.run_id)).status == "completed"


SCRIPT = "<script>window.owned = 1; alert(1)</script>"
RUDE = f"{SCRIPT}<img src='http://127.0.0.2:9/x' onerror='window.owned = 2'>\u202egnp.exe"
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="window.owned=3">{SCRIPT}<image href="http://127.0.0.2:9/i"/></svg>'
# Its catalogue asks a viewer to run a script when the file is opened.
PDF = pdf([f"{SCRIPT} read me"]).replace(
    b"<< /Type /Catalog /Pages 2 0 R >>",
    b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >> >>",
)

# So does this one, whose one page is a picture.
SCAN = scanned(noise()).replace(
    b"/Type /Catalog", b"/Type /Catalog /OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>"
)


def polyglot() -> bytes:
    """A PNG that also is a page with a script, should anything ever take it for one."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + b"\xff\0\0" * 2 + b"\0" + b"\0\xff\0" * 2))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"tEXt", b"Comment\0" + SCRIPT.encode())
        + pixels
        + chunk(b"IEND", b"")
        + SCRIPT.encode()
    )


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_hostile_contribution_does_nothing(site: Site, browser: Browser, *, javascript: bool) -> None:
    pieces = [
        Piece(name=name, data=data, contributor=RUDE, file_type=declared, verdict="REVIEW", score=68.0, reason=RUDE)
        for name, data, declared in (
            ("text", RUDE.encode(), "text/plain"), ("page", f"<!doctype html><body>{RUDE}".encode(), "text/html"),
            ("svg", SVG.encode(), "image/svg+xml"), ("pdf", PDF, "application/pdf"), ("png", polyglot(), "image/png"),
            ("scan", SCAN, "application/pdf"), ("csv", f'name,value\n"{RUDE}",1\n"=cmd|calc",2'.encode(), "text/csv"), ("type", b"{}", RUDE),
        )
    ]  # fmt: skip
    seeded = await seeds.seed_campaign(
        site.database, site.data_dir, pieces, title=RUDE, description=RUDE, data_requirements=RUDE
    )
    _, review = await site.people.asked(owner=seeds.CREATOR, question={
        "title": RUDE[:200], "subject": {RUDE[:100]: RUDE},
        "shown": [
            {"kind": "text", "title": RUDE[:200], "content": RUDE},
            {"kind": "image", "title": "svg", "blob_id": seeded.blobs["svg"], "name": RUDE[:200]},
            {"kind": "image", "title": "png", "blob_id": seeded.blobs["png"]},
            {"kind": "pdf", "title": "pdf", "blob_id": seeded.blobs["pdf"]},
            {"kind": "image", "title": "elsewhere", "url": "http://127.0.0.2:9/remote.png"},
            {"kind": "diff", "title": "diff", "content": [{"path": RUDE, "kind": "changed", "before": RUDE, "after": SVG}]},
            {"kind": "choices", "title": "choices", "content": [{"key": "a", "title": RUDE, "content": SVG}]},
        ],
    })  # fmt: skip
    addresses = [
        "/",
        "/campaigns",
        f"/campaigns/{seeded.campaign_id}",
        f"/reviews/{review.review_id}",
        "/reviews",
        f"/runs/{review.run_id}",
    ]
    addresses += [f"/contributions/{each}" for each in seeded.contributions.values()]
    # Without scripts nothing of ours runs either: what is written must be inert by itself.
    async with at(browser, site, "Ines", seeds.CREATOR) if javascript else plain(browser, site) as page:
        for address in addresses:
            await page.goto(f"/console{address}")
            assert (
                await page.locator("script:not([src]), iframe, object, embed, svg image, [onerror], [onload]").count()
                == 0
            )
            if javascript:
                await page.wait_for_timeout(150)
        await page.goto(f"/console/contributions/{seeded.contributions['svg']}")
        await expect(page.get_by_role("group", name="The text")).to_contain_text("<svg xmlns")
        await page.goto(f"/console/contributions/{seeded.contributions['pdf']}")
        await expect(page.get_by_role("group", name="Content, page by page")).to_contain_text("read me")
        await page.goto(f"/console/contributions/{seeded.contributions['scan']}")
        await expect(page.get_by_role("img", name="Page 1 holds no text")).to_have_js_property("naturalWidth", 240)
        await page.goto(f"/console/contributions/{seeded.contributions['text']}")
        await expect(page.get_by_role("group", name="The text")).to_contain_text("‹U+202E›gnp.exe")
        drawn = await page.request.get(f"{site.url}/console/contributions/{seeded.contributions['png']}/picture")
        assert b"script" not in await drawn.body()
        assert drawn.headers["content-security-policy"].startswith("sandbox")


@asynccontextmanager
async def plain(browser: Browser, site: Site) -> AsyncIterator[Page]:
    """A browser that runs no scripts: forms and links do all."""
    context = await browser.new_context(base_url=site.url, java_script_enabled=False)
    page = await context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto("/console/sign-in")
    await page.get_by_label("Your name").fill("Ines")
    await page.get_by_label("Wallet to act for").fill(seeds.CREATOR)
    await page.get_by_role("button", name="Sign in").click()
    yield page
    assert [url for url in asked if not url.startswith(site.url)] == []
    await context.close()
