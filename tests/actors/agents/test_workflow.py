"""A workflow runs as its definition says: agents, tools, branches and loops, with a real client library over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolCall
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

from actors.agents.definition import WorkflowDefinition
from actors.agents.documents import MAX_DEPTH, depth_of
from actors.agents.enterprise_workflow import EnterpriseWorkflowManager
from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.tool_calls import made
from actors.agents.workflow_state import written
from actors.errors import RunConflictError
from actors.runs.step import StepContext, entered
from actors.settings import LLMProviderSettings, LLMSettings
from tests.actors.agents.definitions import agent, compare, defined, edge, node, payload, signal
from tests.actors.agents.flows import by_agent, flow, run
from tests.actors.agents.workshop import Bench, opened
from tests.stubs.gemini import GeminiStub, function_call, generated
from tests.stubs.http import Reply
from tests.stubs.openai import OpenAIStub, calls, completion, tool_call

Script = Callable[[str, dict[str, Any]], Reply]


DEEP = '{"query": "q", "more": ' + "[" * 300 + "]" * 300 + "}"


async def test_one_agent_answers_the_task(bench: Bench) -> None:
    bench.stub.answer = lambda _: completion("Paris.")
    outcome = await run(
        bench,
        payload(edge("a", "END"), agent_configs=[agent(system_message_template="Task: {current_task_description}.")]),
    )
    assert (outcome.status, outcome.message) == ("COMPLETED", "Paris.")
    state = outcome.final_state
    assert state["agent_name"] == "Worker"
    assert state["current_task_description"] == "the task"
    assert [(each["type"], each["content"]) for each in state["messages"]] == [("human", "the task"), ("ai", "Paris.")]
    assert set(state["messages"][1]) == {
        "content", "type", "name", "id", "tool_calls", "invalid_tool_calls", "additional_kwargs", "response_metadata",
        "usage_metadata",
    }  # fmt: skip
    assert state["messages"][1]["usage_metadata"]["input_tokens"] == 400
    assert bench.stub.calls[0].body["messages"][0] == {"role": "system", "content": "Task: the task."}


async def test_a_researcher_searches_and_a_summariser_sums_up(bench: Bench) -> None:
    bench.stub.answer = by_agent(
        Researcher=[calls(tool_call("web_search", {"query": "whales"})), "Whales are mammals."],
        Summariser="In short: mammals.",
    )
    document = flow(
        edge("Researcher", "Summariser", "ON_NO_TOOL_CALL"), edge("Summariser", "END"),
        agents={"Researcher": {"allowed_tools": ["web_search"]}},
    )  # fmt: skip
    outcome = await run(bench, document, "whales", wallet="0xa")
    assert (outcome.status, outcome.message) == ("COMPLETED", "In short: mammals.")
    assert bench.searches == ["whales"]
    assert bench.wallets == ["0xa"]
    assert bench.stub.calls[1].tool_results == ['{"results":["a page about whales"]}']
    last = bench.stub.calls[2].body["messages"]
    assert [each["role"] for each in last] == ["system", "user", "user"]
    assert last[2]["content"] == "[Researcher]: Whales are mammals."
    assert "tools" not in bench.stub.calls[2].body


async def test_on_tool_call_leads_on_as_soon_as_the_tools_have_answered(bench: Bench) -> None:
    bench.stub.answer = by_agent(Fetcher=calls(tool_call("web_search", {"query": "x"})), Judge="good")
    document = flow(
        edge("Fetcher", "Judge", "ON_TOOL_CALL"), edge("Fetcher", "END", "ON_NO_TOOL_CALL"), edge("Judge", "END"),
        agents={"Fetcher": {"allowed_tools": ["web_search"]}},
    )  # fmt: skip
    outcome = await run(bench, document)
    assert outcome.message == "good"
    assert len(bench.stub.calls) == 2
    assert (
        bench.stub.calls[1].body["messages"][-1]["content"] == '[web_search answered]: {"results":["a page about x"]}'
    )


@pytest.mark.parametrize(
    "says",
    [
        calls(tool_call("set_routing_signal", {"signal": "REVISE"}), text="not yet"),
        "REVISE",
        '{"routing_signal": "REVISE"}',
    ],
)
async def test_a_signal_sends_the_work_round_again(bench: Bench, says: Any) -> None:
    approved = calls(tool_call("set_routing_signal", {"signal": "APPROVED"}), text="fine")
    bench.stub.answer = by_agent(Writer=["draft one", "draft two"], Editor=[says, approved])
    document = flow(
        edge("Writer", "Editor"), edge("Editor", "Writer", signal("REVISE")), edge("Editor", "END", signal("APPROVED"))
    )
    outcome = await run(bench, document)
    assert (outcome.status, outcome.message) == ("COMPLETED", "fine")
    assert outcome.final_state["workflow_scratchpad"] == {"routing_signal": "APPROVED"}
    assert [each["content"] for each in outcome.final_state["messages"] if each["name"] == "Writer"] == [
        "draft one",
        "draft two",
    ]


async def test_a_comparison_over_the_scratchpad_decides(bench: Bench) -> None:
    schema = {"type": "object", "properties": {"score": {"type": "number"}}, "required": ["score"]}
    bench.stub.answer = by_agent(Judge=['{"score": 40}', '```json\n{"score": 90}\n```'], Writer="better now")
    document = flow(
        edge("Judge", "Writer", compare("Judge.score", "<", 80)), edge("Judge", "END", compare("Judge.score", ">=", 80)),
        edge("Writer", "Judge"),
    )  # fmt: skip
    document["nodes"][0]["output_schema"] = schema
    outcome = await run(bench, document)
    assert outcome.status == "COMPLETED"
    assert outcome.final_state["workflow_scratchpad"] == {"Judge": {"score": 90}}
    assert "JSON Schema" in bench.stub.calls[0].body["messages"][0]["content"]


async def test_a_join_waits_for_the_longest_branch_and_runs_once(bench: Bench) -> None:
    bench.stub.answer = by_agent(
        Start="go", Short="s", Long=[calls(tool_call("web_search", {"query": "1"})), calls(tool_call("web_search", {"query": "2"})), "l"],
        After="a", Join="joined",
    )  # fmt: skip
    document = flow(
        edge("Start", "Short"), edge("Start", "Long"), edge("Short", "Join"), edge("Long", "After"), edge("After", "Join"),
        edge("Join", "END"), agents={"Long": {"allowed_tools": ["web_search"]}},
    )  # fmt: skip
    outcome = await run(bench, document)
    assert (outcome.status, outcome.message) == ("COMPLETED", "joined")
    said = [each["name"] for each in outcome.final_state["messages"] if each["type"] == "ai" and not each["tool_calls"]]
    assert sorted(said) == ["After", "Join", "Long", "Short", "Start"]
    assert said[-1] == "Join"
    assert "[Long]: l" in bench.stub.calls[-1].text


async def test_joins_within_joins_each_run_once_and_in_order(bench: Bench) -> None:
    names = ["A", "B", "C", "X", "D", "G"]
    bench.stub.answer = by_agent(
        **{name: [name.lower()] for name in names if name != "X"},
        X=[calls(tool_call("web_search", {"query": "q"})), "x"],
    )
    document = flow(
        edge("A", "B"), edge("A", "C"), edge("A", "X"), edge("B", "D"), edge("C", "D"), edge("X", "G"), edge("D", "G"),
        agents={"X": {"allowed_tools": ["web_search"]}},
    )  # fmt: skip
    outcome = await run(bench, document)
    assert (outcome.status, outcome.message) == ("COMPLETED", "g")


async def test_a_branch_that_was_not_taken_is_not_waited_for(bench: Bench) -> None:
    bench.stub.answer = by_agent(A="LEFT", L="l", J="j")
    document = flow(
        edge("A", "L", signal("LEFT")), edge("A", "R", signal("RIGHT")), edge("L", "J"), edge("R", "J"),
    )  # fmt: skip
    assert (await run(bench, document)).message == "j"


async def test_a_loop_over_a_fan_out_joins_each_time_round(bench: Bench) -> None:
    bench.stub.answer = by_agent(A=["a1", "a2"], B=["b1", "b2"], C=["c1", "c2"], J=["AGAIN", "DONE"])
    document = flow(
        edge("A", "B"), edge("A", "C"), edge("B", "J"), edge("C", "J"), edge("J", "A", signal("AGAIN")),
        edge("J", "END", signal("DONE")),
    )  # fmt: skip
    outcome = await run(bench, document)
    assert outcome.status == "COMPLETED"
    assert [each["content"] for each in outcome.final_state["messages"] if each["name"] == "J"] == ["AGAIN", "DONE"]


async def test_a_loop_that_nobody_leaves_ends_at_its_limit(bench: Bench) -> None:
    bench.stub.answer = lambda _: completion("again")
    document = payload(edge("a", "b"), edge("b", "a"), edge("b", "END", compare("done", "==", True)), recursion_limit=7)
    outcome = await run(bench, document)
    assert outcome.status == "ERROR"
    assert outcome.error is not None
    assert outcome.error["code"] == "recursion_limit"
    assert "7 steps" in outcome.message
    assert len(bench.stub.calls) == 7
    assert len(outcome.final_state["messages"]) == 8


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (tool_call("delete_everything", {}), "there is no tool 'delete_everything'; use one of: web_search"),
        (tool_call("web_search", {"query": ""}), "wrong arguments for 'web_search': query"),
        (tool_call("web_search", '{"query": '), "'web_search' was not called: its arguments are no JSON"),
        (
            tool_call("web_search", DEEP),
            "'web_search' was not called: its arguments are nested deeper than the limit of 64",
        ),
    ],
)
async def test_a_call_that_cannot_be_made_is_told_once_and_then_fails_the_step(
    bench: Bench, bad: dict[str, Any], told: str
) -> None:
    document = payload(edge("a", "END"), agent_configs=[agent(allowed_tools=["web_search"])])
    bench.stub.script.extend([calls(bad), completion("then without")])
    outcome = await run(bench, document)
    assert (outcome.status, outcome.message) == ("COMPLETED", "then without")
    assert told in bench.stub.calls[1].tool_results[0]
    bench.stub.script.extend([calls(bad), calls(bad | {"id": "other"})])
    outcome = await run(bench, document)
    assert outcome.status == "ERROR"
    assert outcome.error is not None
    assert outcome.error["code"] == "tool_call"
    assert told.partition(";")[0] in outcome.message
    assert bench.searches == []


def test_the_end_of_a_run_can_be_told_whatever_a_model_wrote() -> None:
    """Also of what was kept before such calls were refused."""
    args = {**json.loads(DEEP), "n": 2**70}
    told = written(AIMessage("half \ud800", tool_calls=[ToolCall(name="web_search", args=args, id="1")]))
    assert told["content"] == "half \ufffd"
    [call] = told["tool_calls"]
    assert (call["args"]["query"], call["args"]["n"]) == ("q", str(2**70))
    assert depth_of(told) <= MAX_DEPTH


async def test_of_several_calls_the_good_one_is_made_and_the_bad_one_is_not(bench: Bench) -> None:
    document = payload(edge("a", "END"), agent_configs=[agent(allowed_tools=["web_search"])])
    bench.stub.script.extend(
        [
            calls(tool_call("rm", {}, call_id="1"), tool_call("web_search", {"query": "q"}, call_id="2")),
            completion("ok"),
        ]
    )
    outcome = await run(bench, document)
    assert outcome.status == "COMPLETED"
    assert bench.searches == ["q"]
    assert [each["role"] for each in bench.stub.calls[1].body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
    ]


async def test_models_that_number_their_calls_anew_in_each_answer_get_each_call_made(bench: Bench) -> None:
    document = payload(edge("a", "END"), agent_configs=[agent(allowed_tools=["web_search"])])
    asked = ["one", "two", "three", "four"]
    turns = [calls(tool_call("web_search", {"query": query}, call_id="call_0")) for query in asked[:2]]
    nameless = calls(*(tool_call("web_search", {"query": query}, call_id="") for query in asked[2:]))
    bench.stub.script.extend([*turns, nameless, completion("ok")])
    outcome = await run(bench, document)
    assert (outcome.status, bench.searches) == ("COMPLETED", asked)
    messages = bench.stub.calls[3].body["messages"]
    made = [call["id"] for each in messages for call in each.get("tool_calls", ())]
    assert len(set(made)) == 4
    assert [each["tool_call_id"] for each in messages if each["role"] == "tool"] == made
    # Every call's own answer.
    assert [query for query in asked for said in bench.stub.calls[3].tool_results if f"about {query}" in said] == asked


async def test_agents_that_run_at_once_may_number_their_calls_alike(bench: Bench) -> None:
    names = ["A", "B"]
    scripts = {
        name: [calls(tool_call("web_search", {"query": name.lower()}, call_id="call_0")), f"{name} is done"]
        for name in names
    }
    bench.stub.answer = by_agent(S="begin", **scripts)
    document = flow(
        *(edge("S", name) for name in names), *(edge(name, "END") for name in names),
        agents={name: {"allowed_tools": ["web_search"]} for name in names},
    )  # fmt: skip
    outcome = await run(bench, document)
    assert outcome.status == "COMPLETED", outcome.message
    assert sorted(bench.searches) == ["a", "b"]
    told = {each.body["messages"][0]["content"][0]: each.tool_results for each in bench.stub.calls if each.tool_results}
    assert {name: results[-1] for name, results in told.items()} == {
        name: f'{{"results":["a page about {name.lower()}"]}}' for name in names
    }


async def test_an_answer_beside_the_schema_is_repaired_once(bench: Bench) -> None:
    schema = {"type": "object", "required": ["score"], "properties": {"score": {"type": "integer", "maximum": 100}}}
    document = payload(edge("a", "END"), nodes=[node("a", output_schema=schema)])
    bench.stub.script.extend([completion('{"score": 900}'), completion('{"score": 90}')])
    outcome = await run(bench, document)
    assert outcome.final_state["workflow_scratchpad"] == {"a": {"score": 90}}
    assert "$.score: 900 is greater than the maximum of 100" in bench.stub.calls[1].text
    bench.stub.script.extend([completion("high"), completion('{"score": "high"}')])
    outcome = await run(bench, document)
    assert outcome.error is not None
    assert outcome.error["code"] == "schema_violation"
    assert '"high" is not of type "integer"' in outcome.message


async def test_a_node_is_not_entered_with_a_scratchpad_that_lacks_what_it_needs(bench: Bench) -> None:
    document = payload(edge("a", "END"), nodes=[node("a", input_schema={"required": ["topic"]})])
    outcome = await run(bench, document, "about whales")
    assert outcome.error is not None
    assert outcome.error["code"] == "schema_violation"
    assert '"topic" is a required property' in outcome.message
    assert len(bench.stub.calls) == 1
    bench.stub.script.extend([completion('{"topic": "whales"}'), completion("done")])
    outcome = await run(bench, document, "about whales")
    assert (outcome.status, outcome.final_state["workflow_scratchpad"]) == ("COMPLETED", {"topic": "whales"})
    assert "about whales" in bench.stub.calls[1].text
    outcome = await run(bench, document, initial_scratchpad={"topic": "x"})
    assert outcome.status == "COMPLETED"
    assert len(bench.stub.calls) == 4


async def test_an_agent_without_a_model_uses_its_tools_on_the_scratchpad(bench: Bench) -> None:
    document = payload(edge("a", "END"), agent_configs=[agent(llm_choice="none", allowed_tools=["note", "web_search"])])
    outcome = await run(bench, document, initial_scratchpad={"key": "query", "value": "found by note"})
    assert outcome.status == "COMPLETED"
    assert bench.searches == ["found by note"]
    assert bench.stub.calls == []
    outcome = await run(bench, document)
    assert outcome.error is not None
    assert "key: Field required" in outcome.message


async def test_a_model_that_is_down_is_asked_again_as_the_node_says(bench: Bench) -> None:
    from tests.stubs.openai import error  # noqa: PLC0415

    document = payload(edge("a", "END"), nodes=[node("a", retry={"max_attempts": 3, "initial_s": 0.01})])
    bench.stub.script.extend([error(503), error(503), completion("at last")])
    assert (await run(bench, document)).message == "at last"
    bench.stub.script.extend([error(503)] * 3)
    outcome = await run(bench, document)
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["retryable"]) == ("llm_unavailable", True)


async def test_a_step_that_takes_too_long_is_ended(bench: Bench) -> None:
    document = payload(edge("a", "END"), nodes=[node("a", timeout_s=0.2, retry={"max_attempts": 1})])
    bench.stub.answer = lambda _: completion("late", delay_s=5)
    outcome = await run(bench, document)
    assert outcome.error is not None
    assert outcome.error["code"] == "step_timeout"


def test_what_is_compiled_is_kept_and_faults_are_refused(bench: Bench) -> None:
    manager = EnterpriseWorkflowManager(bench.workshop())
    assert manager.compile(defined(edge("a", "END"))) is manager.compile(defined(edge("a", "END")))
    from actors.errors import DefinitionFaultsError  # noqa: PLC0415

    with pytest.raises(DefinitionFaultsError):
        manager.compile(defined(edge("a", "b"), edge("b", "a")))


async def test_alone_with_a_checkpointer_a_thread_goes_on_and_reviews_are_answered(bench: Bench) -> None:
    definition = defined(edge("a", "END"), nodes=[node("a", review={"on": "output"})])
    bench.stub.script.extend([completion("draft"), completion("second")])
    async with opened(bench) as workshop:
        manager = EnterpriseWorkflowManager(workshop, checkpointer=InMemorySaver())
        waiting = await manager.run_workflow(definition, "first task")
        assert (waiting.status, len(waiting.interrupts)) == ("AWAITING_HUMAN", 1)
        ended = await manager.resume_workflow(definition, waiting.thread_id, {waiting.interrupts[0]["id"]: "approve"})
        assert (ended.status, ended.message) == ("COMPLETED", "draft")
        again = await manager.run_workflow(definition, "second task", thread_id=ended.thread_id)
        assert again.interrupts[0]["value"]["output"] == "second"
    assert len(bench.stub.calls) == 2
    assert "first task" in bench.stub.calls[1].text


async def test_alone_only_what_a_thread_waits_for_can_be_answered(bench: Bench) -> None:
    review = {"on": "output"}
    document = flow(edge("S", "A"), edge("S", "B"), edge("A", "END"), edge("B", "END"))
    document["nodes"] = [each if each["id"] == "S" else {**each, "review": review} for each in document["nodes"]]
    definition = WorkflowDefinition.model_validate(document)
    bench.stub.answer = by_agent(S="begin", A="a", B="b")
    async with opened(bench) as workshop:
        manager = EnterpriseWorkflowManager(workshop, checkpointer=InMemorySaver())
        waiting = await manager.run_workflow(definition, "task", thread_id="t")
        first, second = (each["id"] for each in waiting.interrupts)

        async def refused(answers: Any, why: str, thread_id: str = "t") -> None:
            with pytest.raises(RunConflictError, match=why):
                await manager.resume_workflow(definition, thread_id, answers)

        await refused("approve", "waits for 2 answers")
        await refused({"answer": "approve"}, "does not wait for answer: it waits for")
        await refused({first: "approve", "f" * 32: "approve"}, "does not wait for f{32}")
        await refused({}, "was given no answer")
        await refused({first: "approve"}, "waits for no answer", thread_id="another")
        # None of these was taken: both still wait. One answered, the other goes on waiting, and is the only one.
        half = await manager.resume_workflow(definition, "t", {first: "approve"})
        assert (half.status, [each["id"] for each in half.interrupts]) == ("AWAITING_HUMAN", [second])
        await refused({first: "approve"}, f"does not wait for {first}: it waits for {second}")
        ended = await manager.resume_workflow(definition, "t", "approve")
        assert ended.status == "COMPLETED"
        await refused({second: "approve"}, "waits for no answer")
        unkept = EnterpriseWorkflowManager(workshop)
        with pytest.raises(RunConflictError, match="waits for no answer"):
            await unkept.resume_workflow(definition, "t", {first: "approve"})
    assert len(bench.stub.calls) == 3


class SlowSaver(InMemorySaver):
    """As a database far away: a checkpoint is kept a while after it was given."""

    kept = 0

    async def aput(self, *given: Any) -> Any:
        await asyncio.sleep(0.2)
        config = await super().aput(*given)
        self.kept += 1
        return config


async def test_alone_a_step_begins_only_when_the_one_before_it_is_kept(bench: Bench) -> None:
    saver = SlowSaver()
    kept: list[int] = []

    def answer(_: dict[str, Any]) -> Reply:
        kept.append(saver.kept)
        return completion("done")

    bench.stub.answer = answer
    async with opened(bench) as workshop:
        manager = EnterpriseWorkflowManager(workshop, checkpointer=saver)
        await manager.run_workflow(defined(edge("a", "b"), edge("b", "END")), "task")
    # What was given and the start of the graph, and then the first agent's answer.
    assert kept == [2, 3]


class Remembering(StepContext):
    """A step that keeps what `once` was told, as the engine does."""

    def __init__(self) -> None:
        super().__init__(owner="0xa", step="a/tools")
        self.kept: dict[str, Any] = {}

    async def once(self, key: str, call: Callable[[str], Awaitable[Any]]) -> Any:
        if key not in self.kept:
            self.kept[key] = await call(key)
        return self.kept[key]


async def test_a_tool_that_writes_is_called_once_however_often_its_step_is_run(bench: Bench) -> None:
    made_twice = [
        {"name": "note", "args": {"key": "k", "value": "v"}, "id": "c1", "type": "tool_call"},
        {"name": "web_search", "args": {"query": "q"}, "id": "c2", "type": "tool_call"},
    ]
    workshop = bench.workshop()
    with entered(Remembering()):
        first = await made(made_twice, workshop.tools, workshop.open_context, {})  # type: ignore[arg-type]  # as LangChain parses them
        second = await made(made_twice, workshop.tools, workshop.open_context, {})  # type: ignore[arg-type]
    assert first == second
    assert bench.notes == [("k", "v")]
    assert bench.searches == ["q", "q"]
    assert first[0].scratchpad == {"k": "v"}


@pytest.mark.parametrize("call_id", ["c1", None])
async def test_calls_that_share_an_id_are_each_made_once_and_each_answered_with_its_own(
    bench: Bench, call_id: str | None
) -> None:
    asked = [ToolCall(name="note", args={"key": key, "value": "v"}, id=call_id) for key in "klm"]
    workshop = bench.workshop()
    with entered(Remembering()):
        first = await made(asked, workshop.tools, workshop.open_context, {})
        second = await made(asked, workshop.tools, workshop.open_context, {})
    assert first == second
    assert bench.notes == [("k", "v"), ("l", "v"), ("m", "v")]
    assert [result.scratchpad for result in first] == [{"k": "v"}, {"l": "v"}, {"m": "v"}]


async def test_geminis_client_takes_the_conversation_of_two_agents_with_a_tool_between() -> None:
    async with GeminiStub() as google, OpenAIStub() as openai:
        google.script.extend([
            generated(None, calls=[function_call("web_search", {"query": "whales"})]), generated("Mammals."),
            generated(None, calls=[function_call("web_search", {"query": "more"})]), generated("Bigger."),
            generated("Big mammals."), generated("Fine."),
        ])  # fmt: skip
        bench = Bench(openai)
        reach = LLMProviderSettings(base_url=google.url, api_key=SecretStr("key"))
        workshop = replace(bench.workshop(), llms=LLMCatalogue(LLMSettings(google=reach)))
        document = flow(
            edge("Researcher", "Critic"), edge("Critic", "Researcher", signal("Bigger.")), edge("Critic", "END"),
            agents={name: {"llm_choice": "google", "allowed_tools": ["web_search"]} for name in ("Researcher", "Critic")},
        )  # fmt: skip
        outcome = await EnterpriseWorkflowManager(workshop).run_workflow(document, "whales")
        assert (outcome.status, outcome.message) == ("COMPLETED", "Fine.")
        await workshop.llms.close()
    assert bench.searches == ["whales", "more"]
    assert "[Researcher]: Mammals." in google.calls[2].text
    assert google.calls[3].tool_results[0]["response"]
    # Its own call goes back with the signature that it came with.
    assert "thoughtSignature" in str(google.calls[1].body)
    assert "[Critic]: Bigger." in google.calls[4].text


async def test_braces_and_attributes_in_templates_reach_nothing(bench: Bench) -> None:
    template = "{{literal}} {topic.name} {topic.missing} {workflow_scratchpad.topic.name}"
    document = payload(edge("a", "END"), agent_configs=[agent(system_message_template=template)], inputs=["topic"])
    await run(bench, document, initial_scratchpad={"topic": {"name": "whales {agent_name}"}})
    said = bench.stub.calls[0].body["messages"][0]["content"]
    assert said == "{literal} whales {agent_name}  whales {agent_name}"
