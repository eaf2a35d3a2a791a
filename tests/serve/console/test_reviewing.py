"""What reviewers do at the console, by the forms of its pages as they stand there: no script is run."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from storage.reviews import Review
from tests.actors.verification.documents import noise, pdf, scanned
from tests.conftest import database_from_template
from tests.serve.console import seeds
from tests.serve.console import site as sites
from tests.serve.console.conftest import SAME_ORIGIN, signed_in
from tests.serve.console.forms import form, forms, pressed, shown
from tests.serve.console.seeds import Piece
from tests.serve.console.site import Site

# One site for all of them: each has a wallet of its own, whose reviews alone it sees.
pytestmark = pytest.mark.asyncio(loop_scope="module")

REVIEWS = "/console/reviews"
_numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    with database_from_template(postgres, "reviewing") as url:
        async with sites.opened(url, redis_server, tmp_path_factory.mktemp("site")) as opened:
            yield opened


@dataclass(frozen=True, slots=True)
class Ines:
    """A reviewer at her browser, signed in for a wallet whose runs ask."""

    site: Site
    client: httpx.AsyncClient
    wallet: str

    async def asked(self, title: str, **question: Any) -> Review:
        asks = {"title": title, **question}
        return (await self.site.people.asked(owner=self.wallet, question=asks))[1]

    async def now(self, review: Review) -> Review:
        return await self.site.people.reviews.get(review.review_id)

    async def shown(self, address: str) -> str:
        return await shown(self.client, address)

    async def pressed(self, page: str, button: str, **fields: str) -> str:
        return await pressed(self.client, page, button, **fields)

    async def claimed(self, review: Review) -> str:
        """The review's page, once she has claimed it there."""
        return await self.pressed(await self.shown(f"{REVIEWS}/{review.review_id}"), "Claim")


@pytest_asyncio.fixture(loop_scope="module")
async def ines(site: Site) -> AsyncIterator[Ines]:
    transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
        wallet = f"0x{next(_numbers)}"
        yield Ines(site, await signed_in(client, wallet=wallet), wallet)


async def test_a_review_is_held_longer_approved_and_answered_from_its_page(ines: Ines) -> None:
    first, second = await ines.asked("One?"), await ines.asked("Two?")
    page = await ines.claimed(first)

    async def lease() -> datetime:
        until = (await ines.now(first)).lease_until
        assert until is not None
        return until

    before = await lease()
    page = await ines.pressed(page, "Hold longer")
    assert await lease() > before
    page = await ines.pressed(page, "Approve")
    assert "Your last decision is kept: approved" in page
    assert "Two?" in page
    assert (await ines.site.engine.ended(first.run_id)).status == "completed"
    page = await ines.pressed(page, "Send", message="mind the crust")
    assert "Your decision is kept: responded" in page
    assert "Nothing else waits for you" in page
    done = await ines.now(second)
    assert done.outcome is not None
    assert (done.state, done.outcome["message"], done.outcome["by"]) == ("responded", "mind the crust", ["Ines"])


async def test_what_was_given_back_is_passed_over_until_somebody_begins_anew(ines: Ines) -> None:
    reviews = [await ines.asked(f"Number {number}?") for number in (1, 2, 3)]
    page = await ines.pressed(await ines.shown(REVIEWS), "Claim the next")
    assert "<bdi>Number 1?</bdi></h1>" in page
    queue = await ines.pressed(page, "Give back")
    assert "are passed over" in queue
    page = await ines.pressed(queue, "Claim the next")
    assert "<bdi>Number 2?</bdi></h1>" in page
    page = await ines.pressed(page, "Pass over")
    assert "<bdi>Number 3?</bdi></h1>" in page
    # Deciding goes on after what was passed over, too; then there is nothing more, and the first is the next again.
    queue = await ines.pressed(page, "Approve")
    assert "Your decision is kept: approved" in queue
    assert "No further review is free" in queue
    assert "<bdi>Number 1?</bdi></h1>" in await ines.pressed(queue, "Claim the next")
    assert [(await ines.now(each)).holder for each in reviews] == ["Ines", None, None]


