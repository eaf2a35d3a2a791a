"""Small workflows for tests: written down, answered for, and run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.agents.definition import WorkflowDefinition
from actors.agents.enterprise_workflow import EnterpriseWorkflowManager
from actors.agents.workflow_runs import WorkflowOutcome
from tests.actors.agents.definitions import agent, payload
from tests.actors.agents.workshop import Bench, opened
from tests.stubs.http import Reply
from tests.stubs.openai import completion


async def run(
    bench: Bench, definition: WorkflowDefinition | dict[str, Any], task: str = "the task", **more: Any
) -> WorkflowOutcome:
    async with opened(bench) as workshop:
        return await EnterpriseWorkflowManager(workshop).run_workflow(definition, task, **more)


def by_agent(**answers: Any) -> Callable[[dict[str, Any]], Reply]:
    """Each agent answers as named (its instructions begin with its name): a text, or a list of replies in turn."""
    left = {name: list(given) if isinstance(given, list) else given for name, given in answers.items()}

    def answer(body: dict[str, Any]) -> Reply:
        system = body["messages"][0]["content"]
        name = system.split(".")[0].split()[0]
        given = left[name]
        reply = given.pop(0) if isinstance(given, list) else given
        return reply if isinstance(reply, Reply) else completion(reply)

    return answer


def flow(*edges: dict[str, Any], agents: dict[str, dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """One agent a node, of the same name."""
    document = payload(*edges, **changes)
    names = [each["id"] for each in document["nodes"]]
    settings = agents or {}
    document["agent_configs"] = [
        agent(name, **{"system_message_template": f"{name}. Do your part.", **settings.get(name, {})}) for name in names
    ]
    for each in document["nodes"]:
        each["agent_config_name"] = each["id"]
    return document
