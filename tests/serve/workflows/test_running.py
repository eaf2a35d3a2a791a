"""Runs of workflows over HTTP, on the real engine, by agents whose models answer over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from uuid import UUID

import httpx
import pytest

from tests.actors.agents.definitions import agent, edge, node, payload
from tests.actors.runs import engine as engines
from tests.actors.runs.engine import Engine
from tests.serve.workflows.calling import WALLET, body, define, one_agent, run
from tests.stubs.openai import OpenAIStub, calls, completion, error, tool_call
from tests.stubs.search import SearchStub


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


async def test_an_answer_is_waited_for_no_longer_than_preferred(
    client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub
) -> None:
    workflow = await define(client)
    llm.answer = lambda _: completion("late", delay_s=30)
    response = await run(client, workflow, headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json()["status"]) == (202, "PENDING")
    assert [each["content"] for each in response.json()["final_state"]["messages"]] == ["the task"]


async def test_a_run_ends_at_its_deadline(client: httpx.AsyncClient, engine: Engine, llm: OpenAIStub) -> None:
    workflow = await define(client)
    llm.answer = lambda _: completion("late", delay_s=30)
    outcome = (await run(client, workflow, deadline_s=1.0)).json()
    assert (outcome["status"], outcome["error"]["code"]) == ("ERROR", "run_deadline"), outcome
    assert [each["content"] for each in outcome["final_state"]["messages"]] == ["the task"]


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
