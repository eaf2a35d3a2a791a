"""Anthropic's API for tests: `POST /v1/messages`, `GET /v1/models/{id}`.

Wire format: https://platform.claude.com/docs/en/api/messages, errors: https://platform.claude.com/docs/en/api/errors.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import orjson

from tests.stubs.http import Reply, Request, StubServer

_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error",
}  # fmt: skip
_YES, _NO = {"supported": True}, {"supported": False}


def message(text: str | None, *, stop: str = "end_turn", details: dict[str, Any] | None = None, **usage: int) -> Reply:
    """A message whose one text block is `text`; none where it is empty."""
    body = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": text, "citations": None}] if text else [],
        "stop_reason": stop, "stop_sequence": None, "stop_details": details,
        "usage": {
            "input_tokens": 30, "output_tokens": 12, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 0,
            **usage,
        },
    }  # fmt: skip
    return Reply(orjson.dumps(body))


def error(status: int, said: str, **headers: str) -> Reply:
    body = {"type": "error", "error": {"type": _TYPES.get(status, "api_error"), "message": said}, "request_id": "req_1"}
    return Reply(orjson.dumps(body), status, {name.replace("_", "-"): value for name, value in headers.items()})


class AnthropicStub(StubServer):
    """Replies in `script` answer messages, one each; then `default`. `paid` keeps those requests."""

    def __init__(self, key: str) -> None:
        super().__init__(self._handle)
        self.key = key
        self.default = message("Lima.")
        self.script: deque[Reply] = deque()
        self.paid: list[Request] = []
        self.models: dict[str, dict[str, Any]] = {"claude-haiku-4-5": {"pdf_input": _YES}, "claude-blind": {}}

    def _handle(self, request: Request) -> Reply:
        # The SDK shows it in the one way or the other, as its version likes.
        shown = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if shown != self.key:
            return error(401, "invalid x-api-key")
        path = request.path.partition("?")[0]
        if path == "/v1/messages":
            self.paid.append(request)
            return self.script.popleft() if self.script else self.default
        model = path.removeprefix("/v1/models/")
        if model not in self.models:
            return error(404, f"model: {model}")
        sees = _YES if self.models[model] else _NO
        able = {
            "batch": _YES, "citations": _YES, "code_execution": _YES, "image_input": sees, "pdf_input": sees,
            "structured_outputs": _YES, "context_management": _NO, "effort": _NO, "server_tools": _NO, "thinking": _NO,
        }  # fmt: skip
        body = {
            "id": model, "type": "model", "display_name": model.title(), "created_at": "2025-10-01T00:00:00Z",
            "lifecycle": "active", "deprecated_at": None, "max_input_tokens": 200_000, "max_tokens": 64_000,
            "capabilities": able,
        }  # fmt: skip
        return Reply(orjson.dumps(body))
