"""A content on its way out: as a picture of ours, or as the bytes that were sent, to be saved under no type or played
as sound or film. Never a page.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request
from starlette.responses import Response

from actors.errors import UnsupportedTypeError
from actors.verification.view import media_of
from serve.console.guard import SANDBOX

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def drawn(png: bytes, *, cached_s: int = 0) -> Response:
    """A picture as we drew it; nothing of the bytes that were sent."""
    headers = {**SANDBOX, "Content-Disposition": 'inline; filename="picture.png"'}
    if cached_s:
        headers["Cache-Control"] = f"private, max-age={cached_s}"
    return Response(png, media_type="image/png", headers=headers)


def saved(data: bytes, name: str) -> Response:
    """A download; `name` is ours."""
    headers = {**SANDBOX, "Content-Disposition": f'attachment; filename="{name}.bin"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


def played(request: Request, data: bytes) -> Response:
    """What browsers play, of the type that its own bytes prove; in parts, for they ask for those to jump, and some play
    nothing else (RFC 9110, 14). Raises `UnsupportedTypeError` for what is neither sound nor film.
    """
    found = media_of(data)
    if found is None:
        raise UnsupportedTypeError("the content is neither sound nor film: it is not played")
    headers: dict[str, Any] = {**SANDBOX, "Accept-Ranges": "bytes"}
    size = len(data)
    part = _part(request.headers.get("range", ""), size)
    if part is None:
        return Response(data, media_type=found.media_type, headers=headers)
    if part.start >= size:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return Response(data[part.start : part.stop], 206, media_type=found.media_type, headers=headers)


def _part(asked: str, size: int) -> range | None:
    """Which bytes are asked for; `None` is all of them, as it is for what is no range or several at once."""
    found = _RANGE.fullmatch(asked)
    first, last = found.groups() if found is not None else ("", "")
    if first:
        stop = min(int(last) + 1, size) if last else size
        return None if last and int(last) < int(first) else range(int(first), stop)
    return range(max(0, size - int(last)), size) if last else None
