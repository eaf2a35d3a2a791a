"""Google's Generative Language API for tests: `POST /v1beta/models/{model}:generateContent` over REST, and
`:streamGenerateContent?alt=sse`.

Wire format: https://ai.google.dev/api/generate-content; errors in the envelope of
https://cloud.google.com/apis/design/errors.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from tests.stubs.http import Reply, Request, StubServer
from tests.stubs.openai import marks

_ROUTE = re.compile(r"/v1(?:beta)?/models/([^/:]+):(generateContent|streamGenerateContent)")
_STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One request as received; `images` are its inline parts as (media type, bytes)."""

    model: str
    headers: dict[str, str]
    body: dict[str, Any]
    stream: bool = False

    @property
    def text(self) -> str:
        parts = [*self.body.get("systemInstruction", {}).get("parts", []), *self._parts]
        return "\n".join(part["text"] for part in parts if "text" in part)

    @property
    def images(self) -> list[tuple[str, bytes]]:
        inline = [part["inlineData"] for part in self._parts if "inlineData" in part]
        return [(data["mimeType"], base64.urlsafe_b64decode(data["data"])) for data in inline]

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        """The parameters of each function that was offered, by its name."""
        offered = [each for tool in self.body.get("tools", ()) for each in tool.get("functionDeclarations", ())]
        return {each["name"]: each.get("parametersJsonSchema") or each.get("parameters", {}) for each in offered}

    @property
    def tool_results(self) -> list[dict[str, Any]]:
        """What the conversation's functions have answered so far."""
        return [part["functionResponse"] for part in self._parts if "functionResponse" in part]

    @property
    def _parts(self) -> list[dict[str, Any]]:
        return [part for content in self.body["contents"] for part in content["parts"]]


def function_call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One function call, as a part of a candidate; with the signature that newer models send and want back."""
    return {"functionCall": {"name": name, "args": arguments}, "thoughtSignature": "c3R1Yg=="}


def generated(
    text: str | None,
    *,
    calls: Iterable[dict[str, Any]] = (),
    finish: str | None = "STOP",
    prompt_tokens: int = 300,
    completion_tokens: int = 90,
    **kwargs: Any,
) -> Reply:
    """A candidate of `text` and function calls (see `function_call`). The stub streams it where that is asked for."""
    parts = [*([{"text": text}] if text is not None else []), *calls]
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    body = {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": prompt_tokens, "candidatesTokenCount": completion_tokens,
            "totalTokenCount": prompt_tokens + completion_tokens,
        },
        "modelVersion": "stub-model", "responseId": "stub",
    }  # fmt: skip
    return Reply(orjson.dumps(body), **kwargs)


def as_stream(reply: Reply, pieces: int = 4) -> Reply:
    """A whole response as the stream of it, texts in pieces, the last one with the reason to end; else as it is."""
    try:
        body = orjson.loads(reply.body)
        [candidate] = body["candidates"]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return reply
    parts: list[dict[str, Any]] = []
    for part in candidate["content"]["parts"]:
        text = part.get("text")
        step = max(1, -(-len(text or "") // pieces))
        parts += [{"text": text[at : at + step]} for at in range(0, len(text), step)] if text else [part]
    events = [{**body, "candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}]} for part in parts]
    if events and "finishReason" in candidate:
        events[-1]["candidates"][0]["finishReason"] = candidate["finishReason"]
    return replace(
        reply,
        headers={"content-type": "text/event-stream"},
        chunks=tuple(b"data: " + orjson.dumps(event) + b"\r\n\r\n" for event in events),
    )


def blocked(reason: str = "PROHIBITED_CONTENT") -> Reply:
    """The prompt was blocked: no candidates at all."""
    body = {
        "promptFeedback": {"blockReason": reason},
        "usageMetadata": {"promptTokenCount": 300, "totalTokenCount": 300},
        "modelVersion": "stub-model",
    }
    return Reply(orjson.dumps(body))


def judgement(value: float = 80.0, confidence: float = 0.9, **values: Any) -> Reply:
    return generated(orjson.dumps(marks(value, confidence, **values)).decode())


def error(
    status: int,
    message: str = "stub error",
    *,
    retry_delay: str | None = None,
    quota: str | None = None,
    reason: str | None = None,
) -> Reply:
    """Google's error envelope; `retry_delay` such as "2s" as RetryInfo, `quota` the id of the quota that was spent,
    `reason` of ErrorInfo.
    """
    details: list[dict[str, Any]] = []
    if reason:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
        details.append(info)
    if quota:
        violation = {"quotaMetric": "generate_content_requests", "quotaId": quota}
        details.append({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]})
    if retry_delay:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay})
    fault = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN"), "details": details}
    return Reply(orjson.dumps({"error": fault}), status)


class GeminiStub(StubServer):
    """Scripted server: replies put into `script` go first, then `answer`. `calls` keeps every request."""

    def __init__(self, answer: Callable[[Call], Reply] | None = None, *, script: Iterable[Reply] = ()) -> None:
        super().__init__(self._handle)
        self.answer = answer or (lambda _: judgement())
        self.script = deque(script)
        self.calls: list[Call] = []

    def _handle(self, request: Request) -> Reply:
        route = _ROUTE.fullmatch(request.path.partition("?")[0])
        if request.method != "POST" or route is None:
            return error(404, f"no route {request.method} {request.path}")
        call = Call(route.group(1), request.headers, request.json(), stream=route.group(2) != "generateContent")
        self.calls.append(call)
        reply = self.script.popleft() if self.script else self.answer(call)
        return as_stream(reply) if call.stream and reply.status == 200 and not reply.chunks else reply
