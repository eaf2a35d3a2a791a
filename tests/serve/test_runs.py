"""Runs over HTTP, with a real host driving them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from actors.settings import VerificationSettings
from serve.app import build_app
from serve.settings import ServeSettings
from storage.clock import now
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine, gate
from tests.serve.length_verification import LengthVerification

OWNER = {"X-Wallet-Address": "0xowner"}


@pytest.fixture
async def engine(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    setup = engines.setup_of(database_url, redis_url, tmp_path, lambda _: engines.kinds())
    async with engines.opened(setup) as opened:
        await opened.host()
        yield opened


async def start(engine: Engine, kind: str, spec: dict[str, Any] | None = None, **options: Any) -> str:
    run = await engine.runs.start(kind, spec or {}, {"trail": []}, **{"owner": "0xowner", **options})
    return str(run.run_id)


async def status(client: httpx.AsyncClient, run_id: str) -> str:
    return str((await client.get(f"/runs/{run_id}", headers=OWNER)).json()["status"])


async def becomes(client: httpx.AsyncClient, run_id: str, *wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (found := (await client.get(f"/runs/{run_id}", headers=OWNER)).json())["status"] not in wanted:
            await asyncio.sleep(0.02)
    return dict(found)


async def test_a_run_is_looked_into_from_its_start_to_its_end(client: httpx.AsyncClient, engine: Engine) -> None:
    run_id = await start(engine, "counting", {"steps": 3})
    found = await becomes(client, run_id, "completed")
    assert (found["kind"], found["owner"], found["steps"], found["error"]) == ("counting", "0xowner", 3, None)
    assert found["output"] == {"trail": ["0", "1", "2"]}
    checkpoints = (await client.get(f"/runs/{run_id}/checkpoints", headers=OWNER)).json()
    assert [each["step"] for each in checkpoints] == [3, 2, 1, 0, -1]
    first = await client.get(f"/runs/{run_id}/checkpoints?limit=2", headers=OWNER)
    rest = await client.get(first.links["next"]["url"], headers=OWNER)
    assert [*first.json(), *rest.json()] == checkpoints[:4]


async def test_what_a_run_told_is_paged_as_json(client: httpx.AsyncClient, engine: Engine) -> None:
    run_id = await start(engine, "counting", {"steps": 3})
    await becomes(client, run_id, "completed")
    headers = {**OWNER, "Accept": "application/json"}
    whole = (await client.get(f"/runs/{run_id}/events", headers=headers)).json()
    assert [each["seq"] for each in whole] == list(range(1, len(whole) + 1))
    assert (whole[0]["type"], whole[-1]["type"]) == ("run.created", "run.completed")
    paged: list[Any] = []
    page = await client.get(f"/runs/{run_id}/events?limit=4", headers=headers)
    while True:
        paged += page.json()
        if "next" not in page.links:
            break
        page = await client.get(page.links["next"]["url"], headers=headers)
    assert paged == whole
    resumed = await client.get(f"/runs/{run_id}/events", headers={**headers, "Last-Event-ID": "5"})
    assert resumed.json()[0]["seq"] == 6


async def test_a_question_is_answered_by_its_id_and_only_once(client: httpx.AsyncClient, engine: Engine) -> None:
    run_id = await start(engine, "asking")
    waiting = await becomes(client, run_id, "waiting")
    ids = {each["value"]: each["id"] for each in waiting["interrupts"]}
    assert (sorted(ids), waiting["pending_interrupts"]) == (["left?", "right?"], 2)

    url = f"/runs/{run_id}/resume"
    bodies: list[Any] = ["yes", 1, ["yes"], {"answers": "yes"}, {"answers": ["yes"]}, {"answers": {}}, {}]
    for body in bodies:
        refused = await client.post(url, json=body, headers=OWNER)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid"), body
    foreign = await client.post(url, json={"answers": {"0" * 32: "x", ids["left?"]: "yes"}}, headers=OWNER)
    assert (foreign.status_code, foreign.json()["code"]) == (409, "run_conflict")
    assert foreign.json()["state"]["status"] == "waiting"
    assert sorted(foreign.json()["state"]["waits_for"]) == sorted(ids.values()), "none of the answers was taken"

    left = {"answers": {ids["left?"]: "yes"}}
    assert (await client.post(url, json=left, headers=OWNER)).status_code == 202
    repeated = await client.post(url, json={"answers": {ids["left?"]: "no"}}, headers=OWNER)
    assert repeated.status_code == 409
    assert ids["left?"] not in repeated.json()["state"]["waits_for"]
    assert (await client.post(url, json={"answers": {ids["right?"]: {"deep": [1]}}}, headers=OWNER)).status_code == 202
    done = await becomes(client, run_id, "completed")
    assert "left:yes" in done["output"]["trail"]
    late = await client.post(url, json=left, headers=OWNER)
    assert (late.status_code, late.json()["state"]["status"]) == (409, "completed")


def nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


async def test_what_cannot_be_kept_is_refused_as_an_answer_and_as_a_forks_input(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    run_id = await start(engine, "asking")
    asked = (await becomes(client, run_id, "waiting"))["interrupts"][0]["id"]
    headers = {**OWNER, "Content-Type": "application/json", "Idempotency-Key": "k"}
    for value, code, named in (
        (nested(300), "too_deep", "64 levels"), (nested(65), "too_deep", "64 levels"),
        ("\ud800", "unstorable", "U+D800"), ({"\ud800": 1}, "unstorable", "U+D800"), ("\x00", "unstorable", "U+0000"),
        (10**30, "unstorable", "64 bits"),
    ):  # fmt: skip
        for path, body, where in (
            ("resume", {"answers": {asked: value}}, f"$.answers.{asked}"),
            ("fork", {"input": {"trail": value}}, "$.input"),
        ):
            # As the standard library writes it: half a pair is escaped, where httpx would refuse to send it.
            refused = await client.post(f"/runs/{run_id}/{path}", content=json.dumps(body), headers=headers)
            assert refused.status_code == 422, (path, named, refused.text)
            (fault,) = refused.json()["errors"]
            assert (fault["code"], fault["path"], named in fault["message"]) == (code, where, True), fault
    huge = await client.post(f"/runs/{run_id}/fork", json={"input": {"trail": ["x" * 2**20]}}, headers=OWNER)
    assert (huge.status_code, "1,048,576" in huge.text) == (422, True), huge.text
    taken = await client.post(f"/runs/{run_id}/resume", json={"answers": {asked: nested(64)}}, headers=OWNER)
    assert taken.status_code == 202, taken.text


async def test_the_same_answer_sent_again_under_its_key_is_answered_as_the_first(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    run_id = await start(engine, "asking")
    waiting = await becomes(client, run_id, "waiting")
    body = {"answers": {each["id"]: "yes" for each in waiting["interrupts"]}}
    headers = {**OWNER, "Idempotency-Key": "k1"}
    first = await client.post(f"/runs/{run_id}/resume", json=body, headers=headers)
    await becomes(client, run_id, "completed")
    again = await client.post(f"/runs/{run_id}/resume", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_cancelled_run_stops_and_goes_on_when_it_is_retried(client: httpx.AsyncClient, engine: Engine) -> None:
    run_id = await start(engine, "gated", {"gate": "g"})
    await engines.until(lambda: "wait" in engines.done)
    asked = await client.post(f"/runs/{run_id}/cancel", headers=OWNER)
    assert (asked.status_code, asked.json()["cancel_requested"]) == (202, True)
    await becomes(client, run_id, "cancelled")
    assert "wait was cancelled" in engines.done
    assert (await client.post(f"/runs/{run_id}/cancel", headers=OWNER)).json()["status"] == "cancelled"

    gate("g").set()
    assert (await client.post(f"/runs/{run_id}/retry", headers=OWNER)).status_code == 202
    done = await becomes(client, run_id, "completed")
    assert done["attempt"] == 2
    assert engines.done.count("before") == 1, "what was done was done again"
    refused = await client.post(f"/runs/{run_id}/retry", headers=OWNER)
    assert (refused.status_code, refused.json()["state"]["status"]) == (409, "completed")


async def test_a_failed_run_says_why_and_is_retried_from_the_failed_step(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    run_id = await start(engine, "failing", deadline_s=900)
    failed = await becomes(client, run_id, "failed")
    assert "no such luck" in failed["error"]["message"]
    assert "breaks" in failed["step"]
    gate("mended").set()
    for wrong in (0, -1, "5", True, 31 * 24 * 3600, 1e400):
        content, headers = json.dumps({"deadline_s": wrong}), {**OWNER, "Content-Type": "application/json"}
        refused = await client.post(f"/runs/{run_id}/retry", content=content, headers=headers)
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "$.deadline_s"), refused.text
    retried = await client.post(f"/runs/{run_id}/retry", json={"deadline_s": 1800}, headers=OWNER)
    assert retried.status_code == 202
    given = datetime.fromisoformat(retried.json()["deadline_at"]) - datetime.fromisoformat(retried.json()["updated_at"])
    assert round(given.total_seconds()) == 1800
    await becomes(client, run_id, "completed")
    assert engines.done.count("beside") == 1


async def test_a_run_is_forked_from_any_checkpoint_with_or_without_a_body(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    run_id = await start(engine, "counting", {"steps": 3})
    await becomes(client, run_id, "completed")
    checkpoints = (await client.get(f"/runs/{run_id}/checkpoints", headers=OWNER)).json()
    after_one = next(each["checkpoint_id"] for each in checkpoints if each["step"] == 1)
    url = f"/runs/{run_id}/fork"
    forged = await client.post(url, json={"checkpoint_id": after_one, "input": {"trail": ["new"]}}, headers=OWNER)
    assert (forged.status_code, forged.json()["errors"][0]["path"]) == (422, "$.input.trail")
    made = await client.post(url, json={"checkpoint_id": after_one}, headers=OWNER)
    assert made.status_code == 201, made.text
    fork = made.json()
    assert (fork["parent_run_id"], fork["forked_from"], fork["owner"]) == (run_id, after_one, "0xowner")
    assert fork["thread_id"] != (await client.get(f"/runs/{run_id}", headers=OWNER)).json()["thread_id"]
    done = await becomes(client, fork["run_id"], "completed")
    assert done["output"] == {"trail": ["0", "1", "2"]}
    assert (await client.post(f"/runs/{run_id}/fork", headers=OWNER)).status_code == 201
    nowhere = await client.post(f"/runs/{run_id}/fork", json={"checkpoint_id": "none"}, headers=OWNER)
    assert nowhere.status_code == 404
    # A call that is made again, for its answer was lost, makes no second fork.
    keyed = {**OWNER, "Idempotency-Key": "fork-1"}
    twice = [(await client.post(f"/runs/{run_id}/fork", headers=keyed)).json()["run_id"] for _ in range(2)]
    assert twice[0] == twice[1]
    assert len(await engine.runs.list(parent_run_id=UUID(run_id))) == 3


async def test_another_wallets_run_is_403_at_every_address(client: httpx.AsyncClient, engine: Engine) -> None:
    run_id = await start(engine, "gated", {"gate": "g"})
    stranger = {"X-Wallet-Address": "0xstranger"}
    for headers in (stranger, {}):
        for method, path, body in (
            ("GET", "", None), ("GET", "/events", None), ("GET", "/checkpoints", None), ("POST", "/cancel", None),
            ("POST", "/retry", None), ("POST", "/fork", None), ("POST", "/resume", {"answers": {"a": 1}}),
        ):  # fmt: skip
            refused = await client.request(method, f"/runs/{run_id}{path}", json=body, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), (method, path)
            assert "0xowner" not in refused.text
    assert (await client.get(f"/runs/{run_id}?wallet_address=0xowner")).status_code == 200
    assert (await client.get(f"/runs/{uuid4()}", headers=stranger)).status_code == 404
    assert await status(client, run_id) == "running", "a stranger cancelled it"
    gate("g").set()


async def test_the_system_runs_are_everybodys(client: httpx.AsyncClient, engine: Engine) -> None:
    run_id = await start(engine, "counting", {"steps": 1}, owner=None)
    assert (await client.get(f"/runs/{run_id}")).status_code == 200
    assert [each["run_id"] for each in (await client.get("/runs")).json()] == [run_id]


async def test_a_list_holds_what_the_caller_may_see_filtered_and_paged(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    before = now() - timedelta(seconds=1)
    mine = [await start(engine, "counting", {"steps": 1}, thread_id=f"t{n}") for n in range(3)]
    asking = await start(engine, "asking")
    theirs = await start(engine, "counting", {"steps": 1}, owner="0xother")
    await start(engine, "counting", {"steps": 1}, owner=None)
    for each in mine:
        await becomes(client, each, "completed")
    await becomes(client, asking, "waiting")

    async def ids(query: str, **headers: str) -> list[str]:
        answer = await client.get(f"/runs{query}", headers=headers or OWNER)
        assert answer.status_code == 200, answer.text
        return [each["run_id"] for each in answer.json()]

    newest_first = [asking, *mine[::-1]]
    assert await ids("") == newest_first
    assert await ids("?owner=0xowner", accept="*/*") == newest_first
    assert await ids("?owner=0xother", accept="*/*") == [theirs]
    assert await ids("?status=completed") == mine[::-1]
    assert await ids("?status=waiting&status=failed") == [asking]
    assert await ids("?kind=asking") == [asking]
    assert await ids("?thread_id=t1") == [mine[1]]
    since = {"since": before.isoformat()}
    assert [e["run_id"] for e in (await client.get("/runs", params=since, headers=OWNER)).json()] == newest_first
    since = {"since": (now() + timedelta(hours=1)).isoformat()}
    assert (await client.get("/runs", params=since, headers=OWNER)).json() == []
    first = await client.get("/runs?limit=3&kind=counting&status=completed", headers=OWNER)
    assert [each["run_id"] for each in first.json()] == mine[::-1]
    assert (await client.get(first.links["next"]["url"], headers=OWNER)).json() == []
    assert (await client.get("/runs?owner=0xother", headers=OWNER)).status_code == 403
    for wrong in ("?status=done", "?since=yesterday", "?since=2026-01-01T00:00:00", "?after=x", "?limit=0"):
        assert (await client.get(f"/runs{wrong}", headers=OWNER)).status_code == 422, wrong


async def test_an_api_key_that_names_no_wallet_acts_for_all(
    database: Database, storage_settings: StorageSettings, engine: Engine
) -> None:
    app: FastAPI = build_app(
        database=database, storage_settings=storage_settings, serve_settings=ServeSettings(api_keys=("s3cret",)),
        verification_settings=VerificationSettings(), verification=LengthVerification(database),
    )  # fmt: skip
    run_id = await start(engine, "counting", {"steps": 1})
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        key = {"X-API-Key": "s3cret"}
        assert (await client.get(f"/runs/{run_id}", headers=OWNER)).status_code == 401
        assert (await client.get(f"/runs/{run_id}", headers=key)).status_code == 200
        assert [each["run_id"] for each in (await client.get("/runs", headers=key)).json()] == [run_id]
        as_stranger = {**key, "X-Wallet-Address": "0xstranger"}
        assert (await client.get(f"/runs/{run_id}", headers=as_stranger)).status_code == 403
