"""What an agent's model is shown of the conversation that all agents of a workflow share.

Providers refuse a tool's answer that does not follow its call, and branches that run at once interleave theirs. So an
agent sees its own calls and answers in full and in order, and of the others what they said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from actors.agents.workflow_state import NODE_KEY

_UNANSWERED = "This call was not made: the run ended before."


def prompt(system: str, messages: Sequence[BaseMessage], node_id: str) -> list[BaseMessage]:
    """The messages to send: the instructions, then the conversation as the agent of this node sees it."""
    return [*([SystemMessage(system)] if system.strip() else []), *_seen(messages, node_id)]


def unanswered(messages: Sequence[BaseMessage], node_id: str) -> tuple[AIMessage | None, list[Any]]:
    """The last message of the node's agent, and its calls that no tool has answered."""
    answered = _answers(messages, node_id).keys()
    for message in reversed(messages):
        if isinstance(message, AIMessage) and _node(message) == node_id:
            return message, [call for call in message.tool_calls if call["id"] not in answered]
    return None, []


def _answers(messages: Sequence[BaseMessage], node_id: str) -> dict[str, ToolMessage]:
    """By the ids of the calls, unique in one node: where two run at once, their models may number calls alike."""
    return {
        message.tool_call_id: message
        for message in messages
        if isinstance(message, ToolMessage) and _node(message) == node_id
    }


def _node(message: BaseMessage) -> str | None:
    found = message.additional_kwargs.get(NODE_KEY)
    return found if isinstance(found, str) else None


def _seen(messages: Sequence[BaseMessage], node_id: str) -> Iterator[BaseMessage]:
    answers = _answers(messages, node_id)
    # Where another agent said something after its tools had answered, what it said stands for that.
    spoken = {
        _node(message): place
        for place, message in enumerate(messages)
        if isinstance(message, AIMessage) and message.text.strip() and not message.tool_calls
    }
    for place, message in enumerate(messages):
        owner = _node(message)
        if isinstance(message, AIMessage):
            if owner == node_id:
                yield _own(message)
                for call in (*message.tool_calls, *message.invalid_tool_calls):
                    yield _answer(answers, call["id"] or "")
            elif message.text.strip():
                yield HumanMessage(f"[{message.name or owner or 'agent'}]: {message.text}")
        elif isinstance(message, ToolMessage):
            if owner != node_id and spoken.get(owner, -1) < place:
                yield HumanMessage(f"[{message.name} answered]: {message.text}")
        elif isinstance(message, HumanMessage):
            if owner is None or owner == node_id:
                yield HumanMessage(message.content)
        else:
            yield message


def _own(message: AIMessage) -> AIMessage:
    """As the provider made it: our marks would be sent along."""
    kept = {key: value for key, value in message.additional_kwargs.items() if key != NODE_KEY}
    return message.model_copy(update={"additional_kwargs": kept, "name": None})


def _answer(answers: dict[str, ToolMessage], call_id: str) -> ToolMessage:
    found = answers.get(call_id)
    if found is None:
        return ToolMessage(_UNANSWERED, tool_call_id=call_id, status="error")
    return found.model_copy(update={"additional_kwargs": {}})
