"""Agent workflows over HTTP: defined, changed, run on the real engine by agents whose models answer over HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID

import httpx
import pytest
import redis.asyncio

from actors.agents import builtin
from actors.kinds import open_kinds
from actors.reviews.service import Reviews
from actors.runs.kinds import RunSetup
from actors.settings import (
    ActorsSettings,
    AgentsSettings,
    RunSettings,
    SearchSettings,
    ToolSettings,
    VerificationSettings,
)
from serve.app import build_app
from serve.settings import ServeSettings
from storage.engine import Database
from storage.settings import StorageSettings
from tests.actors.agents.definitions import agent, edge, node, payload
from tests.actors.agents.workshop import llm_settings
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.serve.length_verification import LengthVerification
from tests.stubs.openai import OpenAIStub, calls, completion, error, tool_call
from tests.stubs.search import Page, SearchStub

WALLET = "0xa"
PAGES = [Page("Whales", "https://sea.example/whales", "Whales are mammals that live in the sea.")]


@pytest.fixture
async def llm() -> AsyncIterator[OpenAIStub]:
    async with OpenAIStub(lambda _: completion("done")) as stub:
        yield stub


@pytest.fixture
async def web() -> AsyncIterator[SearchStub]:
    async with SearchStub(PAGES) as stub:
        yield stub


@pytest.fixture
def agents_settings(llm: OpenAIStub, web: SearchStub) -> AgentsSettings:
    search = SearchSettings(backend="wikipedia", base_url=web.url)
    return AgentsSettings(llms=llm_settings(llm), tools=ToolSettings(search=search))


@pytest.fixture
async def engine(storage_settings: StorageSettings, agents_settings: AgentsSettings) -> AsyncIterator[Engine]:
    actors = ActorsSettings(runs=RunSettings(sweep_s=0.2, cancel_grace_s=1.0), agents=agents_settings)
    setup = RunSetup(storage=storage_settings, actors=actors, open_kinds=open_kinds)
    async with engines.opened(setup) as opened:
        await opened.host()
        yield opened


@pytest.fixture
async def client(
    database: Database, storage_settings: StorageSettings, agents_settings: AgentsSettings
) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(
        database=database, storage_settings=storage_settings, serve_settings=ServeSettings(run_wait_s=20),
        verification_settings=VerificationSettings(), verification=LengthVerification(database),
        agents_settings=agents_settings,
    )  # fmt: skip
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hyvve.test", timeout=30) as client:
            yield client


OWNER = {"X-Wallet-Address": WALLET}


def one_agent(**changes: Any) -> dict[str, Any]:
    return payload(edge("a", "END"), **changes)


def body(definition: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "name": "My First Flow!",
        "wallet_address": WALLET,
        "definition_payload": definition or one_agent(),
    } | changes


async def define(client: httpx.AsyncClient, definition: dict[str, Any] | None = None, **changes: Any) -> str:
    response = await client.post("/agent-workflows/define", json=body(definition, **changes))
    assert response.status_code == 201, response.text
    return str(response.json()["workflow_id_api"])


async def run(client: httpx.AsyncClient, workflow: str, task: str = "the task", **changes: Any) -> httpx.Response:
    headers = changes.pop("headers", {})
    return await client.post(
        f"/agent-workflows/run/{workflow}",
        json={"task_description": task, "wallet_address": WALLET, **changes},
        headers=headers,
    )


async def review_of(client: httpx.AsyncClient, question: dict[str, Any]) -> dict[str, Any]:
    """The review that a run's interrupt waits for."""
    found = await client.get(f"/teams/reviews/{question['value']['review_id']}", headers=OWNER)
    assert found.status_code == 200, found.text
    return dict(found.json())


async def decide(
    client: httpx.AsyncClient, review: dict[str, Any], answer: str = "approve", *, by: str = "ann", **more: Any
) -> httpx.Response:
    body = {"answer": answer, "review_id": review["review_id"], "saw": review["saw"], "reviewer": by, **more}
    return await client.post(f"/teams/reviews/{review['review_id']}/decide", json=body, headers=OWNER)


