"""Every page: what is on it, whose it is, that it is quick, and that errors are pages too."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from storage import campaign_thresholds, campaigns
from storage.engine import Database
from tests.serve.console import seeds
from tests.serve.console.conftest import SAME_ORIGIN, signed_in
from tests.serve.console.forms import form, press, pressed, shown
from tests.serve.console.site import Site

EMPTY = {
    "/": "Nothing runs.", "/campaigns": "There are no campaigns yet.", "/runs": "There are no runs yet.",
    "/reviews": "Nothing waits for a person.", "/workflows": "No wallet was named.", "/schedules": "There are no schedules yet.",
}  # fmt: skip


async def test_where_there_is_nothing_the_page_says_what_to_do(ines: httpx.AsyncClient) -> None:
    for path, words in EMPTY.items():
        page = await ines.get(f"/console{path}")
        assert (page.status_code, words in page.text) == (200, True), path


async def test_what_is_not_there_and_what_cannot_be_is_a_page(ines: httpx.AsyncClient) -> None:
    nobody = "01890000-0000-7000-8000-000000000000"
    for path, status in (
        ("/nowhere", 404), (f"/runs/{nobody}", 404), ("/runs/nonsense", 422), (f"/campaigns/{nobody}", 404),
        (f"/contributions/{nobody}/picture", 404), (f"/reviews/{nobody}", 404), ("/workflows/none", 404),
        ("/schedules/none", 404), ("/runs?after=x", 422),
    ):  # fmt: skip
        page = await ines.get(f"/console{path}")
        assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
        assert "To the overview" in page.text


async def test_a_campaign_tells_of_its_contributions_their_marks_and_duplicates(
    client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    seeded = await seeds.seed_campaign(database, tmp_path)
    await signed_in(client, wallet=seeds.CREATOR)
    page = (await client.get(f"/console/campaigns/{seeded.campaign_id}")).text
    assert "An advertisement: no recipe" in page
    assert "completeness is as asked" in page
    assert re.search(r'accept</span><span class="count">4', page)
    named = re.search(r"<bdi>(campaign_\d+)</bdi>", page)
    assert named is not None
    answer = await client.get(f"/console/campaigns/named/{named[1]}")
    assert answer.headers["location"] == f"/console/campaigns/{seeded.campaign_id}"
    only = (await client.get(f"/console/campaigns/{seeded.campaign_id}?verdict=NONE")).text
    assert str(seeded.contributions["new.txt"]) in only
    assert str(seeded.contributions["advert.txt"]) not in only
    pairs = (await client.get(f"/console/campaigns/{seeded.campaign_id}/duplicates")).text
    assert "<mark>BEST</mark>" in pairs.replace("BEST RYE BREAD", "BEST") or "<mark>BEST" in pairs
    table = (await client.get(f"/console/contributions/{seeded.contributions['broa.csv']}")).text
    assert '<th scope="col" dir="auto">what I look for</th>' in table
    paged = (await client.get(f"/console/contributions/{seeded.contributions['ciabatta.pdf']}")).text
    assert "<h3>Page 2</h3>" in paged


async def test_a_calibrated_campaign_shows_the_score_in_force_and_the_one_it_was_opened_with(
    client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    seeded = await seeds.seed_campaign(database, tmp_path)
    await signed_in(client, wallet=seeds.CREATOR)
    of_one = f"/console/campaigns/{seeded.campaign_id}"
    assert "calibrated; opened" not in (await client.get(of_one)).text
    thresholds = {"required_score": 62.5, "review_margin": 4.0, "min_confidence": 0.5}
    async with database.begin() as session:
        campaign = await campaigns.get(session, seeded.campaign_id)
        await campaign_thresholds.apply(session, campaign, thresholds, digest="d", proposal={}, by=seeds.CREATOR)
    page = (await client.get(of_one)).text
    assert re.search(r"Accepted from</dt><dd>62.5 of 100 <span[^>]*>as calibrated; opened with 70<", page)
    assert "required 62.5</text>" in page
    assert re.search(r">62.5 <span[^>]*>was 70<", (await client.get("/console/campaigns")).text)


async def test_a_proposal_is_applied_from_its_page_as_it_was_seen(
    client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    pieces = [
        seeds.Piece(name=f"{n}", data=f"bread {n}".encode(), contributor=f"0x{n}", file_type="text/plain",
                    verdict="REVIEW", score=65.2 + 0.4 * n, reason="within the margin") for n in range(25)
    ]  # fmt: skip
    seeded = await seeds.seed_campaign(database, tmp_path, pieces)
    await signed_in(client, wallet=seeds.CREATOR)
    address = f"/console/campaigns/{seeded.campaign_id}/calibration"
    assert "Apply the proposal" not in await shown(client, address)
    await seeds.seed_decisions(database, seeded.campaign_id, approved_from=68.0)
    page = await shown(client, address)
    stale = await press(client, page, "Apply the proposal", digest="0" * 64)
    assert (stale.status_code, "has changed since it was shown" in stale.text) == (409, True)
    # It is refused with the proposal as it stands now, which can be applied.
    assert form(stale.text, "Apply the proposal").fields == form(page, "Apply the proposal").fields
    applied = await pressed(client, stale.text, "Apply the proposal")
    assert "The thresholds are in force" in applied
    async with database.read() as session:
        (row,) = await campaign_thresholds.history(session, seeded.campaign_id, limit=5)
    assert (row.applied_by, 67 <= row.required_score <= 69) == ("Ines", True)
    assert f">{row.required_score:g}</td>" in applied


async def test_the_next_review_is_of_the_checkpoint_that_the_queue_was_narrowed_to(site: Site) -> None:
    first, between, last = [
        (await site.people.asked(at=[checkpoint]))[1] for checkpoint in ("cost", "payload_review", "cost")
    ]
    transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
        await signed_in(client)
        queue = (await client.get("/console/reviews?checkpoint=cost")).text
        assert str(between.review_id) not in queue
        claimed = await press(client, queue, "Claim the next")
        assert claimed.headers["location"] == f"/console/reviews/{first.review_id}?checkpoint=cost"
        page = await shown(client, claimed.headers["location"])
        decided = await press(client, page, "Reject", reason="too dear")
        assert decided.headers["location"] == f"/console/reviews/{last.review_id}?checkpoint=cost&done=rejected"


async def test_contents_are_for_their_contributor_and_the_campaigns_creator(
    client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    seeded = await seeds.seed_campaign(database, tmp_path, seeds.PIECES[:3])
    path = f"/console/contributions/{seeded.contributions['loaf.png']}"
    for wallet, status in ((None, 403), ("0xsomebody", 403), ("0x77c0mateo", 200), (seeds.CREATOR, 200)):
        await signed_in(client, **({} if wallet is None else {"wallet": wallet}))
        assert (await client.get(f"{path}/picture")).status_code == status, wallet
        assert (await client.get(f"{path}/original")).status_code == status, wallet
        page = await client.get(path)
        assert (page.status_code, "The content is not shown" in page.text) == (200, status == 403)
    saved = await client.get(f"{path}/original")
    assert saved.headers["content-disposition"].startswith("attachment")
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-security-policy"].startswith("sandbox")


async def test_runs_are_shown_and_steered_by_whom_they_belong_to(site: Site) -> None:
    theirs = await site.engine.runs.start("failing", {}, {"trail": []}, owner="0xowner", deadline_s=900)
    await site.engine.ended(theirs.run_id)
    transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
        await signed_in(client, wallet="0xelse")
        assert (await client.get(f"/console/runs/{theirs.run_id}")).status_code == 403
        assert (await client.post(f"/console/runs/{theirs.run_id}/retry", headers=SAME_ORIGIN)).status_code == 403
        assert str(theirs.run_id) not in (await client.get("/console/runs")).text
        await signed_in(client, wallet="0xowner")
        page = (await client.get(f"/console/runs/{theirs.run_id}")).text
        assert "no such luck" in page
        assert "Retry from where it stopped" in page
        assert "with another 15 min" in page
        from tests.actors.runs.engine import gate  # noqa: PLC0415  # of this test's engine

        gate("mended").set()
        assert (await client.post(f"/console/runs/{theirs.run_id}/retry", headers=SAME_ORIGIN)).status_code == 303
        again = await site.engine.ended(theirs.run_id)
        assert again.status == "completed"
        assert again.deadline_at is not None
        assert theirs.deadline_at is not None
        assert again.deadline_at > theirs.deadline_at
        forked = await client.post(f"/console/runs/{theirs.run_id}/fork", headers=SAME_ORIGIN, data={"checkpoint_id": (
            (await site.engine.runs.checkpoints(theirs.run_id))[-1].checkpoint_id)})  # fmt: skip
        assert forked.status_code == 303
        assert "Forked from" in (await client.get(forked.headers["location"])).text
        refused = await client.post(f"/console/runs/{theirs.run_id}/retry", headers=SAME_ORIGIN)
        assert (refused.status_code, "only a failed or cancelled one" in refused.text) == (409, True)


async def test_a_workflow_is_drawn_and_run_from_its_page_once(site: Site) -> None:
    workflow = await seeds.seed_workflow(site.database, payload={**seeds.newsroom(), "inputs": ["city"]})
    transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
        await signed_in(client, wallet=seeds.CREATOR)
        page = (await client.get(f"/console/workflows/{workflow}")).text
        assert page.count('<rect class="box"') == 5
        run_id = re.search(r'name="run_id" value="([^"]+)"', page)
        assert run_id is not None
        fields = {"run_id": run_id[1], "task_description": "Bread"}
        path = f"/console/workflows/{workflow}/run"
        missing = await client.post(path, data=fields, headers=SAME_ORIGIN)
        assert (missing.status_code, "$.initial_scratchpad.city" in missing.text, "Bread</textarea>" in missing.text) == (
            422, True, True,
        )  # fmt: skip
        broken = await client.post(path, data={**fields, "scratchpad": "{"}, headers=SAME_ORIGIN)
        assert (broken.status_code, "is no JSON" in broken.text) == (422, True)
        for _ in range(2):
            started = await client.post(path, data={**fields, "input.city": "Riga"}, headers=SAME_ORIGIN)
            assert started.headers["location"] == f"/console/runs/{run_id[1]}"
        found = await site.engine.runs.list(owner=seeds.CREATOR)
        assert [(str(run.run_id), run.input["initial_scratchpad"]) for run in found] == [(run_id[1], {"city": "Riga"})]


async def test_a_schedule_is_paused_resumed_and_run_from_its_page(
    client: httpx.AsyncClient, database: Database
) -> None:
    await seeds.seed_schedules(database)
    await signed_in(client)
    page = (await client.get("/console/schedules")).text
    name = next(iter(re.findall(r'/console/schedules/([^"/]+)/pause', page)))
    for action, words in (("pause", "paused"), ("run", "by hand"), ("resume", "Pause</button>")):
        answer = await client.post(f"/console/schedules/{name}/{action}", headers=SAME_ORIGIN)
        assert answer.status_code == 303
        assert words in (await client.get(answer.headers["location"])).text


@pytest.fixture
async def full(app: FastAPI, database: Database, tmp_path: Path) -> seeds.Seeded:
    pieces = [
        seeds.Piece(name=f"{n}", data=f"bread {n}".encode(), contributor=f"0x{n % 9}", file_type="text/plain",
                    verdict=("ACCEPT", "REJECT", "REVIEW")[n % 3], score=float(n % 100), reason="as it is") for n in range(300)
    ]  # fmt: skip
    return await seeds.seed_campaign(database, tmp_path, pieces)


@pytest.mark.timed
async def test_pages_take_the_server_less_than_100_ms(client: httpx.AsyncClient, full: seeds.Seeded) -> None:
    await signed_in(client, wallet=seeds.CREATOR)
    for path in ("/", "/campaigns", f"/campaigns/{full.campaign_id}", "/runs", "/reviews", "/workflows", "/schedules"):
        took = []
        for _ in range(6):
            began = time.process_time()
            assert (await client.get(f"/console{path}")).status_code == 200
            took.append(time.process_time() - began)
        # Of this process alone, client included: the machine may be busy with others.
        assert min(took) < 0.1, (path, took)


@pytest.mark.timed
async def test_a_queue_of_a_thousand_takes_the_server_less_than_100_ms(site: Site) -> None:
    question = {**seeds.comparison(), "deadline": {"timeout_s": 86400}}
    await site.people.waiting(1000, at=["comparison"], question=question)
    transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
        await signed_in(client)
        for path in ("/reviews", "/", "/reviews?checkpoint=comparison&after=500"):
            took = []
            for _ in range(6):
                began = time.process_time()
                page = await client.get(f"/console{path}")
                took.append(time.process_time() - began)
                assert (page.status_code, page.text.count('<tr id="r-')) == (200, 6 if path == "/" else 50)
            assert min(took) < 0.1, (path, took)
