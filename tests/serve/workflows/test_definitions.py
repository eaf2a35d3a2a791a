"""Definitions over HTTP: saved, changed, removed, refused with the path of each fault."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import redis.asyncio

from actors.agents import builtin
from actors.settings import AgentsSettings, VerificationSettings
from serve.app import build_app
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.agents.definitions import agent, edge, node, payload
from tests.serve.length_verification import LengthVerification
from tests.serve.workflows.calling import WALLET, body, define, one_agent, run


async def test_a_definition_is_saved_changed_and_removed(client: httpx.AsyncClient) -> None:
    workflow = await define(client)
    assert re.fullmatch(r"my_first_flow_[0-9a-f]{8}", workflow)
    url = f"/agent-workflows/{workflow}"
    saved = (await client.get(url)).json()
    assert (saved["version"], saved["wallet_address"], saved["is_system"]) == (1, WALLET, False)
    assert saved["definition_payload"]["nodes"][0]["agent_config_name"] == "Worker"
    assert (await client.put(url, json=body())).json()["version"] == 1
    changed = body(one_agent(agent_configs=[agent(system_message_template="Other")]), name="Renamed")
    assert (await client.put(url, json=changed)).json()["version"] == 2
    found = (await client.get(url)).json()
    assert (found["version"], found["name"], found["workflow_id_api"]) == (2, "Renamed", workflow)
    assert found["definition_payload"]["agent_configs"][0]["system_message_template"] == "Other"
    assert [each["workflow_id_api"] for each in (await client.get(f"/agent-workflows/by-wallet/{WALLET}")).json()] == [
        workflow
    ]
    assert (await client.get("/agent-workflows/by-wallet/0xnobody")).json() == []
    stranger = await client.put(url, json=changed | {"wallet_address": "0xb"})
    assert (stranger.status_code, stranger.json()["code"]) == (403, "forbidden")
    assert (await client.delete(url, headers={"X-Wallet-Address": "0xb"})).status_code == 403
    assert (await client.delete(url)).status_code == 204
    for response in (
        await client.get(url),
        await client.put(url, json=changed),
        await client.delete(url),
        await run(client, workflow),
    ):
        assert response.status_code == 404
    assert (await client.get(f"/agent-workflows/by-wallet/{WALLET}")).json() == []


async def test_a_cached_definition_is_never_stale_and_no_cache_is_needed(
    client: httpx.AsyncClient,
    storage_settings: StorageSettings,
    redis_url: str,
    database: Database,
    agents_settings: AgentsSettings,
) -> None:
    workflow = await define(client)
    url = f"/agent-workflows/{workflow}"
    assert (await client.get(url)).json()["version"] == 1
    async with redis.asyncio.Redis.from_url(redis_url) as cache:
        assert await cache.keys("workflow:*")
    await client.put(url, json=body(one_agent(agent_configs=[agent(system_message_template="New")])))
    assert (await client.get(url)).json()["definition_payload"]["agent_configs"][0]["system_message_template"] == "New"
    nowhere = storage_settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    app = build_app(
        database=database, storage_settings=nowhere, serve_settings=ServeSettings(), verification_settings=VerificationSettings(),
        verification=LengthVerification(database), agents_settings=agents_settings,
    )  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hyvve.test") as without:
        assert (await without.get(url)).json()["version"] == 2


async def test_every_fault_is_a_422_with_its_path(client: httpx.AsyncClient) -> None:
    broken = payload(
        edge("a", "z"),
        nodes=[node("a", "Nobody")],
        start_node_id="x",
        agent_configs=[agent(llm_choice="nobody-7b", allowed_tools=["rm"])],
    )
    response = await client.post("/agent-workflows/define", json=body(broken))
    assert response.status_code == 422
    problem = response.json()
    assert problem["code"] == "definition_faults"
    assert {each["path"]: each["code"] for each in problem["errors"]} == {
        "$.definition_payload.agent_configs[0].llm_choice": "unknown_llm",
        "$.definition_payload.agent_configs[0].allowed_tools[0]": "unknown_tool",
        "$.definition_payload.nodes[0].agent_config_name": "unknown_agent",
        "$.definition_payload.edges[0].target_node_id": "dangling_edge",
        "$.definition_payload.start_node_id": "missing_start",
    }
    assert "$.definition_payload.start_node_id" in problem["message"]
    shapeless = payload(edge("a", "END", "NEVER"))
    del shapeless["start_node_id"]
    problem = (await client.post("/agent-workflows/define", json=body(shapeless))).json()
    assert {each["path"] for each in problem["errors"]} == {
        "$.definition_payload.start_node_id", "$.definition_payload.edges[0].condition"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("definition", "limit"),
    [
        (one_agent(nodes=[node(f"n{i}") for i in range(10_000)]), "10,000 nodes; the limit is 200"),
        (one_agent(nodes=[node("a", input_schema={"a": [[[[[[[[[[] for _ in range(3)]]]]]]]]]})]), None),
    ],
)
async def test_a_huge_definition_is_refused_with_its_limit(
    client: httpx.AsyncClient, definition: dict[str, Any], limit: str | None
) -> None:
    response = await client.post("/agent-workflows/define", json=body(definition))
    assert response.status_code == (201 if limit is None else 422)
    if limit is not None:
        assert limit in response.json()["message"]


async def test_the_models_that_can_be_used_are_listed(client: httpx.AsyncClient) -> None:
    found = {each["choice"]: each for each in (await client.get("/agent-workflows/llms")).json()}
    assert found["stub-model"]["available"] is True
    assert found["google"]["available"] is False
    assert "GOOGLE_API_KEY" in found["google"]["missing"]
    assert "atoma" in found


async def test_what_hyvve_brings_along_can_be_seen_and_forked_but_not_changed(client: httpx.AsyncClient) -> None:
    for name, agents in (
        ("AthenaV2", {"FileProcessorAgent", "AIVerificationScorerAgent", "DecisionMakerAgent"}),
        (
            "AIDatasetContributionVerifier_SystemDefault",
            {"ContributionDataFetcherAgent", "DatasetQualityVerifierAgent"},
        ),
    ):
        found = (await client.get(f"/agent-workflows/{name}")).json()
        assert {each["name"] for each in found["definition_payload"]["agent_configs"]} == agents
        assert re.fullmatch(name.lower() + "_[0-9a-f]{8}", found["workflow_id_api"])
        fork = await define(client, found["definition_payload"], name=name)
        assert (await client.get(f"/agent-workflows/{fork}")).json()["is_system"] is False
        url = f"/agent-workflows/{found['workflow_id_api']}"
        assert (await client.delete(url)).status_code == 403
        assert (await client.put(url, json=body())).status_code == 403
    assert len((await client.get("/agent-workflows/by-wallet/system")).json()) == len(builtin.BUILT_IN)
    assert (await client.post("/agent-workflows/define", json=body(wallet_address="system"))).status_code == 403
