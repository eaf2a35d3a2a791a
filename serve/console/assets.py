"""The console's own files: style sheet, scripts, icon. Named by their content, so browsers may keep them for ever."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Annotated

import fastapi
from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

_FILES = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

router = APIRouter()


@cache
def address(name: str) -> str:
    """Where the file of this name is found below the console's address."""
    stem, dot, ending = name.rpartition(".")
    digest = hashlib.sha256((_FILES / name).read_bytes()).hexdigest()[:12]
    return f"/assets/{stem}.{digest}{dot}{ending}"


@cache
def _all() -> dict[str, tuple[bytes, str]]:
    """Content and media type by address."""
    return {
        address(path.name): (path.read_bytes(), _TYPES[path.suffix])
        for path in _FILES.iterdir()
        if path.suffix in _TYPES
    }


@router.get("/assets/{name}")
async def asset(name: Annotated[str, fastapi.Path(max_length=100)]) -> Response:
    found = _all().get(f"/assets/{name}")
    if found is None:
        raise HTTPException(404, "the console has no such file: it may be of another version, so load the page anew")
    body, media_type = found
    return Response(body, media_type=media_type, headers={"Cache-Control": "public, max-age=31536000, immutable"})
