"""Team runs over HTTP: started, decided, followed, recorded; bad input, conflicts and webhooks."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
import redis.asyncio
from fastapi import FastAPI
from sqlalchemy import text

from actors.reviews.service import Reviews
from actors.reviews.teams.state import STATES
from actors.runs.events import channel_of, live_event
from actors.runs.kinds import RunSetup
from actors.settings import ActorsSettings
from serve.app import build_app
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.reviews import teams
from tests.actors.reviews.teams import KEY, asking, open_kinds
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.serve.event_stream import listening, stream
from tests.serve.length_verification import LengthVerification
from tests.stubs import openai as openai_chat
from tests.stubs.openai import OpenAIStub
from tests.stubs.openai_platform import OpenAIPlatformStub, response
from tests.stubs.replicate import End, ReplicateStub

ANN = {"X-Reviewer": "ann"}
WALLET = {"X-Wallet-Address": "0xa"}
HUMAN: dict[str, Any] = {"policy": "REQUIRE_HUMAN", "allowed_steps": ["payload_review"]}


@pytest.fixture
async def openai() -> AsyncIterator[OpenAIPlatformStub]:
    async with OpenAIPlatformStub(KEY, response("Lima.")) as stub:
        yield stub


@pytest.fixture
async def replicate() -> AsyncIterator[ReplicateStub]:
    async with ReplicateStub(KEY) as stub:
        yield stub


@pytest.fixture
async def actors(openai: OpenAIPlatformStub, replicate: ReplicateStub) -> AsyncIterator[ActorsSettings]:
    async with OpenAIStub(lambda _: openai_chat.judgement(80.0)) as chat:
        yield teams.actors_of(openai, replicate, chat)


@pytest.fixture
def storage_settings(database_url: str, redis_url: str, tmp_path: Path) -> StorageSettings:
    return teams.storage_of(database_url, redis_url, tmp_path)


@pytest.fixture
async def engine(storage_settings: StorageSettings, actors: ActorsSettings) -> AsyncIterator[Engine]:
    async with engines.opened(RunSetup(storage=storage_settings, actors=actors, open_kinds=open_kinds)) as opened:
        await opened.host()
        yield opened


def app_over(database: Database, storage: StorageSettings, actors: ActorsSettings, **settings: Any) -> FastAPI:
    return build_app(
        database=database, storage_settings=storage, serve_settings=ServeSettings(**settings),
        verification_settings=actors.verification, verification=LengthVerification(database),
        agents_settings=actors.agents, provider_settings=actors.providers,
    )  # fmt: skip


@asynccontextmanager
async def serving(
    database: Database, storage: StorageSettings, actors: ActorsSettings, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    app = app_over(database, storage, actors, **settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test", timeout=60) as client:
            yield client


@pytest.fixture
async def client(
    database: Database, storage_settings: StorageSettings, actors: ActorsSettings
) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database, storage_settings, actors, run_wait_s=30) as client:
        yield client


def body(run_input: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    return {"run_input": asking(**(run_input or {})), "hitl_config": {"policy": "AUTO", **config}}


async def run(client: httpx.AsyncClient, run_input: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    found = await client.post("/teams/run", json=body(run_input, **config))
    assert found.status_code == 200, found.text
    answer: dict[str, Any] = found.json()
    return answer


def names(review: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"review_id": review["review_id"], "saw": review["saw"], **more}


async def until_ended(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = (await client.get(f"/teams/runs/{run_id}")).json()
            if found["state"] in {"completed", "failed", "cancelled"}:
                return found
            await asyncio.sleep(0.05)


async def test_a_run_that_asks_nobody_answers_with_its_response(client: httpx.AsyncClient, engine: Engine) -> None:
    done = await run(client)
    assert (done["state"], done["status"]) == ("completed", "completed")
    assert done["output"]["response"]["text"] == "Lima."
    assert {each["checkpoint"] for each in done["output"]["rulings"]} == {
        "information_review", "payload_review", "response_review",
    }  # fmt: skip


async def test_a_run_says_what_it_waits_for_and_goes_through_all_four_decisions(
    client: httpx.AsyncClient, engine: Engine, openai: OpenAIPlatformStub
) -> None:
    waiting = await run(client, policy="REQUIRE_HUMAN")
    assert (waiting["state"], waiting["checkpoint"]) == ("information_review", "information_review")
    [review] = waiting["reviews"]
    assert review["subject"] == {"input": "What is the capital of Peru?"}
    at = f"/teams/runs/{waiting['run_id']}"
    assert (await client.post(f"{at}/approve", json=names(review), headers=ANN)).status_code == 200

    async def next_review(checkpoint: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                now = (await client.get(at)).json()
                if now["reviews"] and now["reviews"][0]["checkpoint"] == checkpoint:
                    assert now["state"] in STATES
                    return dict(now["reviews"][0])
                await asyncio.sleep(0.05)

    review = await next_review("payload_review")
    edited = {"input": "And of Chile?", "temperature": 1.0}
    assert (await client.post(f"{at}/edit", json=names(review, payload=edited), headers=ANN)).status_code == 200
    review = await next_review("response_review")
    told = await client.post(f"{at}/respond", json=names(review, message="Shorter."), headers=ANN)
    assert told.status_code == 200
    review = await next_review("payload_review")
    assert review["subject"] == {"input": "And of Chile?\n\nShorter.", "temperature": 1.0}
    refused = await client.post(f"{at}/reject", json=names(review, reason="enough"), headers=ANN)
    assert refused.status_code == 200
    ended = await until_ended(client, waiting["run_id"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "rejected")
    assert len(openai.paid) == 1


async def test_a_decision_that_is_late_foreign_repeated_or_of_something_else_is_a_conflict(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    one, other = await run(client, **HUMAN), await run(client, **HUMAN)
    [review] = one["reviews"]
    at = f"/teams/runs/{one['run_id']}"
    foreign = await client.post(f"{at}/approve", json=names(other["reviews"][0]), headers=ANN)
    assert (foreign.status_code, foreign.json()["state"]["state"]) == (409, "payload_review")
    changed = await client.post(f"{at}/approve", json=names({**review, "saw": "0" * 64}), headers=ANN)
    assert (changed.status_code, changed.json()["state"]["status"]) == (409, "open")
    unknown = await client.post(f"{at}/approve", json=names({**review, "review_id": str(uuid4())}), headers=ANN)
    assert unknown.status_code == 404
    keyed = {**ANN, "Idempotency-Key": "k"}
    taken, again = [await client.post(f"{at}/approve", json=names(review), headers=keyed) for _ in range(2)]
    assert (taken.status_code, again.status_code, again.headers["idempotency-replayed"]) == (200, 200, "true")
    assert again.json() == taken.json()
    for who in ("ann", "bob"):
        again = await client.post(f"{at}/approve", json=names(review), headers={"X-Reviewer": who})
        assert (again.status_code, again.json()["state"]["status"]) == (409, "approved")
    ended = await until_ended(client, one["run_id"])
    assert ended["state"] == "completed"
    late = await client.post(f"{at}/cancel")
    assert (late.status_code, late.json()["state"]["status"]) == (409, "completed")


@pytest.mark.parametrize(
    ("answer", "sent", "path"),
    [
        ("approve", {"saw": "x"}, "$.review_id"),
        ("approve", {"review_id": str(uuid4())}, "$.saw"),
        ("edit", {"payload": {"input": "Chile?", "colour": "red"}}, "$.payload.colour"),
        ("edit", {"payload": {"input": 5}}, "$.payload.input"),
        ("edit", {"payload": {"input": "Chile?", "temperature": 9}}, "$.payload.temperature"),
        ("edit", {}, "$.payload"),
        ("reject", {"reason": "  "}, "$.reason"),
        ("respond", {"message": ""}, "$.message"),
    ],
)
async def test_a_decision_that_cannot_be_taken_names_what_is_wrong(
    client: httpx.AsyncClient, engine: Engine, answer: str, sent: dict[str, Any], path: str
) -> None:
    waiting = await run(client, **HUMAN)
    [review] = waiting["reviews"]
    whole = sent if "saw" in sent or "review_id" in sent else names(review, **sent)
    found = await client.post(f"/teams/runs/{waiting['run_id']}/{answer}", json=whole, headers=ANN)
    assert found.status_code == 422, found.text
    assert path in [each["path"] for each in found.json()["errors"]]


@pytest.mark.parametrize(
    ("run_input", "config", "path"),
    [
        ({"provider": "acme"}, {}, "$.run_input.provider"),
        ({"model": "gpt-99"}, {}, "$.run_input.model"),
        ({"operation": "sing"}, {}, "$.run_input.model"),
        ({"colour": 1}, {}, "$.run_input.colour"),
        ({"attachments": [{"ref": "http://10.0.0.1/x"}, {"ref": "nonsense"}]}, {}, "$.run_input.attachments[1].ref"),
        ({"attachments": [{"ref": "x"}] * 51}, {}, "$.run_input.attachments"),
        ({"parameters": {"a": "x" * 1_100_000}}, {}, "$.run_input.parameters"),
        ({"conversation": [{"role": "robot", "text": "hi"}]}, {}, "$.run_input.conversation[0].role"),
        ({}, {"policy": "SOMETIMES"}, "$.hitl_config.policy"),
        ({}, {"review_thresholds": {"confidence_min": 2}}, "$.hitl_config.review_thresholds.confidence_min"),
        ({}, {"review_thresholds": {"safety_flags": ["rude"]}}, "$.hitl_config.review_thresholds.safety_flags"),
        ({}, {"review_thresholds": {"mood_min": 1}}, "$.hitl_config.review_thresholds.mood_min"),
        ({}, {"allowed_steps": ["payload_review", "lunch"]}, "$.hitl_config.allowed_steps[1]"),
        ({}, {"checkpoints": {"cost_approval": {"limit": 1}}}, "$.hitl_config.checkpoints.cost_approval.limit"),
        ({}, {"timeout_seconds": 0}, "$.hitl_config.timeout_seconds"),
        ({}, {"on_timeout": "escalate"}, "$.hitl_config"),
        ({}, {"reviewers": ["ann"], "agreement": {"needed": 2, "asked": 3}}, "$.hitl_config.agreement"),
        ({}, {"reviewers": ["ann"], "agreement": {"arbiters": ["ann"]}}, "$.hitl_config.agreement"),
        ({}, {"form_llm": "no-such-model"}, "$.hitl_config.form_llm"),
        ({}, {"callback_url": "https://127.0.0.1.nip.io:22x"}, "$.hitl_config.callback_url"),
        ({}, {"callback_url": "https://x.example", "callback_secret": "short"}, "$.hitl_config.callback_secret"),
    ],
)
async def test_what_cannot_be_run_is_refused_with_its_path_before_anything_is_accepted(
    client: httpx.AsyncClient, run_input: dict[str, Any], config: dict[str, Any], path: str
) -> None:
    found = await client.post("/teams/runs", json=body(run_input, **config))
    assert found.status_code == 422, found.text
    assert path in [each["path"] for each in found.json()["errors"]]
    assert (await client.get("/teams/runs")).json() == []


async def test_a_repeated_call_with_one_key_starts_one_run(client: httpx.AsyncClient, engine: Engine) -> None:
    key = {"Idempotency-Key": "k-1", **WALLET}
    first, second = [(await client.post("/teams/runs", json=body(), headers=key)).json() for _ in range(2)]
    assert first["run_id"] == second["run_id"]
    other = await client.post("/teams/runs", json=body(policy="REQUIRE_HUMAN"), headers=key)
    assert other.status_code == 409
    batch = {"inputs": [asking(), asking()], "hitl_config": {"policy": "AUTO"}}
    key = {"Idempotency-Key": "k-2", **WALLET}
    one, two = [(await client.post("/teams/batches", json=batch, headers=key)).json() for _ in range(2)]
    assert one["batch_id"] == two["batch_id"]
    assert one["total"] == two["total"] == 2


async def test_runs_are_listed_by_wallet_state_and_batch_and_belong_to_their_wallet(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    waiting = await run(client, {"user_id": "0xa", "session_id": "visit 7"}, **HUMAN)
    assert waiting["session_id"] == "visit 7"
    done = await client.post("/teams/run", json=body({"user_id": "0xa"}))
    batch = (await client.post("/teams/batches", json={"inputs": [asking(user_id="0xa")] * 3})).json()

    async def listed(**query: Any) -> list[str]:
        found = await client.get("/teams/runs", params=query, headers=WALLET)
        assert found.status_code == 200, found.text
        return [each["run_id"] for each in found.json()]

    assert await listed(state="payload_review") == await listed(session_id="visit 7") == [waiting["run_id"]]
    assert done.json()["run_id"] in await listed(state="completed")
    assert len(await listed(batch_id=batch["batch_id"])) == 3
    first = await client.get("/teams/runs", params={"limit": 2}, headers=WALLET)
    assert len(first.json()) == 2
    assert 'rel="next"' in first.headers["link"]
    assert (await client.get("/teams/runs", params={"user_id": "0xb"}, headers=WALLET)).status_code == 403
    at = f"/teams/runs/{waiting['run_id']}"
    other = {"X-Wallet-Address": "0xb"}
    assert (await client.get(at, headers=other)).status_code == 403
    assert (await client.post(f"{at}/cancel", headers=other)).status_code == 403
    [review] = waiting["reviews"]
    assert (await client.post(f"{at}/approve", json=names(review), headers=other)).status_code == 403
    assert (await client.get(f"/teams/batches/{batch['batch_id']}", headers=other)).status_code == 403
    assert (await client.get(f"/teams/batches/{uuid4()}")).status_code == 404
    cancelled = await client.post(f"{at}/cancel", headers=WALLET)
    assert cancelled.status_code == 202


async def test_events_and_the_record_tell_what_happened(client: httpx.AsyncClient, engine: Engine) -> None:
    done = await run(client)
    at = f"/teams/runs/{done['run_id']}"
    events = (await client.get(f"{at}/events", headers={"Accept": "application/json"})).json()
    assert [each["seq"] for each in events] == list(range(1, len(events) + 1))
    assert [each["data"]["checkpoint"] for each in events if each["type"] == "review.ruled"] == [
        "information_review", "payload_review", "response_review",
    ]  # fmt: skip
    streamed = await client.get(f"{at}/events")
    assert "event: run.completed" in streamed.text
    record = await client.get(f"{at}/record")
    assert record.headers["content-type"].startswith("application/jsonl")
    lines = [orjson.loads(line) for line in record.text.splitlines()]
    assert [each["at"] for each in lines] == sorted(each["at"] for each in lines)
    kept = {(each["kind"], each["name"]) for each in lines if each["what"] == "artifact"}
    assert {("form", "form_initialization"), ("payload", "sent"), ("response", "model")} <= kept
    assert ("ruling", "payload_review") in kept
    assert (await client.get(f"/teams/runs/{uuid4()}/record")).status_code == 404


async def test_a_secret_is_never_shown(client: httpx.AsyncClient, engine: Engine) -> None:
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789").decode()
    done = await run(client, callback_url="https://receiver.example/hook", callback_secret=secret)
    at = f"/teams/runs/{done['run_id']}"
    for address in (at, f"{at}/record", f"/runs/{done['run_id']}"):
        assert secret not in (await client.get(address)).text
    [callback] = (await client.get(at)).json()["callbacks"]
    assert (callback["event"], callback["delivered_at"]) == ("run.completed", None)


async def test_providers_say_what_they_can_do_and_what_they_lack(client: httpx.AsyncClient) -> None:
    found = {each["provider"]: each for each in (await client.get("/teams/providers")).json()}
    assert found["openai"]["available"]
    assert found["anthropic"]["missing"]
    lacking = await client.post("/teams/runs", json=body({"provider": "anthropic", "model": "claude-haiku-4-5"}))
    assert lacking.status_code == 503
    assert "ANTHROPIC_API_KEY" in lacking.json()["detail"]


async def test_a_comparison_is_picked_through_its_review(client: httpx.AsyncClient, engine: Engine) -> None:
    asked: dict[str, Any] = {
        "run_input": {"prompt": "Peru?"},
        "candidates": [
            {"provider": "openai", "model": "gpt-5-mini", "operation": "responses"},
            {"provider": "replicate", "model": "acme/llama"},
        ],
    }
    started = await client.post("/teams/comparisons", json=asked)
    assert started.status_code == 202, started.text
    run_id = started.json()["run_id"]
    await engine.waiting(started.json()["run_id"])
    waiting = (await client.get(f"/teams/runs/{run_id}")).json()
    [review] = waiting["reviews"]
    assert waiting["output"] is None
    wrong = await client.post(f"/teams/runs/{run_id}/edit", json=names(review, payload={"choice": "C"}), headers=ANN)
    assert wrong.status_code == 422
    picked = await client.post(f"/teams/runs/{run_id}/edit", json=names(review, payload={"choice": "B"}), headers=ANN)
    assert picked.status_code == 200, picked.text
    ended = await until_ended(client, run_id)
    assert ended["output"]["choice"] == "B"
    assert {each["provider"] for each in ended["output"]["sides"].values()} == {"openai", "replicate"}
    one = {**asked, "candidates": asked["candidates"][:1]}
    assert (await client.post("/teams/comparisons", json=one)).status_code == 422
    nobody = {**asked, "hitl_config": {"on_timeout": "approve", "timeout_seconds": 5}}
    assert (await client.post("/teams/comparisons", json=nobody)).status_code == 422


async def test_nobody_can_look_up_whose_answer_is_whose_before_it_is_picked(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    candidates = [
        {"provider": "openai", "model": "gpt-5-mini", "operation": "responses"},
        {"provider": "replicate", "model": "acme/llama"},
    ]
    asked = {"run_input": {"prompt": "Peru?"}, "candidates": candidates}
    run_id = (await client.post("/teams/comparisons", json=asked)).json()["run_id"]
    await engine.waiting(run_id)
    await client.post("/console/sign-in", data={"name": "Ann"}, headers={"Origin": "http://hyvve.test"})
    teams_run, run, events = f"/teams/runs/{run_id}", f"/runs/{run_id}", {"Accept": "application/json"}
    for address in (
        teams_run, run, f"{run}/events", f"{teams_run}/events", f"{run}/record", f"{teams_run}/record", "/runs",
        "/teams/runs?comparisons=true", f"/console/runs/{run_id}", "/console/runs",
    ):  # fmt: skip
        told = await client.get(address, headers=events if address.endswith("/events") else {})
        assert told.status_code == 200, address
        words = ("gpt-5", "openai", "replicate", "llama", "call 1", "call 2")
        assert not [word for word in words if word in told.text], address
    for address in (teams_run, run):
        assert "blind" in (await client.get(address)).json()["withheld"]
    forked = await client.post(f"{run}/fork")
    assert (forked.status_code, forked.json()["state"]["status"]) == (409, "waiting")
    forked = await client.post(f"/console/runs/{run_id}/fork", headers={"Origin": "http://hyvve.test"})
    assert forked.status_code == 409
    numbers = [each["seq"] for each in (await client.get(f"{run}/events", headers=events)).json()]
    assert numbers == list(range(1, len(numbers) + 1))

    [review] = (await client.get(teams_run)).json()["reviews"]
    await client.post(f"{teams_run}/edit", json=names(review, payload={"choice": "A"}), headers=ANN)
    ended = await until_ended(client, run_id)
    assert (ended["withheld"], len(ended["run_input"]["candidates"]), len(ended["usage"]["models"])) == (None, 2, 2)
    for address in (f"{run}/events", f"{run}/record", f"/console/runs/{run_id}"):
        told = await client.get(address, headers=events if address.endswith("/events") else {})
        assert "call 1" in told.text, address
        assert "gpt-5-mini" in told.text, address


async def test_nobody_can_listen_in_on_a_candidate_before_one_is_picked(
    database: Database, storage_settings: StorageSettings, actors: ActorsSettings, engine: Engine, redis_url: str
) -> None:
    candidates = [
        {"provider": "openai", "model": "gpt-5-mini", "operation": "responses"},
        {"provider": "replicate", "model": "acme/llama"},
    ]
    asked = {"run_input": {"prompt": "Peru?"}, "candidates": candidates}
    async with (
        listening(app_over(database, storage_settings, actors)) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as web,
    ):
        run_id = (await web.post("/teams/comparisons", json=asked)).json()["run_id"]
        waiting = await engine.waiting(run_id)
        await web.post("/console/sign-in", data={"name": "Ann"}, headers={"Origin": url})
        cookie = "; ".join(f"{each.name}={each.value}" for each in web.cookies.jar)
        paths = (f"/runs/{run_id}/events", f"/teams/runs/{run_id}/events", f"/console/runs/{run_id}/events")
        async with AsyncExitStack() as opened, redis.asyncio.Redis.from_url(redis_url) as publisher:
            streams = [await opened.enter_async_context(stream(url, path, Cookie=cookie)) for path in paths]
            async with asyncio.timeout(30):  # one subscription stands for all streams of this process
                while not (await publisher.pubsub_numsub(channel_of(run_id)))[0][1]:
                    await asyncio.sleep(0.02)
            # As its provider would tell them; the last is of no candidate, and says that all came through.
            said = [("call 1", "I am gpt-5"), ("call 2", "I am llama"), ("look", "that was all")]
            for step, words in said:
                told = orjson.dumps([live_event("llm.token", step, {"text": words})])
                await publisher.publish(channel_of(run_id), told)
            seen = [await each.until("llm.token", "token") for each in streams[:2]]
            for each, found in zip(streams[:2], seen, strict=True):
                found += [sent for _ in range(2) if (sent := await each.next()) is not None]
            seen.append(await streams[2].until("token"))
        for path, found in zip(paths, seen, strict=True):
            assert "that was all" in str(found[-1].data), path
            assert not [word for word in ("gpt-5", "llama", "call 1", "call 2") if word in str(found)], path
        assert waiting.event_seq in [int(each.id) for each in seen[0] if each.id is not None]


async def job_of(replicate: ReplicateStub) -> str:
    async with asyncio.timeout(30):
        while not any(each["status"] == "processing" for each in replicate.made.values()):
            await asyncio.sleep(0.02)
    return next(iter(replicate.made))


async def test_a_signed_webhook_wakes_the_job_that_is_waited_for(
    database: Database,
    storage_settings: StorageSettings,
    actors: ActorsSettings,
    replicate: ReplicateStub,
) -> None:
    """Polled once an hour, only the webhook can end it in time; the host and the API are two apps on one Redis. What
    it is signed with nobody has set: the provider is asked, and only once.
    """
    reach = actors.providers.replicate.model_copy(update={"webhook_secret": None})
    polled = {"poll_s": 3600.0, "poll_cap_s": 3600.0, "replicate": reach}
    slow = actors.model_copy(update={"providers": actors.providers.model_copy(update=polled)})
    replicate.ends.append(End(output=["Lima."], looks=None))
    setup = RunSetup(storage=storage_settings, actors=slow, open_kinds=open_kinds)
    async with engines.opened(setup) as engine, serving(database, storage_settings, slow, run_wait_s=0.1) as client:
        await engine.host()
        llama = {"provider": "replicate", "model": "acme/llama", "operation": None}
        started = (await client.post("/teams/runs", json=body(llama))).json()
        job = await job_of(replicate)
        replicate.finish(job)
        at = "/teams/webhooks/replicate"
        headers, sent = replicate.webhook(job)
        bad = await client.post(at, content=sent + b" ", headers=headers)
        old_headers, old = replicate.webhook(job, at=datetime.now(UTC) - timedelta(hours=1))
        late = await client.post(at, content=old, headers=old_headers)
        assert (bad.status_code, late.status_code) == (401, 401)
        assert (await client.get(f"/teams/runs/{started['run_id']}")).json()["state"] == "api_call"
        assert (await client.post(at, content=sent, headers=headers)).status_code == 204
        assert (await until_ended(client, started["run_id"]))["state"] == "completed"
        assert (await client.post(at, content=sent, headers=headers)).status_code == 204
        assert (await client.post("/teams/webhooks/openai", content=sent, headers=headers)).status_code == 404
        assert [each.path for each in replicate.requests].count("/v1/webhooks/default/secret") == 1
    async with database.read() as session:
        found = await session.execute(text("SELECT result, reason FROM webhook_deliveries ORDER BY at"))
        results = [tuple(row) for row in found]
    assert [result for result, _ in results] == ["refused", "refused", "taken", "repeated"]
    assert "signature is wrong" in results[0][1]
    assert "s old" in results[1][1]


async def test_a_run_that_takes_long_is_answered_before_its_end(
    database: Database, storage_settings: StorageSettings, actors: ActorsSettings, openai: OpenAIPlatformStub,
    engine: Engine,
) -> None:  # fmt: skip
    openai.default = replace(openai.default, delay_s=1.5)
    async with serving(database, storage_settings, actors, run_wait_s=0.2) as client:
        found = await client.post("/teams/run", json=body())
        assert found.status_code == 202
        assert found.headers["location"] == f"/teams/runs/{found.json()['run_id']}"
        assert (await until_ended(client, found.json()["run_id"]))["state"] == "completed"


async def test_callbacks_are_listed_and_sent_again_by_their_owner_alone(
    client: httpx.AsyncClient, engine: Engine, database: Database
) -> None:
    secret = "whsec_" + "A" * 40
    done = await run(client, {"user_id": "0xowner"}, callback_url="http://127.0.0.1:9/hook", callback_secret=secret)
    at, owner = f"/teams/runs/{done['run_id']}/callbacks", {"X-Wallet-Address": "0xowner"}
    [waiting] = (await client.get(at, headers=owner)).json()
    assert (waiting["event"], waiting["state"], waiting["attempts"]) == ("run.completed", "waiting", 0)
    again = f"{at}/{waiting['callback_id']}/resend"
    early = await client.post(again, headers=owner)
    assert (early.status_code, early.json()["state"]["status"]) == (409, "waiting"), "it is still being tried"
    async with database.begin() as session:
        await session.execute(
            text('UPDATE callbacks SET given_up_at = clock_timestamp(), attempts = 3, error = \'{"message": "500"}\'')
        )
    [lost] = (await client.get(at, headers=owner)).json()
    assert (lost["state"], lost["attempts"], lost["error"]) == ("given_up", 3, {"message": "500"})
    for method, url in (("GET", at), ("POST", again)):
        assert (await client.request(method, url, headers={"X-Wallet-Address": "0xother"})).status_code == 403
    assert (await client.post(f"{at}/{uuid4()}/resend", headers=owner)).status_code == 404
    other = await run(client, {"user_id": "0xowner"})
    foreign = f"/teams/runs/{other['run_id']}/callbacks/{waiting['callback_id']}/resend"
    assert (await client.post(foreign, headers=owner)).status_code == 404
    resent = await client.post(again, headers=owner)
    assert (resent.status_code, resent.json()["state"]) == (202, "waiting")
    assert resent.json()["callback_id"] == waiting["callback_id"]
    assert (await client.post(again, headers=owner)).status_code == 409


async def test_a_reviewer_whom_the_run_does_not_belong_to_decides_and_is_told_no_more_than_a_reviewer(
    client: httpx.AsyncClient, engine: Engine, database: Database
) -> None:
    bob = {"X-Wallet-Address": "0xb", "X-Reviewer": "bob"}
    secret = "for 0xa alone"
    shared, own = [
        await run(client, {"user_id": wallet, "prompt": secret}, **HUMAN, reviewers=["bob"])
        for wallet in ("0xa", "0xb")
    ]
    at = f"/teams/runs/{shared['run_id']}"
    assert (await client.get(at, headers=bob)).status_code == 403
    # A review that he may see, at the address of a run that he may not: nothing is told of that run.
    astray = await client.post(f"{at}/approve", json=names(own["reviews"][0]), headers=bob)
    assert (astray.status_code, "state" in astray.json()) == (403, False)
    # Of another kind's run nothing is decided here.
    for kind, status in (("workflow", 404), ("team_run", 200)):
        async with database.begin() as session:
            await session.execute(text("UPDATE runs SET kind = :kind WHERE owner = '0xb'"), {"kind": kind})
        at_own = await client.post(f"/teams/runs/{own['run_id']}/approve", json=names(own["reviews"][0]), headers=bob)
        assert at_own.status_code == status, at_own.text
    assert at_own.json()["run_input"]["prompt"] == secret

    decided = await client.post(f"{at}/approve", json=names(shared["reviews"][0]), headers=bob)
    assert decided.status_code == 200, decided.text
    told = decided.json()
    assert (told["run_id"], told["review"]["state"]) == (shared["run_id"], "approved")
    assert not {"run_input", "hitl_config", "callbacks", "output", "user_id"} & set(told)


async def test_a_run_says_whom_its_review_is_with_now(
    client: httpx.AsyncClient, engine: Engine, database: Database
) -> None:
    waiting = await run(client, **HUMAN, reviewers=["ann"], timeout_seconds=3600, on_timeout="escalate",
                        escalate_to=["leads"])  # fmt: skip
    assert (waiting["reviews"][0]["reviewers"], waiting["reviews"][0]["group"]) == (["ann"], None)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE reviews SET clock = jsonb_set(clock, '{since}', to_jsonb(now() - interval '2 hours')),"
                 " next_at = now() - interval '1 hour'")
        )  # fmt: skip
    await Reviews(database).tick()
    [review] = (await client.get(f"/teams/runs/{waiting['run_id']}")).json()["reviews"]
    assert (review["reviewers"], review["group"]) == ([], "leads")
