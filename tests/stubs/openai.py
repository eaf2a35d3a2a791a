"""An OpenAI-compatible chat server for tests and benchmarks: `POST /v1/chat/completions`, `GET /v1/models`.

Wire format: https://platform.openai.com/docs/api-reference/chat. As a process of its own:
`python -m tests.stubs.openai --port 0 --latency 0.2` prints one line, its base URL, and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import orjson
import typer

from tests.stubs.http import Reply, Request, StubServer

_ids = itertools.count(1)

CRITERIA = ("accuracy", "alignment", "relevance", "completeness", "language", "originality")


def marks(value: float = 80.0, confidence: float = 0.9, **values: Any) -> dict[str, Any]:
    """A well-formed judgement: every criterion at `value`, or as named."""
    return {
        "marks": {name: {"reason": f"{name} is as asked", "value": values.get(name, value)} for name in CRITERIA},
        "confidence": confidence,
        "reasoning": "Judged against the brief.",
    }


def text_of(body: dict[str, Any]) -> str:
    """All text of a chat request, images left out."""
    parts: list[str] = []
    for message in body["messages"]:
        content = message.get("content") or ""  # none beside tool calls
        parts += [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]
    return "\n".join(parts)


def tool_call(name: str, arguments: dict[str, Any] | str, *, call_id: str | None = None) -> dict[str, Any]:
    """One tool call of a message; `arguments` as a text may be no JSON at all, as models' sometimes are."""
    written = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    function = {"name": name, "arguments": written}
    return {"id": call_id or f"call_{next(_ids)}", "type": "function", "function": function}


def completion(
    text: str | None,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    tool_calls: Iterable[dict[str, Any]] = (),
    prompt_tokens: int = 400,
    completion_tokens: int = 120,
    cached_tokens: int = 0,
    **kwargs: Any,
) -> Reply:
    """A chat completion whose message is `text`, or calls tools. The stub streams it where a stream is asked for."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": refusal}
    if calls := list(tool_calls):
        message |= {"content": text or None, "tool_calls": calls}
        finish = "tool_calls"
    usage: dict[str, Any] = {
        "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }  # fmt: skip
    if cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": cached_tokens}
    body = {
        "id": "chatcmpl-stub", "object": "chat.completion", "created": 1_760_000_000, "model": "stub-model",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage,
    }  # fmt: skip
    return Reply(orjson.dumps(body), **kwargs)


def calls(*tool_calls: dict[str, Any], text: str | None = None, **kwargs: Any) -> Reply:
    """A completion that calls these tools (see `tool_call`)."""
    return completion(text, tool_calls=tool_calls, **kwargs)


def judgement(value: float = 80.0, confidence: float = 0.9, delay_s: float = 0.0, **values: Any) -> Reply:
    """A completion that carries well-formed marks."""
    return completion(orjson.dumps(marks(value, confidence, **values)).decode(), delay_s=delay_s)


def error(
    status: int, message: str = "stub error", *, code: str | None = None, param: str | None = None, **headers: str
) -> Reply:
    """An error in OpenAI's envelope; `headers` such as `retry_after="1"`."""
    body = {"error": {"message": message, "type": "stub_error", "param": param, "code": code}}
    return Reply(orjson.dumps(body), status, {name.replace("_", "-"): value for name, value in headers.items()})


