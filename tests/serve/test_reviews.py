"""Reviews over HTTP, with a real host driving the runs that ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from actors.settings import ReviewSettings, VerificationSettings
from serve.app import build_app
from serve.auth import key_name
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.reviews.asking import People
from tests.serve.length_verification import LengthVerification

ANN, OWNER = {"X-Reviewer": "ann"}, {"X-Wallet-Address": "0xowner"}
SCHEMA = {"type": "object", "properties": {"prompt": {"type": "string", "maxLength": 20}}, "required": ["prompt"]}


def nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


async def decide(client: httpx.AsyncClient, review: dict[str, Any], answer: str = "approve", **more: Any) -> Any:
    body = {"answer": answer, "review_id": review["review_id"], "saw": review["saw"], **more}
    return await client.post(f"/teams/reviews/{review['review_id']}/decide", json=body, headers=ANN)


async def test_a_review_is_found_claimed_edited_and_its_run_goes_on(client: httpx.AsyncClient, people: People) -> None:
    run, _ = await people.asked(question={"edit_schema": SCHEMA, "campaign_id": "c1"})
    (listed,) = (await client.get("/teams/reviews?campaign_id=c1&free=true", headers=ANN)).json()
    url = f"/teams/reviews/{listed['review_id']}"
    assert (listed["run_id"], listed["state"], listed["held"]) == (str(run.run_id), "open", False)

    claimed = (await client.post(f"{url}/claim", headers=ANN)).json()
    assert (claimed["holder"], claimed["subject"]) == ("ann", {"prompt": "a cat, 1"})
    second = await client.post(f"{url}/claim", json={"reviewer": "bob"})
    assert (second.status_code, second.json()["conflict"]) == (409, "held")
    assert (second.json()["state"]["status"], second.json()["state"]["holder"]) == ("open", "ann")
    assert (await client.get("/teams/reviews?free=true", headers=ANN)).json() == []
    assert (await client.post(f"{url}/release", json={"reviewer": "bob"})).status_code == 409
    assert (await client.post(f"{url}/release", headers=ANN)).json()["held"] is False

    edited = await decide(client, claimed, "edit", payload={"prompt": "a dog"})
    assert (edited.status_code, edited.json()["state"]) == (200, "edited")
    (made,) = edited.json()["decisions"]
    assert made["changes"] == [{"path": "$.prompt", "kind": "changed", "before": "a cat, 1", "after": "a dog"}]
    ended = await people.engine.ended(run.run_id)
    assert ended.output is not None
    assert ended.output["told"][0]["payload"] == {"prompt": "a dog"}
    late = await decide(client, claimed)
    assert (late.status_code, late.json()["conflict"], late.json()["state"]["status"]) == (409, "repeated", "edited")


async def test_a_runs_record_is_exported_as_json_lines_to_its_owner(client: httpx.AsyncClient, people: People) -> None:
    run, review = await people.asked(owner="0xowner")
    url = f"/runs/{run.run_id}/record"
    assert (await client.get(url)).status_code == 403
    exported = await client.get(url, headers=OWNER)
    assert (exported.status_code, exported.headers["content-type"]) == (200, "application/jsonl")
    told = [json.loads(line) for line in exported.text.splitlines()]
    assert str(review.review_id) in [each["review_id"] for each in told if each["what"] == "question"]


async def test_the_same_decision_under_one_key_is_answered_again(client: httpx.AsyncClient, people: People) -> None:
    _, review = await people.asked()
    body = {"answer": "approve", "review_id": str(review.review_id), "saw": review.saw, "reviewer": "ann"}
    url, headers = f"/teams/reviews/{review.review_id}/decide", {"Idempotency-Key": "k"}
    first = await client.post(url, json=body, headers=headers)
    again = await client.post(url, json=body, headers=headers)
    assert (first.status_code, again.status_code, again.headers["Idempotency-Replayed"]) == (200, 200, "true")
    assert again.json()["decisions"] == first.json()["decisions"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$.answer"),
        ({"answer": "approve", "saw": "SAW"}, "$.review_id"),
        ({"answer": "approve", "review_id": "ID", "saw": "SAW", "force": True}, "$.force"),
        ({"answer": "approve", "review_id": "ID"}, "$.saw"),
        ({"answer": "approve", "review_id": "ID", "saw": "SAW", "payload": {}}, "$.payload"),
        ({"answer": "shrug", "review_id": "ID", "saw": "SAW"}, "$.answer"),
        ({"answer": "reject", "review_id": "ID", "saw": "SAW"}, "$.reason"),
        ({"answer": "reject", "review_id": "ID", "saw": "SAW", "reason": " "}, "$.reason"),
        ({"answer": "reject", "review_id": "ID", "saw": "SAW", "reason": "\x00"}, "$.reason"),
        ({"answer": "edit", "review_id": "ID", "saw": "SAW"}, "$.payload"),
        ({"answer": "edit", "review_id": "ID", "saw": "SAW", "payload": {"prompt": 1}}, "$.payload.prompt"),
        ({"answer": "edit", "review_id": "ID", "saw": "SAW", "payload": {"prompt": "a", "x": 1}}, "$.payload.x"),
        ({"answer": "edit", "review_id": "ID", "saw": "SAW", "payload": {"prompt": nested(100)}}, "$.payload"),
        ({"answer": "edit", "review_id": "ID", "saw": "SAW", "payload": {"prompt": "\x00"}}, "$.payload"),
        ({"answer": "edit", "review_id": "ID", "saw": "SAW", "payload": {"p": "x" * 2**20}}, "$.payload"),
        ({"answer": "edit", "review_id": "ID", "saw": "SAW", "payload": ["a"]}, "$.payload"),
    ],
)
async def test_a_bad_decision_is_refused_at_its_place_and_changes_nothing(
    client: httpx.AsyncClient, people: People, body: dict[str, Any], path: str
) -> None:
    _, review = await people.asked(question={"edit_schema": SCHEMA})
    ids = {"ID": str(review.review_id), "SAW": review.saw}
    sent = {name: ids.get(value, value) if isinstance(value, str) else value for name, value in body.items()}
    headers = {**ANN, "Content-Type": "application/json"}
    refused = await client.post(
        f"/teams/reviews/{review.review_id}/decide", content=json.dumps(sent), headers=headers
    )  # fmt: skip
    assert refused.status_code == 422, refused.text
    assert path in [each["path"] for each in refused.json()["errors"]], refused.json()["errors"]
    assert (await people.reviews.get(review.review_id)).state == "open"


async def test_decisions_for_another_review_or_by_nobody_are_refused(client: httpx.AsyncClient, people: People) -> None:
    run, review = await people.asked()
    url = f"/teams/reviews/{review.review_id}/decide"
    body = {"answer": "approve", "review_id": str(uuid4()), "saw": review.saw}
    foreign = await client.post(url, json=body, headers=ANN)
    assert (foreign.status_code, foreign.json()["conflict"]) == (409, "foreign")
    nobody = await client.post(url, json={**body, "review_id": str(review.review_id)})
    assert (nobody.status_code, nobody.json()["errors"][0]["path"]) == (422, "$.reviewer")
    unknown = await client.post(f"/teams/reviews/{uuid4()}/decide", json=body, headers=ANN)
    assert unknown.status_code == 404
    around = await client.post(f"/runs/{run.run_id}/resume", json={"answers": {review.interrupt_id: {}}})
    assert (around.status_code, around.json()["subject"]) == (409, str(review.review_id))


async def test_reviews_are_seen_by_their_owner_and_by_who_is_asked(client: httpx.AsyncClient, people: People) -> None:
    _, review = await people.asked(owner="0xowner", question={"reviewers": ["ann"]})
    url = f"/teams/reviews/{review.review_id}"
    for headers, status in ((ANN, 200), (OWNER, 200), ({}, 403), ({"X-Wallet-Address": "0xother"}, 403)):
        assert (await client.get(url, headers=headers)).status_code == status
        assert len((await client.get("/teams/reviews", headers=headers)).json()) == (status == 200)
    body = {"answer": "approve", "review_id": str(review.review_id), "saw": review.saw}
    owner = await client.post(f"{url}/decide", json=body, headers=OWNER)
    assert (owner.status_code, owner.json()["conflict"]) == (409, "foreign")
    assert (await client.post(f"{url}/decide", json=body, headers={"X-Reviewer": "eve"})).status_code == 403
    assert (await client.post(f"{url}/decide", json=body, headers=ANN)).status_code == 200


@pytest.fixture
async def keyed(
    database: Database, storage_settings: StorageSettings, verification: LengthVerification
) -> AsyncIterator[FastAPI]:
    app = build_app(
        database=database, storage_settings=storage_settings, verification_settings=VerificationSettings(),
        serve_settings=ServeSettings.model_validate({"api_keys": ["secret"]}), verification=verification,
    )  # fmt: skip
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def one_voice(
    database: Database, storage_settings: StorageSettings, verification: LengthVerification
) -> AsyncIterator[FastAPI]:
    app = build_app(
        database=database, storage_settings=storage_settings, verification_settings=VerificationSettings(),
        serve_settings=ServeSettings.model_validate({"api_keys": ["secret", "other"]}), verification=verification,
        review_settings=ReviewSettings(keys_speak_for_many=False),
    )  # fmt: skip
    async with app.router.lifespan_context(app):
        yield app


async def test_an_api_key_sees_all_reviews(keyed: FastAPI, people: People) -> None:
    await people.asked(owner="0xowner")
    transport = httpx.ASGITransport(keyed, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
        assert (await client.get("/teams/reviews")).status_code == 401
        key = {"X-API-Key": "secret"}
        assert len((await client.get("/teams/reviews", headers=key)).json()) == 1
        assert (await client.get("/teams/reviews", headers={**key, **OWNER, "X-Wallet-Address": "0xo"})).json() == []
        claimed = await client.post("/teams/reviews/claim", headers=key, json={"reviewer": "ann"})
        assert claimed.json()["holder"] == "ann"
        assert (await client.post("/teams/reviews/claim", headers=key)).status_code == 204


@pytest.fixture
async def grouped(
    database: Database, storage_settings: StorageSettings, verification: LengthVerification
) -> AsyncIterator[FastAPI]:
    app = build_app(
        database=database, storage_settings=storage_settings, verification_settings=VerificationSettings(),
        serve_settings=ServeSettings.model_validate({"api_keys": ["secret"]}), verification=verification,
        review_settings=ReviewSettings(groups={"leads": ("ann", "bob")}),
    )  # fmt: skip
    async with app.router.lifespan_context(app):
        yield app


@pytest.mark.parametrize("escalated", [True, False])
async def test_what_is_with_a_group_is_seen_and_decided_by_its_members_alone(
    grouped: FastAPI, people: People, escalated: bool
) -> None:
    deadline = {"timeout_s": 1000, "on_timeout": "escalate", "escalate_to": ["leads"], "reminders": []}
    question = {"deadline": deadline, "reviewers": ["eve"]} if escalated else {"group": "leads"}
    run, review = await people.asked(owner="0xowner", question=question)
    if escalated:
        assert review.due_at is not None
        await people.pass_time(review.review_id, review.due_at)
        assert (await people.reviews.tick())["deadlines"] == 1
    url, key, wallet = f"/teams/reviews/{review.review_id}", {"X-API-Key": "secret"}, {"X-Wallet-Address": "0xother"}
    body = {"answer": "approve", "review_id": str(review.review_id), "saw": review.saw}
    transport = httpx.ASGITransport(grouped, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test", headers=key) as client:
        for name, seen in (("ann", 1), ("eve", 0)):
            headers = {**wallet, "X-Reviewer": name}
            assert len((await client.get("/teams/reviews", headers=headers)).json()) == seen, name
            assert (await client.get(url, headers=headers)).status_code == (200 if seen else 403)
        # The owner and a key that sees everything see it too, and do not decide it.
        for headers in (OWNER, {"X-Reviewer": "eve"}):
            assert len((await client.get("/teams/reviews", headers=headers)).json()) == 1
            for asking, sent in (("decide", body), ("claim", {})):
                refused = await client.post(f"{url}/{asking}", json=sent, headers=headers)
                assert (refused.status_code, refused.json()["conflict"]) == (409, "foreign")
            assert (await client.post("/teams/reviews/claim", headers=headers)).status_code == 204
        headers = {**wallet, "X-Reviewer": "bob"}
        claimed = await client.post("/teams/reviews/claim", headers=headers)
        assert (claimed.status_code, claimed.json()["review_id"]) == (200, str(review.review_id))
        decided = await client.post(f"{url}/decide", json=body, headers=headers)
        assert (decided.status_code, decided.json()["state"]) == (200, "approved")
    assert (await people.engine.ended(run.run_id)).status == "completed"


async def test_who_spoke_is_on_record_and_a_key_may_be_held_to_one_voice(
    keyed: FastAPI, one_voice: FastAPI, people: People
) -> None:
    question = {"agreement": {"needed": 2, "asked": 2}}
    for app, status in ((keyed, 200), (one_voice, 409)):
        _, review = await people.asked(owner="0xowner", question=question)
        url = f"/teams/reviews/{review.review_id}"
        body = {"answer": "approve", "review_id": str(review.review_id), "saw": review.saw}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test") as client:
            first = {"X-API-Key": "secret", **OWNER}
            for asking in ("claim", "release", "claim"):
                assert (await client.post(f"{url}/{asking}", headers={**first, **ANN})).status_code == 200
            assert (await client.post(f"{url}/decide", json=body, headers={**first, **ANN})).status_code == 200
            again = await client.post(f"{url}/decide", json=body, headers={"X-API-Key": "secret", "X-Reviewer": "bob"})
            assert again.status_code == status
            if status == 409:
                assert again.json()["conflict"] == "repeated"
                other = {"X-API-Key": "other", "X-Reviewer": "bob"}
                assert (await client.post(f"{url}/decide", json=body, headers=other)).json()["state"] == "approved"
            done = (await client.get(url, headers={"X-API-Key": "secret"})).json()
        spoke = [(each["kind"], each["who"], each["details"]["principal"]) for each in done["actions"]
                 if "principal" in each["details"]]  # fmt: skip
        ann = {"kind": "api_key", "key_id": key_name("secret"), "wallet": "0xowner"}
        bob = {"kind": "api_key", "key_id": key_name("secret"), "wallet": None}
        kinds = ("claimed", "released", "claimed", "decided")
        last = [("decided", "bob", bob)]
        if status == 409:
            last = [("refused", "bob", bob), ("decided", "bob", {**bob, "key_id": key_name("other")})]
        assert spoke == [*((kind, "ann", ann) for kind in kinds), *last]


async def test_blind_reviewers_do_not_see_each_other(client: httpx.AsyncClient, people: People) -> None:
    _, review = await people.asked(question={"blind": True, "agreement": {"needed": 2, "asked": 2}})
    url = f"/teams/reviews/{review.review_id}"
    await client.post(f"{url}/claim", headers=ANN)
    assert "ann" not in (await client.get(url, headers={"X-Reviewer": "bob"})).text
    for action in ("claim", "release"):
        held = await client.post(f"{url}/{action}", headers={"X-Reviewer": "bob"})
        assert (held.status_code, held.json()["conflict"], "ann" in held.text) == (409, "held", False)
    for name, found in (("bob", 0), ("ann", 1)):  # nobody else finds out by asking for what ann holds
        looked = await client.get("/teams/reviews?holder=ann", headers={"X-Reviewer": name})
        assert len(looked.json()) == found
    body = {"answer": "approve", "review_id": str(review.review_id), "saw": review.saw}
    await client.post(f"{url}/decide", json=body, headers=ANN)
    record = (await client.get(f"/runs/{review.run_id}/record")).text
    assert ('"question"' in record, '"decision"' in record, '"ann"' in record) == (True, False, False)
    seen = await client.get(url, headers={"X-Reviewer": "bob"})
    assert (seen.json()["decisions"], "ann" in seen.text) == ([], False)
    settled = await client.post(f"{url}/decide", json=body, headers={"X-Reviewer": "bob"})
    assert [each["reviewer"] for each in settled.json()["decisions"]] == ["ann", "bob"]
    record = (await client.get(f"/runs/{review.run_id}/record")).text
    assert (record.count('"what":"decision"'), '"ann"' in record) == (2, True)


async def test_a_blind_review_whose_run_was_cancelled_hides_what_a_retry_asks_again(
    client: httpx.AsyncClient, people: People
) -> None:
    run, review = await people.asked(question={"blind": True, "agreement": {"needed": 2, "asked": 2}})
    url = f"/teams/reviews/{review.review_id}"
    body = {"answer": "approve", "review_id": str(review.review_id), "saw": review.saw}
    assert (await client.post(f"{url}/decide", json=body, headers=ANN)).status_code == 200
    await people.engine.runs.cancel(run.run_id)
    assert (await people.engine.ended_not_waiting(run.run_id)).status == "cancelled"
    for address in (url, f"/runs/{run.run_id}/record"):
        assert "ann" not in (await client.get(address, headers={"X-Reviewer": "bob"})).text, address
    async with people.engine.database.begin() as session:  # too old to be retried
        await session.execute(text("UPDATE runs SET retained = 'none' WHERE run_id = :id"), {"id": run.run_id})
    assert "ann" in (await client.get(f"/runs/{run.run_id}/record")).text


async def test_the_queue_is_paged_in_the_order_in_which_it_was_asked(client: httpx.AsyncClient, people: People) -> None:
    asked = [str((await people.asked())[1].review_id) for _ in range(3)]
    page = await client.get("/teams/reviews?limit=2")
    rest = await client.get(page.links["next"]["url"])
    assert [each["review_id"] for each in (*page.json(), *rest.json())] == asked
