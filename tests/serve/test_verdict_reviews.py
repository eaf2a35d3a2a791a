"""From a batch's verdicts REVIEW to what people decided, over HTTP: what a creator's and a reviewer's clients see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.settings import VerificationSettings
from serve.app import build_app
from serve.settings import ServeSettings
from tests.actors.reviews.verdicts import Verdicts, opened
from tests.actors.verification.population import Population, distinct
from tests.serve.console.conftest import signed_in

CREATOR = {"X-Wallet-Address": "0xc"}


@pytest.fixture
async def people(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Verdicts]:
    async with opened(database_url, redis_url, tmp_path) as made:
        yield made


@pytest.fixture
async def client(people: Verdicts) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(
        database=people.database,
        storage_settings=people.storage,
        serve_settings=ServeSettings(),
        verification_settings=VerificationSettings(),
        verification=people.verification,
    )
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
            yield client


async def decide(client: httpx.AsyncClient, people: Verdicts, number: int, answer: str, **more: Any) -> None:
    """The review of the contribution with this number, decided as its reviewer's page would."""
    listed = (await client.get("/teams/reviews", params={"limit": 100}, headers=CREATOR)).json()
    contribution = (await contributions_of(client))[number]["contribution_id"]
    (review_id,) = [each["review_id"] for each in listed if each["contribution_id"] == contribution]
    review = (await client.get(f"/teams/reviews/{review_id}", headers=CREATOR)).json()
    body = {"answer": answer, "review_id": review_id, "saw": review["saw"], **more}
    url = f"/teams/reviews/{review_id}/decide"
    decided = await client.post(url, json=body, headers={**CREATOR, "X-Reviewer": "ann"})
    assert decided.status_code == 200, decided.text
    await people.engine.ended(review["run_id"])


async def contributions_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await client.get("/campaigns/get-contributions/campaign_1", params={"limit": 100})
    listed: list[dict[str, Any]] = answer.json()["contributions"]
    return listed


async def verified(client: httpx.AsyncClient, people: Verdicts) -> str:
    body = {"onchain_campaign_id": "campaign_1"}
    batch_id: str = (await client.post("/agent-workflows/verify-campaign-dataset", json=body)).json()["batch_id"]
    await people.verification.drained()
    return batch_id


async def test_what_people_decide_shows_in_the_contribution_the_batch_and_its_results(
    client: httpx.AsyncClient, people: Verdicts
) -> None:
    await people.campaign([*distinct(2, asking="mark 71"), *distinct(1, asking="mark 95", salt="b")])
    batch_id = await verified(client, people)
    await people.waiting(2)
    before = (await client.get(f"/verification-batches/{batch_id}")).json()
    assert before["verdicts"] == {"ACCEPT": 1, "REJECT": 0, "REVIEW": 2, "ERROR": 0}
    assert [each["is_verified"] for each in await contributions_of(client)] == [False, False, True]
    stranger = await client.get("/teams/reviews", headers={"X-Wallet-Address": "0xstranger"})
    assert stranger.json() == []

    await decide(client, people, 0, "approve")
    await decide(client, people, 1, "reject", reason="not a recipe")
    assert [each["is_verified"] for each in await contributions_of(client)] == [True, False, True]
    after = (await client.get(f"/verification-batches/{batch_id}")).json()
    assert after["verdicts"] == {"ACCEPT": 2, "REJECT": 1, "REVIEW": 0, "ERROR": 0}
    assert after["decided"] == {"ACCEPT": 1, "REJECT": 1, "REVIEW": 0, "ERROR": 0}
    results = (await client.get(f"/verification-batches/{batch_id}/results")).json()
    decided = {each["contributor"]: each for each in results}
    assert decided["0x0001"]["decision"] == "REVIEW"
    made = decided["0x0001"]["decided"]
    assert (made["verdict"], made["by"], made["reason"]) == ("REJECT", "ann", "Rejected by ann: not a recipe")
    assert made["review_id"] == decided["0x0001"]["review_id"]
    assert decided["0x0002"]["decided"] is decided["0x0002"]["review_id"] is None


async def test_a_creator_who_forks_a_review_run_forges_no_decision(client: httpx.AsyncClient, people: Verdicts) -> None:
    await people.campaign(distinct(2, asking="mark 71"))
    await verified(client, people)
    first, second = await people.waiting(2)
    await decide(client, people, 0, "approve")
    others = (await people.engine.runs.get(second.run_id)).input
    outcome = {"kind": "review", "review_id": str(second.review_id), "answer": "approve", "by": ["bob"],
               "settled_by": "agreement", "at": "2026-01-01T00:00:00Z"}  # fmt: skip
    checkpoints = (await client.get(f"/runs/{first.run_id}/checkpoints", headers=CREATOR)).json()
    # So the console offers no fork of it.
    await signed_in(client, wallet="0xc")
    page = (await client.get(f"/console/runs/{first.run_id}")).text
    assert ("Timeline" in page, len(checkpoints) > 1, "/fork" in page) == (True, True, False)
    for checkpoint in checkpoints:
        for given in (others, {**others, "outcome": outcome}, {}):
            body = {"checkpoint_id": checkpoint["checkpoint_id"], "input": given}
            forged = await client.post(f"/runs/{first.run_id}/fork", json=body, headers=CREATOR)
            assert (forged.status_code, forged.json()["code"]) == (409, "run_conflict")
    assert [each["is_verified"] for each in await contributions_of(client)] == [True, False]
    assert (await people.reviews.get(second.review_id)).state == "open"


