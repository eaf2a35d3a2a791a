"""The API's own description: the OpenAPI document at `/openapi.json`, and for people Swagger UI at `/docs`.

Swagger UI comes from files that this process has, and needs no network.

The files come in the PyPI package `fastapi-swagger`; nothing of it is used but its files.
"""

from __future__ import annotations

import importlib.util
import threading
from functools import cache
from pathlib import Path

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from actors.errors import MissingExtraError

router = APIRouter(include_in_schema=False)

# Scripts of ours alone, no frames, no address but ours. Swagger UI sets styles inline and draws images from `data:`.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# Addresses are relative, so that the page also works below a path prefix.
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hyvve API</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# No validator: its badge would ask a server elsewhere.
_START = b"""SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
});
"""
# Name at our address: name in the package, media type.
_FILES = {
    "swagger-ui.js": ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "swagger-ui.css": ("swagger-ui.css", "text/css; charset=utf-8"),
    "favicon.png": ("favicon-32x32.png", "image/png"),
}
_making = threading.Lock()


@router.get("/openapi.json")
def document(request: Request) -> Response:
    # On a thread, unlike FastAPI's own route: making it takes seconds of a slow machine the first time, and whoever
    # asks for something else meanwhile need not wait.
    with _making:
        found = request.app.openapi()
    if prefix := request.scope.get("root_path", "").rstrip("/"):
        found = {**found, "servers": [{"url": prefix}, *found.get("servers", [])]}
    return Response(orjson.dumps(found), media_type="application/json")


@router.get("/docs")
async def page() -> Response:
    return Response(_PAGE, media_type="text/html; charset=utf-8", headers=_HEADERS)


@router.get("/docs/start.js")
async def start() -> Response:
    return Response(_START, media_type="text/javascript; charset=utf-8", headers=_HEADERS)


# One route a file: a file that is not named here has no address.
@router.get("/docs/swagger-ui.js")
async def script() -> Response:
    return _file("swagger-ui.js")


@router.get("/docs/swagger-ui.css")
async def styles() -> Response:
    return _file("swagger-ui.css")


@router.get("/docs/favicon.png")
async def icon() -> Response:
    return _file("favicon.png")


def _file(name: str) -> Response:
    source, media_type = _FILES[name]
    # A day: the files change only with the package.
    headers = {**_HEADERS, "Cache-Control": "public, max-age=86400"}
    return Response(_bytes(source), media_type=media_type, headers=headers)


@cache
def _bytes(name: str) -> bytes:
    # Looked for and not imported: the package patches apps, which we do not want.
    spec = importlib.util.find_spec("fastapi_swagger")
    if spec is None or spec.origin is None:
        raise MissingExtraError("the pages at /docs need Swagger UI's files: pip install fastapi-swagger")
    return (Path(spec.origin).parent / "resources" / name).read_bytes()
