"""An OpenAI-compatible chat server for tests and benchmarks: `POST /v1/chat/completions`, `GET /v1/models`.

Wire format: https://platform.openai.com/docs/api-reference/chat. As a process of its own:
`python -m tests.stubs.openai --port 0 --latency 0.2` prints one line, its base URL, and serves until it is ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
import typer

from tests.stubs.http import Reply, Request, StubServer

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
        content = message["content"]
        parts += [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]
    return "\n".join(parts)


def completion(
    text: str,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    tool_calls: Iterable[dict[str, Any]] = (),
    **kwargs: Any,
) -> Reply:
    """A chat completion whose message is `text`."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": refusal}
    if calls := list(tool_calls):
        message |= {"content": None, "tool_calls": calls}
        finish = "tool_calls"
    body = {
        "id": "chatcmpl-stub", "object": "chat.completion", "created": 1_760_000_000, "model": "stub-model",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": 400, "completion_tokens": 120, "total_tokens": 520},
    }  # fmt: skip
    return Reply(orjson.dumps(body), **kwargs)


def judgement(value: float = 80.0, confidence: float = 0.9, delay_s: float = 0.0, **values: Any) -> Reply:
    """A completion that carries well-formed marks."""
    return completion(orjson.dumps(marks(value, confidence, **values)).decode(), delay_s=delay_s)


def error(
    status: int, message: str = "stub error", *, code: str | None = None, param: str | None = None, **headers: str
) -> Reply:
    """An error in OpenAI's envelope; `headers` such as `retry_after="1"`."""
    body = {"error": {"message": message, "type": "stub_error", "param": param, "code": code}}
    return Reply(orjson.dumps(body), status, {name.replace("_", "-"): value for name, value in headers.items()})


def streamed(text: str, pieces: int = 4) -> Reply:
    """`text` as server-sent `chat.completion.chunk` events, the last one with usage, then `[DONE]`."""
    step = max(1, -(-len(text) // pieces))
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[at : at + step]} for at in range(0, len(text), step)]
    base = {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "stub-model"}
    events = [base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 400, "completion_tokens": 120, "total_tokens": 520}
    events.append(base | {"choices": [], "usage": usage})
    chunks = tuple(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    return Reply(headers={"content-type": "text/event-stream"}, chunks=(*chunks, b"data: [DONE]\n\n"))


@dataclass(frozen=True, slots=True)
class Call:
    """One chat request as received."""

    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return text_of(self.body)


Answer = Callable[[dict[str, Any]], Reply]


class OpenAIStub(StubServer):
    """Scripted chat server.

    `answer` maps a request's body to a reply; replies put into `script` go first, one per request. `calls` keeps
    every request. `only_formats` names the `response_format` types it takes ("json_schema", "json_object"); to others
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
        if self.script:
            return self.script.popleft()
        reply = self.answer(body)
        if body.get("stream") and reply.status == 200:
            text = orjson.loads(reply.body)["choices"][0]["message"]["content"]
            return streamed(text)
        return reply


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
