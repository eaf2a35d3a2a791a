"""Hugging Face for tests: the Hub's models, the router's chat, the inference endpoints of tasks.

Wire formats: https://huggingface.co/docs/hub/api, https://huggingface.co/docs/inference-providers/tasks.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import orjson

from tests.stubs import openai
from tests.stubs.http import Reply, Request, StubServer


def error(status: int, said: Any, **headers: str) -> Reply:
    """As the Hub and Text Generation Inference say it: a sentence, and in it the input that it is about. Providers
    behind the router answer in OpenAI's envelope (`openai.error`).
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(orjson.dumps({"error": said}), status, named)


def answer(value: Any) -> Reply:
    return Reply(orjson.dumps(value))


class HuggingFaceStub(StubServer):
    """Replies in `script` answer inference, one each; then `default`. `paid` keeps those requests."""

    def __init__(self, key: str) -> None:
        super().__init__(self._handle)
        self.key = key
        self.default = openai.completion("Lima.")
        self.script: deque[Reply] = deque()
        self.paid: list[Request] = []
        self.asked: list[str] = []
        self.tasks = {
            "acme/talk": "text-generation", "acme/draw": "text-to-image", "acme/hear": "automatic-speech-recognition",
            "acme/speak": "text-to-speech", "acme/sum": "summarization", "acme/sort": "image-classification",
            "acme/fold": "protein-folding",
        }  # fmt: skip

    def _handle(self, request: Request) -> Reply:
        path = request.path.partition("?")[0]
        self.asked.append(path)
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return error(401, "Invalid username or password.")
        if path.startswith("/api/models/"):
            model = path.removeprefix("/api/models/")
            if model not in self.tasks:
                # As the Hub does for what is missing and for what is private.
                return error(
                    401, "Repository not found", x_error_code="RepoNotFound", x_error_message="Repository not found"
                )
            return answer({"_id": "1", "id": model, "modelId": model, "pipeline_tag": self.tasks[model]})
        if path == "/v1/chat/completions" or path.startswith("/hf-inference/models/"):
            self.paid.append(request)
            return self.script.popleft() if self.script else self.default
        return error(404, f"no route {request.method} {path}")