async def test_a_decision_that_waits_for_others_is_confirmed_and_nothing_free_is_said(ines: Ines) -> None:
    review = await ines.asked("Do two agree?", agreement={"needed": 2, "asked": 2})
    queue = await ines.pressed(await ines.claimed(review), "Approve")
    assert "Your decision is kept; the review waits for others" in queue
    other = await ines.asked("Another?")
    await ines.site.people.reviews.claim(other.review_id, by="Bogdan")
    queue = await ines.pressed(await ines.shown(REVIEWS), "Claim the next")
    assert "No further review is free" in queue
    await ines.site.people.reviews.release(other.review_id, by="Bogdan")
    more = await ines.asked("Once more, by two?", agreement={"needed": 2, "asked": 2})
    page = await ines.pressed(await ines.claimed(more), "Approve")
    assert "Your last decision is kept; that review waits for others" in page
    assert "<bdi>Another?</bdi></h1>" in page


async def test_an_answer_that_there_is_not_is_refused_at_its_place(ines: Ines) -> None:
    review = await ines.asked("May it?")
    decide = form(await ines.claimed(review), "Approve")
    for answer in ("postpone", "", "APPROVE"):
        refused = await ines.client.post(decide.action, data=decide.fields | {"answer": answer}, headers=SAME_ORIGIN)
        assert (refused.status_code, "<code>$.answer</code>" in refused.text) == (422, True), refused.text
    without = await ines.client.post(
        decide.action, data=decide.fields | {"answer": "reject", "reason": " "}, headers=SAME_ORIGIN
    )
    assert (without.status_code, "reason: " in without.text) == (422, True)
    assert (await ines.now(review)).state == "open"


async def test_who_is_to_hurry_sees_it_in_the_queue_on_the_review_and_on_the_overview(ines: Ines) -> None:
    for number in range(6):
        await ines.asked(f"Calm {number}?")
    review = await ines.asked("Pressing?", deadline={"timeout_s": 3600, "reminders": [0.5]})

    async def badges(address: str) -> list[str]:
        page = await ines.shown(address)
        return [word for word in ("reminded", "overdue") if f">{word}</span>" in page]

    pages = ("/console/", REVIEWS, f"{REVIEWS}/{review.review_id}")
    assert [await badges(each) for each in pages] == [[], [], []]
    assert review.next_at is not None
    await ines.site.people.pass_time(review.review_id, review.next_at)
    assert (await ines.site.people.reviews.tick())["deadlines"] == 1
    # On the overview it goes before six that were asked earlier.
    assert [await badges(each) for each in pages] == [["reminded"]] * 3
    assert "1 reminded or overdue" in await ines.shown("/console/")
    left = await ines.now(review)
    assert left.due_at is not None
    await ines.site.people.pass_time(review.review_id, left.due_at)
    assert [await badges(each) for each in pages] == [["overdue"]] * 3


async def test_one_answer_of_several_is_picked_with_one_press(ines: Ines) -> None:
    review = await ines.asked("Which is better?", **seeds.comparison())
    page = await ines.claimed(review)
    buttons = [each.button.strip() for each in forms(page)]
    assert [each for each in buttons if each.startswith("Pick")] == ["Pick Answer A", "Pick Answer B"]
    assert not [each for each in buttons if "edited" in each]
    await ines.pressed(page, "Pick Answer B")
    done = await ines.now(review)
    assert done.outcome is not None
    assert (done.state, done.outcome["payload"]) == ("edited", {"choice": "B"})


SOUND = b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x00" + b"\x00" * 4000
FILM = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + b"\x00" * 4000
LINK = f"https://files.example/answer.mp3?{'&'.join(f'part{number}=0123456789abcdef' for number in range(40))}"


