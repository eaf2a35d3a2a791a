"""Bodies that are too large are refused while they arrive, whether or not they say their length."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Multipart's boundaries, headers and other fields, beside the file itself.
_FORM_OVERHEAD = 64 * 1024


class TooLargeError(HTTPException):
    """A starlette exception, not one of ours: FastAPI lets only those pass while it reads a body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is larger than the {limit} bytes that this address takes")


class BodyLimit:
    """Pure ASGI middleware: at most `upload_bytes` (and form overhead) under `upload_prefix`, else `body_bytes`."""

    def __init__(self, app: ASGIApp, *, body_bytes: int, upload_bytes: int, upload_prefix: str) -> None:
        self.app = app
        self._body_bytes = body_bytes
        self._upload_bytes = upload_bytes + _FORM_OVERHEAD
        self._upload_prefix = upload_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self.app(scope, receive, send)
            return
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        limit = self._upload_bytes if path.startswith(self._upload_prefix) else self._body_bytes
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        announced = declared.isdigit() and int(declared) > limit
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            if announced:
                raise TooLargeError(limit)
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > limit:
                    raise TooLargeError(limit)
            return message

        await self.app(scope, counted, send)
