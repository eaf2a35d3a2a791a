"""Replicate's HTTP API for tests: models with their OpenAPI documents, predictions, files, signed webhooks.

Wire format: https://replicate.com/docs/reference/http. A prediction is done when it was asked for `looks` times, or when
`finish` is called; outputs are served under `/delivery/`.
"""

from __future__ import annotations

import base64
import hmac
import itertools
import re
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson

from tests.stubs.http import Reply, Request, StubServer

_ROUTE = re.compile(
    r"/v1/(?:models/(?P<model>[^/]+/[^/]+)(?P<of>|/predictions|/versions/(?P<version>\w+))"
    r"|predictions(?:/(?P<id>[\w-]+)(?P<cancel>/cancel)?)?|files(?:/(?P<file>\w+))?|webhooks/default/secret)"
)
_DONE = ("succeeded", "failed", "canceled", "aborted")
SECRET = "whsec_" + base64.b64encode(b"the stub's own signing secret").decode()

FLUX: dict[str, Any] = {
    "Input": {
        "type": "object",
        "title": "Input",
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string", "title": "Prompt", "x-order": 0, "description": "What to draw"},
            "width": {"type": "integer", "default": 1024, "minimum": 256, "maximum": 1440, "x-order": 1},
            "guidance": {"type": "number", "default": 3.5, "x-order": 2},
            "go_fast": {"type": "boolean", "default": True, "x-order": 3},
            "seed": {"type": "integer", "nullable": True, "x-order": 4},
            "image": {
                "type": "string",
                "format": "uri",
                "nullable": True,
                "x-order": 5,
                "description": "To start from",
            },
            "aspect_ratio": {"allOf": [{"$ref": "#/components/schemas/aspect_ratio"}], "default": "1:1", "x-order": 6},
        },
    },
    "Output": {"type": "array", "items": {"type": "string", "format": "uri"}, "title": "Output"},
    "aspect_ratio": {"type": "string", "enum": ["1:1", "16:9", "9:16"], "title": "aspect_ratio"},
}
LLAMA: dict[str, Any] = {
    "Input": {
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string", "x-order": 0},
            "max_tokens": {"type": "integer", "default": 512, "minimum": 1, "x-order": 1},
            "temperature": {"type": "number", "default": 0.7, "x-order": 2},
            "images": {"type": "array", "items": {"type": "string", "format": "uri"}, "x-order": 3},
        },
    },
    "Output": {"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator"},
}


@dataclass
class Model:
    id: str
    schemas: dict[str, Any]
    official: bool = True
    version: str = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"

    def json(self) -> dict[str, Any]:
        owner, _, name = self.id.partition("/")
        return {
            "url": f"https://replicate.com/{self.id}", "owner": owner, "name": name, "description": f"{name} of {owner}",
            "visibility": "public", "github_url": None, "paper_url": None, "license_url": None, "run_count": 7,
            "cover_image_url": None, "default_example": None, "is_official": self.official,
            "latest_version": self.version_json(),
        }  # fmt: skip

    def version_json(self) -> dict[str, Any]:
        return {
            "id": self.version, "created_at": "2026-01-01T00:00:00.000Z", "cog_version": "0.14.1",
            "openapi_schema": {"openapi": "3.0.2", "info": {}, "paths": {}, "components": {"schemas": self.schemas}},
        }  # fmt: skip


@dataclass
class End:
    """How a prediction ends, and after how many looks; `looks=None`: never by itself."""

    output: Any = None
    status: str = "succeeded"
    error: str | None = None
    logs: str = "step 1\nstep 2\n"
    metrics: dict[str, Any] = field(default_factory=lambda: {"predict_time": 2.5, "total_time": 3.0})
    looks: int | None = 1


def problem(status: int, detail: str, *, invalid: dict[str, str] | None = None, **headers: str) -> Reply:
    """An RFC 7807 answer, as Replicate's; `invalid` names a field and what is wrong with it."""
    body: dict[str, Any] = {"title": "Problem", "detail": detail, "status": status}
    if invalid:
        body["invalid_fields"] = [
            {"type": "invalid_type", "field": name, "description": said} for name, said in invalid.items()
        ]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(orjson.dumps(body), status, {"content-type": "application/problem+json", **named})