async def calibrated(people: Verdicts, client: httpx.AsyncClient) -> Population:
    """A campaign whose reviewers approve from 67 on, where 70 is required."""
    marks = [
        65.7,
        66.1,
        66.4,
        66.7,
        67.4,
        67.8,
        68.2,
        68.6,
        69.0,
        69.4,
        69.8,
        70.2,
        70.6,
        71.0,
        71.4,
        71.8,
        72.2,
        72.6,
        73.0,
        73.4,
    ]
    contents = [distinct(1, asking=f"mark {mark}", salt=str(mark))[0] for mark in marks]
    contents += distinct(2, asking="mark 68", salt="undecided")
    population = await people.campaign(contents)
    await verified(client, people)
    await people.waiting(len(contents))
    for number, mark in enumerate(marks):
        if mark >= 67:
            await decide(client, people, number, "approve")
        else:
            await decide(client, people, number, "reject", reason="thin")
    return population


async def test_reviewers_decisions_calibrate_the_campaign_once_its_creator_has_seen_the_effect(
    client: httpx.AsyncClient, people: Verdicts
) -> None:
    await calibrated(people, client)
    url = "/campaigns/campaign_1/calibration"
    assert (await client.get(url)).status_code == 403
    assert (await client.get(url, headers={"X-Wallet-Address": "0xstranger"})).status_code == 403
    assert (await client.get("/campaigns/nowhere/calibration", headers=CREATOR)).status_code == 404
    seen = (await client.get(url, headers=CREATOR)).json()
    assert seen["present"] == {"required_score": 70.0, "review_margin": 5.0, "min_confidence": 0.5}
    # The fairness adjustment moves each score by up to a point.
    assert 65.5 <= seen["proposed"]["required_score"] <= 68.5
    assert seen["proposed"]["review_margin"] < 5
    assert (seen["decisions"], seen["history"]) == (20, [])
    assert seen["effect"]["left_to_people"] + seen["effect"]["decided_alone"] == 2

    # Another decision meanwhile: what was seen is not what would be applied.
    await decide(client, people, 20, "approve")
    stale = await client.post(f"{url}/apply", json={"digest": seen["digest"]}, headers=CREATOR)
    assert (stale.status_code, stale.json()["code"]) == (409, "calibration_changed")
    seen = (await client.get(url, headers=CREATOR)).json()
    assert stale.json()["state"] == {"status": "proposed", "digest": seen["digest"]}
    refused = await client.post(f"{url}/apply", json={"digest": seen["digest"]})
    assert refused.status_code == 403
    assert (await client.post(f"{url}/apply", json={"digest": "x"}, headers=CREATOR)).status_code == 422
    applied = await client.post(f"{url}/apply", json={"digest": seen["digest"]}, headers=CREATOR)
    assert (applied.status_code, applied.json()["thresholds"]) == (200, seen["proposed"])

    after = (await client.get(url, headers=CREATOR)).json()
    assert after["present"] == seen["proposed"]
    (row,) = after["history"]
    assert (row["applied_by"], row["digest"]) == ("0xc", seen["digest"])
    # Later verification goes by them; what people decided stands.
    batch_id = await verified(client, people)
    found = (await client.get(f"/verification-batches/{batch_id}")).json()["verdicts"]
    assert found["REJECT"] == 4
    assert found["ACCEPT"] + found["REVIEW"] == 18
    results = (await client.get(f"/verification-batches/{batch_id}/results", params={"limit": 100})).json()
    required = f"{seen['proposed']['required_score']:g}"
    assert all(f"the required {required}" in each["reasoning"] for each in results)


async def test_without_decisions_nothing_is_proposed_and_nothing_can_be_applied(
    client: httpx.AsyncClient, people: Verdicts
) -> None:
    await people.campaign(distinct(1, asking="mark 71"))
    seen = (await client.get("/campaigns/campaign_1/calibration", headers=CREATOR)).json()
    assert (seen["proposed"], seen["digest"]) == (None, None)
    assert "too few" in seen["reason"]
    applied = await client.post(
        "/campaigns/campaign_1/calibration/apply", json={"digest": "0" * 64}, headers=CREATOR
    )  # fmt: skip
    assert (applied.status_code, applied.json()["state"]["status"]) == (409, "nothing")
