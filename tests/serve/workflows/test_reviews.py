"""A person's look at an agent's calls and answers, asked for and decided over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from actors.reviews.service import Reviews
from tests.actors.agents.definitions import agent, node
from tests.actors.runs.engine import Engine
from tests.serve.workflows.calling import OWNER, decide, define, one_agent, review_of, run
from tests.stubs.openai import OpenAIStub, calls, completion, tool_call
from tests.stubs.search import SearchStub


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