async def test_a_part_is_shown_as_what_it_is_played_or_saved(ines: Ines) -> None:
    pieces = [
        Piece(name=name, data=data, contributor="0xc", file_type="")
        for name, data in (
            ("sound", SOUND), ("film", FILM), ("blank", pdf([""])), ("table", b"step,grams\nmix,300\nknead,120\n"),
            ("scan", scanned(noise())),
        )
    ]  # fmt: skip
    blobs = (await seeds.seed_campaign(ines.site.database, ines.site.data_dir, pieces)).blobs
    kept = [{"kind": "text", "title": name, "blob_id": blobs[name]} for name in ("sound", "film", "blank", "table")]
    review = await ines.asked("Listen?", shown=[
        *kept, {"kind": "csv", "title": "inline", "content": "bread,country\nBroa,Portugal\n"},
        {"kind": "text", "title": "elsewhere", "url": LINK},
        {"kind": "marks", "title": "What was measured", "content": [
            {"name": "confidence_min", "mark": 0.52, "limit": 0.7, "passed": False, "reason": "0.52 is below 0.7"},
            {"name": "payload_changes_max", "mark": 2, "limit": 3, "passed": True, "reason": "2 of at most 3"},
            {"name": "safety_flags", "mark": [], "limit": True, "passed": True, "reason": "none was found"}]},
        {"kind": "marks", "title": "Marks", "content": {"fit": 64}},
        {"kind": "pdf", "title": "scan", "blob_id": blobs["scan"]},
    ])  # fmt: skip
    where = f"{REVIEWS}/{review.review_id}"
    page = await ines.shown(where)
    assert f'<audio class="played" controls preload="none" src="{where}/parts/0/media"' in page
    assert f'<video class="played" controls preload="none" src="{where}/parts/1/media"' in page
    assert "the PDF has no text" in page
    assert f'loading="lazy" src="{where}/parts/8/pages/1"' in page
    drawn = await ines.client.get(f"{where}/parts/8/pages/1")
    assert (drawn.status_code, drawn.headers["content-type"], drawn.content[:4]) == (200, "image/png", b"\x89PNG")
    assert drawn.headers["content-security-policy"].startswith("sandbox")
    for path, status in (("8/pages/2", 415), ("8/pages/0", 415), ("3/pages/1", 415), ("4/pages/1", 404)):
        assert (await ines.client.get(f"{where}/parts/{path}")).status_code == status, path
    assert page.count('<th scope="col" dir="auto">grams</th>') == page.count('<td dir="auto">Portugal</td>') == 1
    assert LINK.replace("&", "&amp;") in page
    measured = page[page.index("What was measured</bdi>") : page.index("Marks</bdi>")]
    assert "<td>0.52</td><td>0.7</td>" in measured
    assert "<td>2</td><td>3</td>" in measured
    assert measured.count(">not kept</span>") == 1
    # A bar is of 100, and so are marks; what was measured has units of its own.
    assert "<svg" not in measured
    assert 'width="64.0"' in page

    for number, name in enumerate(("sound", "film", "blank", "table")):
        saved = await ines.client.get(f"{where}/parts/{number}/original")
        assert (saved.status_code, saved.content) == (200, next(each.data for each in pieces if each.name == name))
        assert saved.headers["content-type"] == "application/octet-stream"
        assert saved.headers["content-disposition"].startswith("attachment")
        assert saved.headers["content-security-policy"].startswith("sandbox")
    for number, status in ((4, 404), (5, 404), (99, 404), (-1, 404)):
        assert (await ines.client.get(f"{where}/parts/{number}/original")).status_code == status, number
    for number, media_type in ((0, "audio/mpeg"), (1, "video/mp4")):
        played = await ines.client.get(f"{where}/parts/{number}/media")
        assert (played.status_code, played.headers["content-type"]) == (200, media_type)
        assert played.headers["x-content-type-options"] == "nosniff"
    # A text is no sound because somebody says so.
    assert (await ines.client.get(f"{where}/parts/3/media")).status_code == 415
    for asks, status, begin, end in (
        ("bytes=0-", 206, 0, len(SOUND)), ("bytes=10-13", 206, 10, 14), ("bytes=-4", 206, len(SOUND) - 4, len(SOUND)),
        ("bytes=4000-99999", 206, 4000, len(SOUND)), ("bytes=0-1,5-6", 200, 0, len(SOUND)), ("lines=1-2", 200, 0, len(SOUND)),
        ("bytes=9-3", 200, 0, len(SOUND)), ("bytes=-", 200, 0, len(SOUND)),
    ):  # fmt: skip
        part = await ines.client.get(f"{where}/parts/0/media", headers={"Range": asks})
        assert (part.status_code, part.content) == (status, SOUND[begin:end]), asks
        if status == 206:
            assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(SOUND)}"
    for asks in ("bytes=5000-", "bytes=5000-5001", "bytes=-0"):
        past = await ines.client.get(f"{where}/parts/0/media", headers={"Range": asks})
        assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{len(SOUND)}"), asks


async def test_a_review_that_is_another_wallets_keeps_its_contents(ines: Ines) -> None:
    seeded = await seeds.seed_campaign(ines.site.database, ines.site.data_dir, seeds.PIECES[2:3])
    question = {"title": "Theirs?", "shown": [{"kind": "image", "title": "loaf", "blob_id": seeded.blobs["loaf.png"]}]}
    _, review = await ines.site.people.asked(owner="0xowner", question=question)
    for what in ("picture", "media", "original", "pages/1"):
        assert (await ines.client.get(f"{REVIEWS}/{review.review_id}/parts/0/{what}")).status_code == 403, what
    await signed_in(ines.client, wallet="0xowner")
    assert (await ines.client.get(f"{REVIEWS}/{review.review_id}/parts/0/original")).status_code == 200