async def test_a_researcher_with_a_search_and_a_summariser_run_from_end_to_end(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub, web: SearchStub
) -> None:
    llm.script.extend([
        calls(tool_call("web_search", {"query": "whales"})), completion("They are mammals."), completion("Mammals, in short."),
    ])  # fmt: skip
    workflow = await define(client, {
        "name": "Research and summarise",
        "agent_configs": [
            agent("Researcher", system_message_template="Research: {current_task_description}", allowed_tools=["web_search"]),
            agent("Summariser", system_message_template="Sum up what was found."),
        ],
        "nodes": [node("research", "Researcher"), node("summary", "Summariser")],
        "edges": [edge("research", "summary", "ON_NO_TOOL_CALL"), edge("summary", "END")],
        "start_node_id": "research",
    })  # fmt: skip
    response = await run(client, workflow, "What are whales?")
    assert response.status_code == 200
    outcome = response.json()
    assert (outcome["status"], outcome["message"]) == ("COMPLETED", "Mammals, in short.")
    assert [query for _, query, _ in web.queries] == ["whales"]
    state = outcome["final_state"]
    assert [(each["type"], each["name"]) for each in state["messages"]] == [
        ("human", None), ("ai", "Researcher"), ("tool", "web_search"), ("ai", "Researcher"), ("ai", "Summariser"),
    ]  # fmt: skip
    assert "Whales are mammals" in state["messages"][2]["content"]
    assert state["messages"][1]["tool_calls"][0]["args"] == {"query": "whales"}
    assert state["agent_name"] == "Summariser"
    told = (
        await client.get(
            f"/runs/{outcome['run_id']}/events", headers={"X-Wallet-Address": WALLET, "Accept": "application/json"}
        )
    ).json()
    kinds = [each["type"] for each in told]
    assert [each["step"] for each in told if each["type"] == "step.completed"] == [
        "research", "research/tools", "research", "summary"
    ]  # fmt: skip
    assert {"tool.called", "llm.used", "step.routed", "run.completed"} <= set(kinds)
    usage = (await client.get(f"/runs/{outcome['run_id']}", headers={"X-Wallet-Address": WALLET})).json()["usage"]
    assert (usage["prompt_tokens"], usage["models"]["stub-model"]["calls"]) == (1200, 3)


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


@pytest.mark.parametrize("depth", [70, 500, 100_000])
async def test_deep_json_is_refused_with_the_limit_named(client: httpx.AsyncClient, depth: int) -> None:
    workflow = await define(client)
    deep = '{"x":' * depth + "1" + "}" * depth
    sent = '{"task_description": "t", "initial_scratchpad": ' + deep + "}"
    response = await client.post(
        f"/agent-workflows/run/{workflow}", content=sent, headers={"content-type": "application/json"}
    )
    assert response.status_code == 422
    assert "64 levels" in response.json()["message"]


async def test_a_scratchpad_over_a_megabyte_is_refused(client: httpx.AsyncClient) -> None:
    workflow = await define(client)
    response = await run(client, workflow, initial_scratchpad={"x": "y" * 1_100_000})
    assert response.status_code == 422
    assert "1,048,576" in response.json()["message"]
    assert response.json()["errors"][0]["path"] == "$.initial_scratchpad"


async def test_what_a_workflow_needs_must_be_brought(client: httpx.AsyncClient) -> None:
    workflow = await define(client, one_agent(inputs=["topic"]))
    response = await run(client, workflow)
    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, "$.initial_scratchpad.topic")


