"""Tool calls put together from a stream, strictly.

langchain-core completes what a stream left unfinished: half a JSON object becomes arguments that nobody wrote, and what
is no JSON at all is tried again without its last character until nothing is left, which takes minutes for a megabyte.
Here a call's arguments are the whole JSON object that the model wrote, or the call is an invalid one.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from langchain_core.messages import AIMessageChunk, InvalidToolCall, ToolCall

# Characters of arguments in one answer: a document to store fits, a model that repeats itself without end does not.
MOST_ARGUMENTS = 500_000
# More that is no JSON is not shown to anybody: the library's own try to complete it is quadratic.
_MOST_INVALID = 10_000


def without_calls(chunk: AIMessageChunk) -> AIMessageChunk:
    """The chunk as it is without its tool calls, for merging."""
    if not chunk.tool_call_chunks:
        return chunk
    return chunk.model_copy(update={"tool_call_chunks": [], "tool_calls": [], "invalid_tool_calls": []})


def calls_of(chunks: Sequence[AIMessageChunk]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """The calls whose arguments are a JSON object, and the others with what is wrong with them, in order.

    Pieces of one call share its index; a piece without an index is a whole call (Gemini sends them so).
    """
    pieces: dict[int | str, tuple[list[str], list[str], list[str]]] = {}
    for chunk in chunks:
        for piece in chunk.tool_call_chunks:
            index = piece.get("index")
            key: int | str = f"whole {len(pieces)}" if index is None else index
            ids, names, arguments = pieces.setdefault(key, ([], [], []))
            if piece.get("id"):
                ids.append(str(piece["id"]))
            if piece.get("name"):
                names.append(str(piece["name"]))
            arguments.append(piece.get("args") or "")
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for ids, names, arguments in pieces.values():
        call_id, name, written = ids[0] if ids else None, "".join(names), "".join(arguments)
        try:
            given = orjson.loads(written or "{}")
            error = None if isinstance(given, dict) else f"its arguments are no JSON object: {written[:100]}"
        except orjson.JSONDecodeError as fault:
            given, error = None, f"its arguments are no JSON: {fault}"
        if error is None and name:
            valid.append(ToolCall(name=name, args=given, id=call_id, type="tool_call"))
        else:
            said = error or "it names no tool"
            invalid.append(
                InvalidToolCall(name=name or None, args=written, id=call_id, error=said, type="invalid_tool_call")
            )
    return valid, invalid


def said_in(chunks: Sequence[AIMessageChunk]) -> str:
    """All that was written so far, words and arguments."""
    return "".join(part for chunk in chunks for part in (chunk.text, *_arguments(chunk)))


def size_of(chunk: AIMessageChunk) -> int:
    """Characters of arguments in the chunk."""
    return sum(map(len, _arguments(chunk)))


def _arguments(chunk: AIMessageChunk) -> list[str]:
    return [piece.get("args") or "" for piece in chunk.tool_call_chunks]


def calls_fault(chunks: Sequence[AIMessageChunk], size: int) -> str | None:
    """Why a stream with these chunks, the last one just come, is given up: what it wrote as arguments, or nothing."""
    if size > MOST_ARGUMENTS:
        return f"wrote more than {MOST_ARGUMENTS:,} characters of arguments"
    if size > _MOST_INVALID and chunks[-1].response_metadata.get("finish_reason"):
        _, invalid = calls_of(chunks)
        if invalid:
            return f"wrote {size:,} characters of arguments that are no JSON object: {invalid[0]['error']}"
    return None
