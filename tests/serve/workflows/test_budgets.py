"""Budgets of workflow runs: what they stop, and what they refuse to begin."""

from __future__ import annotations

from uuid import UUID

import httpx

from tests.actors.agents.definitions import agent, edge, payload
from tests.actors.runs.engine import Engine
from tests.serve.workflows.calling import OWNER, define, one_agent, run
from tests.stubs.openai import OpenAIStub


async def test_a_budget_stops_a_run(client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub) -> None:
    workflow = await define(client, payload(edge("a", "b"), edge("b", "END")))
    outcome = (await run(client, workflow, budget={"max_tokens": 600})).json()
    assert (outcome["status"], outcome["error"]["code"]) == ("ERROR", "budget_exceeded")
    assert len(llm.calls) == 2
    # Spent is spent: another try pays for no further call.
    retried = await client.post(f"/runs/{outcome['run_id']}/retry", headers=OWNER)
    assert retried.status_code == 202
    ended = await engine.ended(outcome["run_id"])
    assert ended.error is not None
    assert (ended.attempt, ended.error["code"]) == (2, "budget_exceeded")
    assert len(llm.calls) == 2
    # Nor does a fork begin with a full one; with one that is large enough either goes on.
    forked = await client.post(f"/runs/{outcome['run_id']}/fork", headers=OWNER)
    assert (forked.status_code, forked.json()["budget"]) == (201, {"max_tokens": 80})
    ended = await engine.ended(forked.json()["run_id"])
    assert ended.error is not None
    assert (ended.error["code"], len(llm.calls)) == ("budget_exceeded", 3)
    for verb, limit in (("fork", 520), ("retry", 2 * 520 + 520)):
        more = await client.post(
            f"/runs/{outcome['run_id']}/{verb}", json={"budget": {"max_tokens": limit}}, headers=OWNER
        )
        assert more.json()["budget"] == {"max_tokens": limit}
        ended = await engine.ended(more.json()["run_id"])
        assert (ended.status, ended.error) == ("completed", None), verb


async def test_a_budget_of_cost_stops_a_run(client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub) -> None:
    # 400 and 120 tokens an answer, at 0.4 and 1.6 USD a million: 352 micro-USD.
    cheap = [agent(llm_choice="openai:gpt-4.1-mini")]
    workflow = await define(client, payload(edge("a", "b"), edge("b", "END"), agent_configs=cheap))
    outcome = (await run(client, workflow, budget={"max_cost_micro_usd": 500})).json()
    assert (outcome["status"], outcome["error"]["code"]) == ("ERROR", "budget_exceeded"), outcome
    assert len(llm.calls) == 2
    ended = await engine.ended(outcome["run_id"])
    assert ended.usage["cost_micro_usd"] > 500
    assert "unpriced_calls" not in ended.usage


async def test_a_budget_of_cost_refuses_a_model_whose_price_nobody_knows(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    workflow = await define(client, one_agent())
    outcome = (await run(client, workflow, budget={"max_cost_micro_usd": 500})).json()
    assert (outcome["status"], outcome["error"]["code"]) == ("ERROR", "unpriced_model"), outcome
    assert outcome["error"]["class"] == "needs_person"
    for named in ("'stub-model'", "500 micro-USD", "HYVVE_LLM_PRICES"):
        assert named in outcome["message"]
    assert llm.calls == []
    # Without such a budget it runs, and its cost stands as what it is: not known.
    outcome = (await run(client, workflow)).json()
    assert outcome["status"] == "COMPLETED"
    ended = await engine.ended(outcome["run_id"])
    assert (ended.usage["cost_micro_usd"], ended.usage["unpriced_calls"]) == (0, 1)
    [used] = [each.data for each in await engine.runs.events(UUID(outcome["run_id"])) if each.type == "llm.used"]
    assert used["cost_micro_usd"] is None
