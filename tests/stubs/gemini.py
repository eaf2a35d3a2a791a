"""Google's Generative Language API for tests: `POST /v1beta/models/{model}:generateContent` over REST.

Wire format: https://ai.google.dev/api/generate-content; errors in the envelope of
https://cloud.google.com/apis/design/errors.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from tests.stubs.http import Reply, Request, StubServer
from tests.stubs.openai import marks

_ROUTE = re.compile(r"/v1(?:beta)?/models/([^/:]+):generateContent")
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

    @property
    def text(self) -> str:
        parts = [*self.body.get("systemInstruction", {}).get("parts", []), *self._parts]
        return "\n".join(part["text"] for part in parts if "text" in part)

    @property
    def images(self) -> list[tuple[str, bytes]]:
        inline = [part["inlineData"] for part in self._parts if "inlineData" in part]
        return [(data["mimeType"], base64.urlsafe_b64decode(data["data"])) for data in inline]

    @property
    def _parts(self) -> list[dict[str, Any]]:
        return [part for content in self.body["contents"] for part in content["parts"]]


def generated(text: str, *, finish: str = "STOP", delay_s: float = 0.0) -> Reply:
    """A candidate whose one part is `text`."""
    body = {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": 300, "candidatesTokenCount": 90, "totalTokenCount": 390},
        "modelVersion": "stub-model", "responseId": "stub",
    }  # fmt: skip
    return Reply(orjson.dumps(body), delay_s=delay_s)


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
    status: int, message: str = "stub error", *, retry_delay: str | None = None, quota: str | None = None
) -> Reply:
    """Google's error envelope; `retry_delay` such as "2s" as RetryInfo, `quota` the id of the quota that was spent."""
    details: list[dict[str, Any]] = []
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
        call = Call(route.group(1), request.headers, request.json())
        self.calls.append(call)
        return self.script.popleft() if self.script else self.answer(call)
