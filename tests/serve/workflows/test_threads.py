"""Threads of workflows over HTTP: they go on, belong to their wallet, and have one run at a time."""

from __future__ import annotations

import asyncio

import httpx

from tests.actors.runs.engine import Engine
from tests.serve.workflows.calling import define, run
from tests.stubs.openai import OpenAIStub, completion


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
