"""OpenAI's platform for tests: responses, chat, images, models and moderations. (`tests/stubs/openai.py` is a chat server.)

Wire format: https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from typing import Any

import orjson

from tests.stubs import openai
from tests.stubs.http import Reply, Request, StubServer

_PAID = ("/v1/responses", "/v1/chat/completions", "/v1/images/generations", "/v1/images/edits")
_MODELS = ("gpt-5-mini", "gpt-4.1", "gpt-image-1")


def response(
    text: str | None,
    *,
    refusal: str | None = None,
    status: str = "completed",
    reason: str | None = None,
    error: dict[str, str] | None = None,
    drawn: bytes | None = None,
    **kwargs: Any,
) -> Reply:
    """A response object whose one message says `text`, or refuses."""
    content: list[dict[str, Any]] = []
    if text is not None:
        content.append({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    if refusal is not None:
        content.append({"type": "refusal", "refusal": refusal})
    output: list[dict[str, Any]] = [{"id": "rs_1", "type": "reasoning", "summary": []}]
    if drawn is not None:
        output.append(
            {
                "id": "ig_1",
                "type": "image_generation_call",
                "status": "completed",
                "result": base64.b64encode(drawn).decode(),
            }
        )
    output.append({"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": content})
    body = {
        "id": "resp_1", "object": "response", "created_at": 1_760_000_000, "status": status, "model": "gpt-5-mini",
        "incomplete_details": {"reason": reason} if reason else None, "error": error,
        "output": [] if error else output,
        "usage": {
            "input_tokens": 40, "input_tokens_details": {"cached_tokens": 10}, "output_tokens": 12,
            "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 52,
        },
    }  # fmt: skip
    return Reply(orjson.dumps(body), **kwargs)


def images(*drawn: bytes) -> Reply:
    body = {
        "created": 1_760_000_000,
        "data": [{"b64_json": base64.b64encode(each).decode()} for each in drawn],
        "usage": {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210},
    }
    return Reply(orjson.dumps(body))


def form(request: Request) -> dict[str, list[bytes]]:
    """The parts of a multipart body, by name."""
    boundary = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    found: dict[str, list[bytes]] = {}
    for part in request.body.split(b"--" + boundary):
        head, _, data = part.partition(b"\r\n\r\n")
        if name := re.search(rb'\bname="([^"]*)"', head):
            found.setdefault(name[1].decode(), []).append(data.removesuffix(b"\r\n"))
    return found


class OpenAIPlatformStub(StubServer):
    """Replies in `script` answer the calls that cost, one each; then `default`. `paid` keeps those calls."""

    def __init__(self, key: str, default: Reply | None = None) -> None:
        super().__init__(self._handle)
        self.key = key
        self.default = default or response("Lima.")
        self.script: deque[Reply] = deque()
        self.paid: list[Request] = []
        self.flagged: tuple[str, ...] = ()
        self.moderates = True

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def _handle(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return openai.error(401, "Incorrect API key provided", code="invalid_api_key")
        path = request.path.partition("?")[0]
        if path in _PAID:
            self.paid.append(request)
            return self.script.popleft() if self.script else self.default
        if path.startswith("/v1/models/"):
            model = path.removeprefix("/v1/models/")
            if model not in _MODELS:
                return openai.error(404, f"The model '{model}' does not exist", code="model_not_found")
            return Reply(orjson.dumps({"id": model, "object": "model", "created": 1, "owned_by": "openai"}))
        if path == "/v1/moderations" and not self.moderates:
            return openai.error(503, "the moderation is down")
        if path == "/v1/moderations":
            marks = {name: name in self.flagged for name in ("violence", "hate", "self-harm")}
            result = {"flagged": any(marks.values()), "categories": marks, "category_scores": {}}
            return Reply(orjson.dumps({"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}))
        return openai.error(404, f"no route {request.method} {path}")