async def test_a_fork_takes_only_what_a_workflows_state_has(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    llm.script.extend([completion("once"), completion("twice")])
    done = (await run(client, await define(client))).json()
    url, headers = f"/runs/{done['run_id']}/fork", {"X-Wallet-Address": WALLET}
    refused = await client.post(url, json={"input": {"nope": 1, "workflow_scratchpad": {}}}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "run_input")
    (fault,) = refused.json()["errors"]
    assert (fault["path"], fault["code"]) == ("$.input.nope", "unknown")
    assert "messages, agent_name, current_task_description, workflow_scratchpad" in fault["message"]
    taken = await client.post(url, json={"input": {"workflow_scratchpad": {"kept": 1}}}, headers=headers)
    assert taken.status_code == 201, taken.text


async def test_a_thread_goes_on_with_its_conversation_and_belongs_to_its_wallet(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    workflow = await define(client)
    llm.script.extend([completion("Hello Ann."), completion("You are Ann.")])
    first = (await run(client, workflow, "I am Ann", initial_scratchpad={"kept": 1})).json()
    second = (
        await run(client, workflow, "Who am I?", thread_id=first["thread_id"], initial_scratchpad={"more": 2})
    ).json()
    assert second["thread_id"] == first["thread_id"]
    assert second["run_id"] != first["run_id"]
    assert [each["content"] for each in second["final_state"]["messages"]] == [
        "I am Ann",
        "Hello Ann.",
        "Who am I?",
        "You are Ann.",
    ]
    assert second["final_state"]["workflow_scratchpad"] == {"kept": 1, "more": 2}
    assert "I am Ann" in llm.calls[1].text
    foreign = await run(client, workflow, thread_id=first["thread_id"], wallet_address="0xb")
    assert (foreign.status_code, foreign.json()["code"]) == (403, "forbidden")
    assert len(llm.calls) == 2


async def test_a_thread_of_nobody_is_taken_over_by_no_wallet(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    workflow = await define(client)
    llm.script.extend([completion("one"), completion("two")])
    thread_id = (await run(client, workflow, wallet_address=None)).json()["thread_id"]
    taken = await run(client, workflow, thread_id=thread_id)
    assert taken.status_code == 403
    assert "no wallet" in taken.json()["message"]
    assert (await run(client, workflow, thread_id=thread_id, wallet_address=None)).json()["message"] == "two"
    # The system's own work is nobody's too, and no conversation.
    of_the_system = await engine.runs.start("counting", {"steps": 1}, {"trail": []})
    spoilt = await run(client, workflow, thread_id=of_the_system.thread_id, wallet_address=None)
    assert (spoilt.status_code, spoilt.json()["code"]) == (409, "run_conflict")
    assert len(llm.calls) == 2


async def test_a_busy_thread_is_a_409_or_queued(client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub) -> None:
    workflow = await define(client)
    llm.script.extend([completion("slow", delay_s=1.0), completion("second")])
    headers = {"Prefer": "respond-async"}
    begun = await run(client, workflow, thread_id="t-1", headers=headers)
    assert begun.status_code == 202
    assert begun.json()["status"] == "PENDING"
    assert begun.headers["Preference-Applied"] == "respond-async"
    assert begun.headers["Location"] == f"/runs/{begun.json()['run_id']}"
    busy = await run(client, workflow, thread_id="t-1")
    assert (busy.status_code, busy.json()["subject"]) == (409, begun.json()["run_id"])
    queued = await run(client, workflow, "after it", thread_id="t-1", queue=True)
    assert queued.json()["message"] == "second"
    assert [each["content"] for each in queued.json()["final_state"]["messages"]] == [
        "the task",
        "slow",
        "after it",
        "second",
    ]


async def test_an_answer_is_waited_for_no_longer_than_preferred(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    workflow = await define(client)
    llm.answer = lambda _: completion("late", delay_s=30)
    response = await run(client, workflow, headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json()["status"]) == (202, "PENDING")
    assert [each["content"] for each in response.json()["final_state"]["messages"]] == ["the task"]


async def test_a_repeated_call_with_its_key_starts_no_second_run(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    workflow = await define(client)
    headers = {"Idempotency-Key": "k-1"}
    answers = await asyncio.gather(*(run(client, workflow, headers=headers) for _ in range(3)))
    assert {each.json()["run_id"] for each in answers} == {answers[0].json()["run_id"]}
    assert len(llm.calls) == 1
    assert (await run(client, workflow, "another", headers=headers)).status_code == 409


async def test_a_running_run_keeps_the_version_it_began_with(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    two = payload(edge("a", "b"), edge("b", "END"))
    workflow = await define(client, two)
    llm.script.extend([completion("one", delay_s=0.5), completion("two")])
    begun = (await run(client, workflow, headers={"Prefer": "respond-async"})).json()
    assert (await client.put(f"/agent-workflows/{workflow}", json=body())).json()["version"] == 2
    assert (await client.delete(f"/agent-workflows/{workflow}")).status_code == 204
    ended = await engine.ended(begun["run_id"])
    assert (ended.status, ended.steps, ended.spec["version"]) == ("completed", 2, 1)


async def test_a_failed_run_keeps_what_it_has_and_goes_on_from_there_when_retried(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    workflow = await define(client, payload(edge("a", "b"), edge("b", "END")))
    llm.script.extend([completion("half"), error(402, "no money", code="insufficient_quota")])
    response = await run(client, workflow)
    assert response.status_code == 200
    outcome = response.json()
    assert outcome["status"] == "ERROR"
    assert (outcome["error"]["step"], outcome["error"]["class"]) == ("b", "needs_person")
    assert [each["content"] for each in outcome["final_state"]["messages"]] == ["the task", "half"]
    owner = {"X-Wallet-Address": WALLET}
    llm.script.append(completion("whole"))
    assert (await client.post(f"/runs/{outcome['run_id']}/retry", headers=owner)).status_code == 202
    ended = await engine.ended_not_waiting(outcome["run_id"])
    ended = await engine.ended(outcome["run_id"])
    assert ended.output is not None
    assert [each["content"] for each in ended.output["messages"]] == ["the task", "half", "whole"]
    assert len(llm.calls) == 3


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


async def test_a_reviewed_tool_call_waits_and_a_rejected_one_is_never_made(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub, web: SearchStub
) -> None:
    """Elsewhere a rejected call is made all the same (langchain #37093)."""
    searcher = agent(allowed_tools=["web_search"])
    review = {"on": "tool_calls", "instructions": "Is this search allowed?"}
    workflow = await define(client, one_agent(agent_configs=[searcher], nodes=[node("a", review=review)]))
    llm.script.extend([
        calls(tool_call("web_search", {"query": "whales"}, call_id="c1"), tool_call("web_search", {"query": "secrets"}, call_id="c2")),
        completion("found one"),
    ])  # fmt: skip
    outcome = (await run(client, workflow)).json()
    assert outcome["status"] == "AWAITING_HUMAN"
    [question] = outcome["interrupts"]
    assert question["value"]["kind"] == "tool_calls"
    assert [each["args"]["query"] for each in question["value"]["tool_calls"]] == ["whales", "secrets"]
    assert web.queries == []
    asked = await review_of(client, question)
    assert (asked["title"], asked["checkpoint"]) == ("Worker: may its tool calls go on?", "tool_calls")
    first, second = asked["subject"]["tool_calls"]
    wrong = {"tool_calls": [{**first, "args": {"query": 1}}, {**second, "id": "c3"}]}
    refused = await decide(client, asked, "edit", payload=wrong)
    assert (refused.status_code, [each["path"] for each in refused.json()["errors"]]) == (
        422, ["$.payload.tool_calls[0].args.query", "$.payload.tool_calls[1].id"],
    )  # fmt: skip
    edited = {"tool_calls": [
        {**first, "args": {"query": "blue whales"}}, {**second, "answer": "reject", "reason": "private"},
    ]}  # fmt: skip
    assert (await decide(client, asked, "edit", payload=edited)).status_code == 200
    ended = await engine.ended_not_waiting(outcome["run_id"])
    ended = await engine.ended(outcome["run_id"])
    assert ended.status == "completed"
    assert [query for _, query, _ in web.queries] == ["blue whales"]
    assert "a person rejected this call: private" in llm.calls[1].tool_results
    assert len(llm.calls) == 2


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"answer": "reject", "reason": "private"}, "a person rejected this call: private"),
        ({"answer": "respond", "message": "whales are mammals"}, "whales are mammals"),
    ],
)
async def test_calls_that_are_rejected_or_answered_as_a_whole_are_none_of_them_made(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub, web: SearchStub, *, answer: dict[str, Any], told: str
) -> None:
    """langchain #37093, for one word about all calls."""
    searcher = agent(allowed_tools=["web_search"])
    workflow = await define(client, one_agent(agent_configs=[searcher], nodes=[node("a", review={"on": "tool_calls"})]))
    asked = [tool_call("web_search", {"query": query}, call_id=query) for query in ("whales", "secrets")]
    llm.script.extend([calls(*asked), completion("without")])
    outcome = (await run(client, workflow)).json()
    [question] = outcome["interrupts"]
    assert (await decide(client, await review_of(client, question), **answer)).status_code == 200
    ended = await engine.ended_not_waiting(outcome["run_id"])
    ended = await engine.ended(outcome["run_id"])
    assert ended.status == "completed"
    assert web.queries == []
    assert "tool.called" not in await engine.told(ended.run_id)
    assert llm.calls[1].tool_results == [told, told]


@pytest.mark.parametrize(
    ("answer", "status", "last"),
    [
        ({"answer": "approve"}, "completed", "draft"),
        ({"answer": "edit", "payload": {"output": "better"}}, "completed", "better"),
        ({"answer": "reject", "reason": "wrong"}, "failed", "draft"),
    ],
)
async def test_a_reviewed_answer_is_what_the_reviewer_made_of_it(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub, *, answer: dict[str, Any], status: str, last: str
) -> None:
    workflow = await define(client, one_agent(nodes=[node("a", output_key="text", review={"on": "output"})]))
    llm.script.append(completion("draft"))
    outcome = (await run(client, workflow)).json()
    [question] = outcome["interrupts"]
    assert (outcome["status"], question["value"]["output"]) == ("AWAITING_HUMAN", "draft")
    around = await client.post(
        f"/runs/{outcome['run_id']}/resume", json={"answers": {question["id"]: {"answer": "approve"}}}, headers=OWNER
    )
    assert (around.status_code, around.json()["subject"]) == (409, question["value"]["review_id"])
    decided = await decide(client, await review_of(client, question), **answer)
    assert decided.status_code == 200, decided.text
    await engine.ended_not_waiting(outcome["run_id"])
    ended = await engine.ended(outcome["run_id"])
    assert ended.status == status
    if status == "completed":
        assert ended.output is not None
        assert ended.output["messages"][-1]["content"] == last
        assert ended.output["workflow_scratchpad"]["text"] == last
    else:
        assert ended.error is not None
        assert ended.error["code"] == "review_rejected"
    assert len(llm.calls) == 1


async def test_a_response_sends_the_agent_back_and_the_reviewers_its_policy_names_decide(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    policy = {"reviewers": ["ann", "bob"], "needed": 2, "group": "editors", "timeout_seconds": 3600}
    review = {"on": "output", "answers": ["approve", "respond"], "policy": policy}
    workflow = await define(client, one_agent(nodes=[node("a", review=review)]))
    llm.script.extend([completion("draft"), completion("shorter")])
    outcome = (await run(client, workflow)).json()

    async def asked(than: str | None = None) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                found = await client.get(f"/teams/reviews?run_id={outcome['run_id']}", headers=OWNER)
                if found.json() and found.json()[0]["review_id"] != than:
                    review = await client.get(f"/teams/reviews/{found.json()[0]['review_id']}", headers=OWNER)
                    return dict(review.json())
                await asyncio.sleep(0.02)

    first = await asked()
    assert (first["reviewers"], first["group"], first["answers"]) == (["ann", "bob"], "editors", ["approve", "respond"])
    assert first["due_at"] is not None
    not_taken = await decide(client, first, "reject", reason="no", by="ann")
    assert (not_taken.status_code, not_taken.json()["conflict"]) == (409, "answer")
    assert (await decide(client, first, by="eve")).json()["conflict"] == "foreign"
    for name in ("ann", "bob"):
        decided = await decide(client, first, "respond", message="make it shorter", by=name)
        assert decided.status_code == 200, decided.text
    second = await asked(than=first["review_id"])
    assert second["subject"] == {"output": "shorter"}
    assert "make it shorter" in llm.calls[1].text
    for name in ("ann", "bob"):
        await decide(client, second, by=name)
    await engine.ended_not_waiting(outcome["run_id"])
    assert (await engine.ended(outcome["run_id"])).status == "completed"


async def test_what_nobody_looked_at_in_time_fails_as_its_policy_says(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    review = {"on": "output", "answers": ["reject"], "policy": {"timeout_seconds": 1, "on_timeout": "fail"}}
    workflow = await define(client, one_agent(nodes=[node("a", review=review)]))
    llm.script.append(completion("draft"))
    outcome = (await run(client, workflow)).json()
    async with asyncio.timeout(20):
        while (await Reviews(engine.database).tick())["deadlines"] == 0 or (
            await client.get(f"/teams/reviews?run_id={outcome['run_id']}", headers=OWNER)
        ).json():
            await asyncio.sleep(0.2)
    await engine.ended_not_waiting(outcome["run_id"])
    ended = await engine.ended(outcome["run_id"])
    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == ("failed", "review_timed_out")


async def test_an_edit_beside_the_nodes_schema_is_refused_before_the_run_goes_on(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    schema = {
        "type": "object", "properties": {"score": {"$ref": "#/$defs/score"}}, "required": ["score"],
        "$defs": {"score": {"type": "integer", "maximum": 100}},
    }  # fmt: skip
    workflow = await define(client, one_agent(nodes=[node("a", output_schema=schema, review={"on": "output"})]))
    llm.script.append(completion('{"score": 7}'))
    outcome = (await run(client, workflow)).json()
    review = await review_of(client, outcome["interrupts"][0])
    refused = await decide(client, review, "edit", payload={"output": {"score": 700}})
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "$.payload.output.score")
    assert (await decide(client, review, "edit", payload={"output": {"score": 70}})).status_code == 200
    await engine.ended_not_waiting(outcome["run_id"])
    ended = await engine.ended(outcome["run_id"])
    assert ended.output is not None
    assert ended.output["workflow_scratchpad"]["a"] == {"score": 70}


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


async def test_tokens_are_seen_while_an_agent_writes(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    workflow = await define(client)
    llm.script.append(completion("one two three four", delay_s=0.5))
    begun = (await run(client, workflow, headers={"Prefer": "respond-async"})).json()
    shown: list[str] = []
    async with asyncio.timeout(60), aclosing(engine.runs.follower.follow(UUID(begun["run_id"]), 0)) as events:
        async for event in events:
            if event.type == "step.streamed":
                assert (event.seq, event.data["type"], event.data["node"]) == (None, "token", "a")
                shown.append(event.data["text"])
    assert len(shown) > 1
    assert "".join(shown) == "one two three four"


async def test_a_run_whose_host_dies_goes_on_and_makes_no_tool_call_twice(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub, web: SearchStub
) -> None:
    searcher = agent(allowed_tools=["web_search"])
    workflow = await define(client, one_agent(agent_configs=[searcher]))
    llm.script.extend([calls(tool_call("web_search", {"query": "whales"})), completion("never seen", delay_s=60)])
    begun = (await run(client, workflow, headers={"Prefer": "respond-async"})).json()
    await engines.until(lambda: len(llm.calls) == 2)
    await engine.stop(engine.hosts[0])
    llm.script.append(completion("after all"))
    await engine.host(name="another")
    ended = await engine.ended(begun["run_id"])
    assert ended.output is not None
    assert ended.output["messages"][-1]["content"] == "after all"
    assert len(web.queries) == 1
    assert len(llm.calls) == 3


async def test_of_two_wallets_that_begin_a_thread_at_once_one_has_it(client: httpx.AsyncClient) -> None:
    workflow = await define(client)
    headers = {"Prefer": "respond-async"}
    answers = await asyncio.gather(
        *(
            run(client, workflow, thread_id="same", wallet_address=f"0x{i}", queue=True, headers=headers)
            for i in range(6)
        )
    )
    assert sorted(each.status_code for each in answers) == [202, 403, 403, 403, 403, 403]