def streamed(
    text: str,
    pieces: int = 4,
    *,
    tool_calls: Iterable[dict[str, Any]] = (),
    finish: str | None = "stop",
    usage: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Reply:
    """`text`, then tool calls piece by piece, as server-sent `chat.completion.chunk` events, the last one with usage,
    then `[DONE]`. With `finish=None` the stream ends in the middle, as if the server had died politely.
    """
    step = max(1, -(-len(text) // pieces))
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[at : at + step]} for at in range(0, len(text), step)]
    for index, call in enumerate(tool_calls):
        written = call["function"]["arguments"]
        # Two pieces at least, and none larger than real ones.
        size = min(max(1, -(-len(written) // 2)), 1_000)
        begun = {**call, "index": index, "function": {**call["function"], "arguments": written[:size]}}
        deltas.append({"tool_calls": [begun]})
        for at in range(size, len(written), size):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": written[at : at + size]}}]})
    base = {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "stub-model"}
    events = [base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    ending: tuple[bytes, ...] = ()
    if finish is not None:
        events.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        counted = usage or {"prompt_tokens": 400, "completion_tokens": 120, "total_tokens": 520}
        events.append(base | {"choices": [], "usage": counted})
        ending = (b"data: [DONE]\n\n",)
    chunks = tuple(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    return Reply(headers={"content-type": "text/event-stream"}, chunks=(*chunks, *ending), **kwargs)


def as_stream(reply: Reply) -> Reply:
    """A whole completion as the stream of it; anything else as it is."""
    try:
        body = orjson.loads(reply.body)
        [choice] = body["choices"]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return reply
    message = choice["message"]
    found = streamed(
        message["content"] or "",
        tool_calls=message.get("tool_calls", ()),
        finish=choice["finish_reason"],
        usage=body.get("usage"),
    )
    return replace(found, delay_s=reply.delay_s, pause_s=reply.pause_s, cut=reply.cut)


@dataclass(frozen=True, slots=True)
class Call:
    """One chat request as received."""

    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return text_of(self.body)

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        """The parameters of each tool that was offered, by its name."""
        return {tool["function"]["name"]: tool["function"]["parameters"] for tool in self.body.get("tools", ())}

    @property
    def tool_results(self) -> list[str]:
        """What the conversation's tools have answered so far."""
        return [message["content"] for message in self.body["messages"] if message["role"] == "tool"]


Answer = Callable[[dict[str, Any]], Reply]


class OpenAIStub(StubServer):
    """Scripted chat server.

    `answer` maps a request's body to a reply; replies put into `script` go first, one per request; either is streamed
    where the request asks for it. `calls` keeps every request. `only_formats` names the `response_format` types it takes ("json_schema", "json_object"); to others
    it answers 400, as older servers do. `fixed` serves that one reply without looking at the request: for benchmarks.
    """

    def __init__(
        self,
        answer: Answer | None = None,
        *,
        script: Iterable[Reply] = (),
        only_formats: tuple[str, ...] = ("json_schema", "json_object", "text"),
        fixed: Reply | None = None,
    ) -> None:
        super().__init__(self._handle if fixed is None else lambda _: fixed)
        self.answer = answer or (lambda _: judgement())
        self.script = deque(script)
        self.only_formats = only_formats
        self.calls: list[Call] = []

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def _handle(self, request: Request) -> Reply:
        if request.method == "GET" and request.path.endswith("/models"):
            return Reply(orjson.dumps({"object": "list", "data": [{"id": "stub-model", "object": "model"}]}))
        if request.method != "POST" or not request.path.endswith("/chat/completions"):
            return error(404, f"no route {request.method} {request.path}")
        body = request.json()
        self.calls.append(Call(request.headers, body))
        wanted = body.get("response_format", {"type": "text"})["type"]
        if wanted not in self.only_formats:
            return error(400, f"'response_format' of type '{wanted}' is not supported", param="response_format")
        reply = self.script.popleft() if self.script else self.answer(body)
        return as_stream(reply) if body.get("stream") and reply.status == 200 and not reply.chunks else reply


def main(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    latency: Annotated[float, typer.Option(help="Seconds before each answer.")] = 0.0,
    value: Annotated[float, typer.Option(help="Every criterion's mark.")] = 80.0,
) -> None:
    """Serve one fixed judgement on every request until ended; the first line printed is the base URL."""
    asyncio.run(_serve(port, judgement(value, delay_s=latency)))


async def _serve(port: int, reply: Reply) -> None:
    stub = OpenAIStub(fixed=reply)
    await stub.start(port)
    print(stub.base_url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    typer.run(main)
