"""An answer as a run can keep it, whatever the model wrote: state is JSON, and PostgreSQL has no NUL."""

from __future__ import annotations

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall

from actors.agents.documents import MAX_DEPTH, depth_of, storable


def keepable(message: AIMessage) -> AIMessage:
    """The message without NUL and halves of characters, its calls with arguments too deep to be kept among those that
    cannot be made.
    """
    calls: list[ToolCall] = []
    broken = [*message.invalid_tool_calls]
    for call in message.tool_calls:
        if depth_of(call["args"]) > MAX_DEPTH:
            said = f"its arguments are nested deeper than the limit of {MAX_DEPTH} levels"
            broken.append(
                InvalidToolCall(name=call["name"], args="", id=call["id"], error=said, type="invalid_tool_call")
            )
        else:
            calls.append(storable(call))
    return message.model_copy(
        update={
            "content": storable(message.content),
            "additional_kwargs": storable(message.additional_kwargs),
            "tool_calls": calls,
            "invalid_tool_calls": storable(broken),
        }
    )