class ReplicateStub(StubServer):
    """`ends` says how the next predictions end (then: `default`); replies in `script` answer the next creations instead,
    those in `looks` the next reads. `made` are the predictions, `inputs` what they were given, `uploads` the files.
    """

    def __init__(self, token: str = "r8_test") -> None:
        super().__init__(self._handle)
        self.token = token
        self.models = {model.id: model for model in (Model("acme/flux", FLUX), Model("acme/llama", LLAMA))}
        self.models["jo/llama-tuned"] = Model("jo/llama-tuned", LLAMA, official=False)
        self.default = End(output=["Lima", ", of course."])
        self.ends: deque[End] = deque()
        self.script: deque[Reply] = deque()
        self.looks: deque[Reply] = deque()
        self.made: dict[str, dict[str, Any]] = {}
        self.inputs: list[dict[str, Any]] = []
        self.requests: list[Request] = []
        self.uploads: dict[str, tuple[str, str, bytes]] = {}
        self.delivery: dict[str, bytes] = {}
        self._ends: dict[str, End] = {}
        self._looked: dict[str, int] = {}
        self._ids = itertools.count(1)

    def deliver(self, name: str, data: bytes) -> str:
        """The URL that an output file of this name has."""
        self.delivery[name] = data
        return f"{self.url}/delivery/{name}"

    def finish(self, prediction: str) -> None:
        self._end(prediction)

    def webhook(
        self, prediction: str, *, at: datetime | None = None, secret: str = SECRET
    ) -> tuple[dict[str, str], bytes]:
        """The headers and body of a delivery that tells of the prediction."""
        body = orjson.dumps(self.made[prediction])
        stamp = str(int((at or datetime.now(UTC)).timestamp()))
        delivery = f"msg_{prediction}"
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = base64.b64encode(hmac.digest(key, f"{delivery}.{stamp}.".encode() + body, "sha256")).decode()
        headers = {
            "Webhook-Id": delivery, "Webhook-Timestamp": stamp, "Webhook-Signature": f"v1,{signed}",
            "Content-Type": "application/json",
        }  # fmt: skip
        return headers, body

    async def send_webhook(self, prediction: str) -> int:
        """POST it to where the prediction's creator wants it; answers the status it got."""
        headers, body = self.webhook(prediction)
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.made[prediction]["webhook"], data=body, headers=headers) as response,
        ):
            return response.status

    def _handle(self, request: Request) -> Reply:
        self.requests.append(request)
        path = request.path.partition("?")[0]
        if path.startswith("/delivery/"):
            data = self.delivery.get(path.removeprefix("/delivery/"))
            return Reply(b"gone", 404) if data is None else Reply(data, headers={"content-type": "image/png"})
        route = _ROUTE.fullmatch(path)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return problem(401, "You did not pass a valid authentication token")
        if route is None:
            return problem(404, f"no route {request.method} {path}")
        if route["model"]:
            return self._model(request, route)
        if path.startswith("/v1/files"):
            return self._upload(request)
        if path.startswith("/v1/webhooks"):
            return Reply(orjson.dumps({"key": SECRET}))
        if route["cancel"]:
            return self._cancel(route["id"])
        if route["id"]:
            return self._look(route["id"])
        wanted = request.json()["version"]
        model = next((each for each in self.models.values() if each.version == wanted), None)
        return (
            problem(422, "version does not exist", invalid={"version": "unknown"})
            if model is None
            else self._create(request, model)
        )

    def _model(self, request: Request, route: re.Match[str]) -> Reply:
        model = self.models.get(route["model"])
        if model is None:
            return problem(404, "The requested resource could not be found.")
        if route["of"] == "/predictions":
            return self._create(request, model) if model.official else problem(404, "not an official model")
        if route["version"]:
            known = route["version"] == model.version
            return Reply(orjson.dumps(model.version_json())) if known else problem(404, "no such version")
        return Reply(orjson.dumps(model.json()))

    def _create(self, request: Request, model: Model) -> Reply:
        body = request.json()
        self.inputs.append(body["input"])
        if self.script:
            return self.script.popleft()
        made = f"p{next(self._ids)}"
        self._ends[made] = self.ends.popleft() if self.ends else self.default
        self.made[made] = {
            "id": made, "model": model.id, "version": model.version, "input": body["input"], "logs": "", "output": None,
            "error": None, "status": "starting", "created_at": "2026-01-01T00:00:00.000Z", "data_removed": False,
            "webhook": body.get("webhook"), "webhook_events_filter": body.get("webhook_events_filter"),
            "urls": {"get": f"{self.url}/v1/predictions/{made}", "cancel": f"{self.url}/v1/predictions/{made}/cancel"},
        }  # fmt: skip
        return Reply(orjson.dumps(self.made[made]), 201)

    def _look(self, prediction: str) -> Reply:
        if self.looks:
            return self.looks.popleft()
        found = self.made.get(prediction)
        if found is None:
            return problem(404, "The requested resource could not be found.")
        self._looked[prediction] = self._looked.get(prediction, 0) + 1
        end = self._ends[prediction]
        if found["status"] not in _DONE:
            if end.looks is not None and self._looked[prediction] > end.looks:
                self._end(prediction)
            else:
                found["status"] = "processing"
        return Reply(orjson.dumps(found))

    def _end(self, prediction: str) -> None:
        end = self._ends[prediction]
        self.made[prediction] |= {
            "status": end.status, "output": end.output, "error": end.error, "logs": end.logs, "metrics": end.metrics,
            "completed_at": "2026-01-01T00:00:03.000Z",
        }  # fmt: skip

    def _cancel(self, prediction: str) -> Reply:
        found = self.made.get(prediction)
        if found is None:
            return problem(404, "The requested resource could not be found.")
        if found["status"] not in _DONE:
            found["status"] = "canceled"
        return Reply(orjson.dumps(found))

    def _upload(self, request: Request) -> Reply:
        boundary = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
        part = next(each for each in request.body.split(b"--" + boundary) if b'name="content"' in each)
        head, _, data = part.partition(b"\r\n\r\n")
        name = re.search(rb'filename="([^"]*)"', head)
        kind = re.search(rb"(?i)content-type: *([^\r\n]+)", head)
        assert name is not None
        assert kind is not None
        made = f"f{next(self._ids)}"
        self.uploads[made] = (name[1].decode(), kind[1].decode(), data.removesuffix(b"\r\n"))
        body = {
            "id": made, "name": name[1].decode(), "content_type": kind[1].decode(), "size": len(data), "etag": made,
            "checksums": {}, "metadata": {}, "created_at": "2026-01-01T00:00:00Z", "expires_at": None,
            "urls": {"get": f"{self.url}/v1/files/{made}"},
        }  # fmt: skip
        return Reply(orjson.dumps(body), 201)
