"""Budgets of workflow runs: what they stop, and what they refuse to begin."""

from __future__ import annotations

from uuid import UUID

import httpx

from tests.actors.agents.definitions import agent, edge, payload
from tests.actors.runs.engine import Engine
from tests.serve.workflows.calling import WALLET, define, one_agent, run
from tests.stubs.openai import OpenAIStub


async def test_a_budget_stops_a_run(client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub) -> None:
    workflow = await define(client, payload(edge("a", "b"), edge("b", "END")))
    outcome = (await run(client, workflow, budget={"max_tokens": 600})).json()
    assert (outcome["status"], outcome["error"]["code"]) == ("ERROR", "budget_exceeded")
    assert len(llm.calls) == 2
    # Spent is spent: another try pays for no further call.
    retried = await client.post(f"/runs/{outcome['run_id']}/retry", headers={"X-Wallet-Address": WALLET})
    assert retried.status_code == 202
    ended = await engine.ended(outcome["run_id"])
    assert ended.error is not None
    assert (ended.attempt, ended.error["code"]) == (2, "budget_exceeded")
    assert len(llm.calls) == 2


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
