"""Hyvve as a user runs it, over its whole life: `hyvve up`, the main job over HTTP, loss of everything, `hyvve down`.

The tests share one Hyvve, because starting Ray is what costs time; they run in the order they stand in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis.asyncio

from actors.runs.events import channel_of
from actors.runs.service import Runs
from cluster import embedded, processes
from cluster.demo import sample
from cluster.directory import DataDirectory
from storage.clock import now
from storage.engine import Database
from tests.actors.agents.definitions import agent, edge, node, payload
from tests.cluster.conftest import clean_environment
from tests.cluster.running import HYVVE, Running, eventually, free_port, left, project, ray_head
from tests.serve.event_stream import stream
from tests.stubs.http import Reply
from tests.stubs.openai import OpenAIStub, completion

pytestmark = pytest.mark.cluster

BRIEF = tomllib.loads((sample.DATA / "brief.toml").read_text())
GOOD = [each for each in sample.samples() if each.kind == "good" and each.path.endswith((".txt", ".md"))]


class Model:
    """A language model whose second agent is slow until `hurry` is set. It runs in a thread of its own, for the tests
    have no loop.
    """

    def __init__(self) -> None:
        self.hurry = False
        self.asked: Counter[str] = Counter()
        self.stub = OpenAIStub(self._answer)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def _answer(self, body: dict[str, Any]) -> Reply:
        agent = body["messages"][0]["content"]
        self.asked[agent] += 1
        return completion(f"said by {agent}", delay_s=600.0 if agent == "second" and not self.hurry else 0.0)

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self.stub.start(), self._loop).result(20)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.stub.close(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = Model()
    model.start()
    yield model
    model.stop()


@pytest.fixture(scope="module")
def hyvve(model: Model) -> Iterator[Running]:
    # Small chunks, one at a time: a batch is killed in its midst.
    with project(
        HYVVE_CHUNK_SIZE="4", HYVVE_MAX_CHUNKS="1", OPENAI_BASE_URL=model.stub.base_url, OPENAI_API_KEY="none",
        HYVVE_LLM_MODELS="openai:stub-model",
    ) as running:  # fmt: skip
        yield running


def create_campaign(client: httpx.Client, onchain_campaign_id: str) -> None:
    answer = client.post(
        "/campaigns/create-campaigns",
        json={
            "onchain_campaign_id": onchain_campaign_id, "title": BRIEF["title"], "description": BRIEF["description"],
            "data_requirements": "|||".join(BRIEF["data_requirements"]),
            "quality_criteria": "|||".join(BRIEF["quality_criteria"]), "campaign_type": "text", "unit_price": 10,
            "total_budget": 10_000, "min_data_count": 1, "max_data_count": 1000,
            "expiration": int(time.time()) + 86_400, "platform_fee": 1, "creator_wallet_address": "0xcreator",
            "transaction_hash": f"0x{onchain_campaign_id}", "metadata_uri": "ipfs://x", "is_active": True,
        },
    )  # fmt: skip
    assert answer.status_code == 201, answer.text


def contribute(client: httpx.Client, onchain_campaign_id: str, blob_ids: list[str]) -> list[str]:
    """The contributions' ids, each blob from a wallet of its own."""
    found = []
    for number, blob_id in enumerate(blob_ids):
        answer = client.post(
            "/campaigns/submit-contributions",
            json={
                "campaign_id": onchain_campaign_id, "contributor": f"0xwallet{number}", "data_url": blob_id,
                "transaction_hash": f"0x{onchain_campaign_id}{number}", "quality_score": 99,
            },
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
        found.append(answer.json()["contribution_id"])
    return found


def start_batch(client: httpx.Client, onchain_campaign_id: str, count: int) -> str:
    answer = client.post("/agent-workflows/verify-campaign-dataset", json={"onchain_campaign_id": onchain_campaign_id})
    assert answer.status_code == 202, answer.text
    assert answer.json()["triggered_count"] == answer.json()["total_found_in_campaign"] == count
    return str(answer.json()["batch_id"])


def completed(client: httpx.Client, batch_id: str) -> list[dict[str, Any]]:
    """The batch's results, once it is completed."""

    def ended() -> bool:
        return client.get(f"/verification-batches/{batch_id}").json()["state"] not in ("pending", "running")

    eventually(ended, every_s=0.25)
    document = client.get(f"/verification-batches/{batch_id}").json()
    assert document["state"] == "completed", document
    return list(client.get(f"/verification-batches/{batch_id}/results").json())


def test_up_answers_and_says_where(hyvve: Running) -> None:
    out = hyvve.up()
    for address in (hyvve.url, f"{hyvve.url}/docs", f"{hyvve.url}/console/", "http://127.0.0.1:"):
        assert address in out
    assert hyvve.answers()
    code, document = hyvve.status()
    assert (code, document["phase"], document["troubles"]) == (0, "running", {})
    assert document["ready"]["checks"]["postgresql"]["status"] == "ok"
    # The supervisor is in a session of its own, so its terminal may go.
    assert os.getsid(document["pid"]) == document["pid"] != os.getsid(0)

    again = hyvve.command("up", "--detach")
    assert again.returncode == 1
    assert "already" in again.stderr
    assert hyvve.url in again.stderr


def test_a_run_is_followed_live_through_serve_until_it_is_cancelled(hyvve: Running) -> None:
    """HAProxy and Serve hold nothing back, hear when a client leaves, and end the stream with the run."""
    directory = DataDirectory.at(hyvve.data_dir)

    async def follow() -> None:
        database = Database(directory.postgres_url, pool_size=1)
        runs = Runs(database, redis_url=directory.redis_url)
        run = await runs.start("none", {}, {}, owner="0xw", start_at=now() + timedelta(hours=1))
        path, wallet = f"/runs/{run.run_id}", {"X_Wallet_Address": "0xw"}
        async with redis.asyncio.Redis.from_url(directory.redis_url) as client:

            async def subscribed(count: int) -> None:
                async with asyncio.timeout(60):
                    while (await client.pubsub_numsub(channel_of(run.run_id)))[0][1] != count:
                        await asyncio.sleep(0.05)

            async with stream(hyvve.url, f"{path}/events", **wallet) as events:
                first = await events.next()
                assert first is not None
                assert (first.id, first.type) == ("1", "run.created")
                await subscribed(1)
            await subscribed(0)

            async with (
                stream(hyvve.url, f"{path}/events", **wallet, Last_Event_ID="1") as events,
                httpx.AsyncClient(base_url=hyvve.url) as asking,
            ):
                await subscribed(1)
                answer = await asking.post(f"{path}/cancel", headers={"X-Wallet-Address": "0xw"})
                assert answer.status_code == 202, answer.text
                told = await events.until("run.cancelled")
                assert [each.id for each in told] == [str(n + 2) for n in range(len(told))]
                assert told[-1].type == "run.cancelled"
                assert await events.next() is None
        await runs.close()
        await database.close()

    asyncio.run(follow())


def test_periodic_work_is_listed_and_done_at_once_when_asked(hyvve: Running) -> None:
    done = hyvve.command("schedules", "run", "mark_expired_campaigns_inactive")
    assert (done.returncode, done.stdout) == (0, "completed (campaigns: 0)\n"), done.stderr
    listed = hyvve.command("schedules")
    assert "mark_expired_campaigns_inactive  every 30 min" in listed.stdout


def test_a_campaign_is_verified_over_http(hyvve: Running) -> None:
    texts = [each.data.decode() for each in GOOD[:4]]
    blob_ids = hyvve.store([*texts, "Buy my car. It is red, fast and cheap, and it was only driven on Sundays."])
    with hyvve.client() as client:
        create_campaign(client, "0xbread")
        answer = client.post(
            "/ai-verification/verify-submission",
            data={"onchain_campaign_id": "0xbread", "wallet_address": "0xwallet0"},
            files={"submission_file": ("bread.txt", texts[0].encode(), "text/plain")},
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["decision"] == "ACCEPT"
        assert answer.json()["file_type_processed"] == "text"

        copy, junk = 4, 5
        ids = contribute(client, "0xbread", [*blob_ids[:4], blob_ids[1], blob_ids[4]])
        answer = client.post("/agent-workflows/verify-contribution", json={"contribution_id": ids[0]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["decision"] == "ACCEPT"

        results = {row["contribution_id"]: row for row in completed(client, start_batch(client, "0xbread", 6))}
        assert sorted(results) == sorted(ids)
        assert results[ids[copy]]["decision"] == "REJECT"
        assert results[ids[copy]]["duplicate_of"] == ids[1]
        assert results[ids[junk]]["decision"] != "ACCEPT"
        assert {results[each]["decision"] for each in ids[:4]} <= {"ACCEPT", "REVIEW"}
        assert results[ids[0]]["decision"] == "ACCEPT"
        # What the contributor claimed of itself is no verified score.
        rows = client.get("/campaigns/get-contributions/0xbread").json()
        verified = {row["contribution_id"]: row["ai_verification_score"] for row in rows["contributions"]}
        assert verified[ids[0]] == results[ids[0]]["score"] != 99


def test_a_folder_is_verified_beside_it(hyvve: Running, tmp_path: Path) -> None:
    pid = hyvve.status()[1]["pid"]
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "bread.txt").write_bytes(GOOD[5].data)
    (folder / "car.txt").write_text("Buy my car. It is green and was only driven on Mondays, by a grandmother.")
    arguments = ("verify", str(folder), "--brief", str(sample.DATA / "brief.toml"), "--out", str(tmp_path / "out"))
    done = hyvve.command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert "Using the Hyvve that runs" in done.stderr
    assert json.loads(done.stdout)["verdicts"]["ACCEPT"] == 1
    assert (tmp_path / "out/report.html").exists()
    refused = hyvve.command(*arguments, HYVVE_SCORER_MODEL="other/model", HYVVE_REVIEW_MARGIN="7")
    assert refused.returncode == 1
    assert "HYVVE_SCORER_MODEL is unset there and other/model here" in refused.stderr
    assert "HYVVE_REVIEW_MARGIN is 5.0 there and 7.0 here" in refused.stderr
    assert hyvve.answers()
    assert hyvve.status()[1]["pid"] == pid


def test_a_second_project_on_a_ray_cluster_that_it_joins_runs_beside_it(hyvve: Running) -> None:
    with ray_head() as head, project(RAY_ADDRESS=head.address, HYVVE_HOST="127.0.0.1") as second:
        out = second.up()
        assert second.url in out
        assert second.answers()
        assert hyvve.answers()
        with second.client() as client:
            assert client.get("/campaigns/0xbread").status_code == 404  # that is the first one's
        assert second.status()[1]["ray_address"].endswith(head.address.removeprefix("127.0.0.1"))
        assert second.command("down").returncode == 0
        assert left(second.data_dir) == []
        assert not second.answers()
        assert {"gcs_server", "raylet"} <= head.processes()
    assert hyvve.answers()


def start_run(client: httpx.Client, **second: Any) -> str:
    """A run of two agents, one after the other."""
    document = payload(
        edge("one", "two"), edge("two", "END"),
        agent_configs=[agent(name, system_message_template=name) for name in ("first", "second")],
        nodes=[node("one", "first"), node("two", "second", **second)],
    )  # fmt: skip
    body = {"name": "Two agents", "wallet_address": "0xw", "definition_payload": document}
    made = client.post("/agent-workflows/define", json=body)
    assert made.status_code == 201, made.text
    accepted = client.post(
        f"/agent-workflows/run/{made.json()['workflow_id_api']}",
        json={"task_description": "the task", "wallet_address": "0xw"}, headers={"Prefer": "respond-async"},
    )  # fmt: skip
    assert accepted.status_code == 202, accepted.text
    return str(accepted.json()["run_id"])


def run_of(client: httpx.Client, run_id: str) -> dict[str, Any]:
    answer = client.get(f"/runs/{run_id}", headers={"X-Wallet-Address": "0xw"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def approve(client: httpx.Client, run_id: str) -> None:
    wallet = {"X-Wallet-Address": "0xw"}
    (question,) = run_of(client, run_id)["interrupts"]
    address = f"/teams/reviews/{question['value']['review_id']}"
    review = client.get(address, headers=wallet).json()
    body = {"answer": "approve", "review_id": review["review_id"], "saw": review["saw"], "reviewer": "ann"}
    decided = client.post(f"{address}/decide", json=body, headers=wallet)
    assert decided.status_code == 200, decided.text


def test_batches_and_runs_go_on_after_everything_was_killed_in_their_midst(hyvve: Running, model: Model) -> None:
    """As by power loss: the supervisor, Ray, the API, PostgreSQL and Redis end at once, without a word."""
    words = sorted({word for each in GOOD for word in each.data.decode().split()})
    chance = random.Random(7)
    count = 100
    with hyvve.client() as client:
        create_campaign(client, "0xkilled")
        ids = contribute(client, "0xkilled", hyvve.store([" ".join(chance.sample(words, 300)) for _ in range(count)]))
        model.hurry = True
        waiting = start_run(client, review={"on": "output", "instructions": "Is it good?"})
        eventually(lambda: run_of(client, waiting)["status"] == "waiting")
        model.hurry = False
        running = start_run(client)
        eventually(lambda: model.asked["second"] == 2)  # it is being asked for this run
        batch_id = start_batch(client, "0xkilled", count)
        eventually(lambda: client.get(f"/verification-batches/{batch_id}").json()["judged"], every_s=0.02)
        before = client.get(f"/verification-batches/{batch_id}").json()
    assert before["state"] == "running"
    assert before["judged"] < count

    supervisor = psutil.Process(hyvve.status()[1]["pid"])
    servers = [embedded.postgres(hyvve.data_dir).process(), embedded.redis(hyvve.data_dir).process()]
    postgres = [child for server in servers if server for child in server.children(recursive=True)]
    killed = [supervisor, *processes.leftovers(hyvve.data_dir), *postgres, *[each for each in servers if each]]
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert processes.wait_gone(killed, 10) == []
    code, _ = hyvve.status()
    assert code == 3
    assert hyvve.command("down").returncode == 0
    assert left(hyvve.data_dir) == []

    model.hurry = True
    hyvve.up()
    with hyvve.client() as client:
        results = completed(client, batch_id)
        eventually(lambda: run_of(client, running)["status"] == "completed")
        assert run_of(client, waiting)["status"] == "waiting"
        approve(client, waiting)
        eventually(lambda: run_of(client, waiting)["status"] == "completed")
        for run_id in (running, waiting):
            said = [each["content"] for each in run_of(client, run_id)["output"]["messages"]]
            assert said == ["the task", "said by first", "said by second"]
    # Only the step that was being done was done again.
    assert model.asked == {"first": 2, "second": 3}
    assert len(results) == count
    assert sorted(row["contribution_id"] for row in results) == sorted(ids)
    assert {row["decision"] for row in results} <= {"ACCEPT", "REJECT", "REVIEW"}


def test_a_ray_that_died_is_said_and_started_anew(hyvve: Running) -> None:
    before = hyvve.status()[1]
    raylet = next(child for child in psutil.Process(before["pid"]).children() if child.name() == "raylet")
    raylet.kill()
    state = DataDirectory.at(hyvve.data_dir).state
    eventually(lambda: json.loads(state.read_text())["restarts"] == 1)
    eventually(lambda: json.loads(state.read_text())["phase"] == "ready")
    code, after = hyvve.status()
    assert (code, after["phase"], after["pid"]) == (0, "running", before["pid"])
    assert hyvve.answers()
    assert "Ray: its raylet ended; Ray and the API are started anew" in (hyvve.data_dir / "logs/up.log").read_text()


def test_a_part_that_does_not_answer_is_said_with_an_exit_code_of_its_own(hyvve: Running) -> None:
    server = embedded.redis(hyvve.data_dir).process()
    assert server is not None
    server.suspend()
    try:
        done = hyvve.command("status")
        assert done.returncode == 4
        assert "redis: Redis does not answer" in done.stdout
    finally:
        server.resume()


def test_a_killed_supervisor_is_told_and_down_ends_what_it_left(hyvve: Running) -> None:
    os.kill(hyvve.status()[1]["pid"], signal.SIGKILL)
    eventually(lambda: hyvve.status()[1]["phase"] == "broken", timeout_s=30)
    code, document = hyvve.status()
    assert code == 3
    assert any("PostgreSQL" in name for name in document["leftovers"])
    done = hyvve.command("down")
    assert done.returncode == 0, done.stderr
    assert left(hyvve.data_dir) == []
    assert hyvve.status()[1]["phase"] == "stopped"


def test_when_the_command_that_shows_it_is_killed_everything_stops(data_dir: Path) -> None:
    """A closed terminal, or a killed shell, must not leave a cluster behind. Before the API is up is the hardest time."""
    state = DataDirectory.at(data_dir).state

    def found() -> dict[str, Any]:
        return json.loads(state.read_text()) if state.exists() else {"steps": {}}

    viewer = subprocess.Popen(
        [HYVVE, "up"],
        env=clean_environment(HYVVE_DATA_DIR=str(data_dir), HYVVE_PORT=str(free_port()), HYVVE_CPUS="2"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: "PostgreSQL" in found()["steps"])
        viewer.kill()
        viewer.wait()
        eventually(lambda: found()["phase"] == "stopped")
        assert left(data_dir) == []
        supervisor = found()
        eventually(lambda: processes.same_process(supervisor["pid"], supervisor["create_time"]) is None, timeout_s=10)
    finally:
        processes.end(processes.leftovers(data_dir), grace_s=2)
