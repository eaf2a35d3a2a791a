"""Bodies that are too large are refused while they arrive, whether or not they say their length; uploads also where a
process holds as many as it may, and where they do not arrive.
"""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Multipart's boundaries, headers and other fields, beside the file itself.
_FORM_OVERHEAD = 64 * 1024


class TooLargeError(HTTPException):
    """A starlette exception, not one of ours: FastAPI lets only those pass while it reads a body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is larger than the {limit} bytes that this address takes")


class TooManyUploadsError(HTTPException):
    def __init__(self, limit: int, retry_after_s: int) -> None:
        super().__init__(
            503,
            f"{limit} uploads are under way here, which is the limit; send this one again in {retry_after_s} s",
            {"Retry-After": str(retry_after_s)},
        )


class SlowUploadError(HTTPException):
    def __init__(self, limit_s: float) -> None:
        super().__init__(408, f"the upload did not arrive within the limit of {limit_s:g} s")


class BodyLimit:
    """Pure ASGI middleware: at most `upload_bytes` (and form overhead) under `upload_prefix`, else `body_bytes`.

    An upload is read whole, so at most `uploads` are held at once, each from before its first byte until its answer;
    the body of one more is not read. Each has `upload_timeout_s` to arrive.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_bytes: int,
        upload_bytes: int,
        upload_prefix: str,
        uploads: int,
        upload_timeout_s: float,
        retry_after_s: int,
    ) -> None:
        self.app = app
        self._uploads = uploads
        self._upload_timeout_s = upload_timeout_s
        self._retry_after_s = retry_after_s
        self._held = 0
        self._body_bytes = body_bytes
        self._upload_bytes = upload_bytes + _FORM_OVERHEAD
        self._upload_prefix = upload_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self.app(scope, receive, send)
            return
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(self._upload_prefix):
            await self._upload(scope, receive, send)
        else:
            await self.app(scope, _counted(scope, receive, self._body_bytes), send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Has room from the first time that its body is asked for: an address that does not exist takes none."""
        counted = _counted(scope, receive, self._upload_bytes)
        until: float | None = None
        arrived = False

        async def admitted() -> Message:
            nonlocal until, arrived
            if until is None:
                if self._held >= self._uploads:
                    raise TooManyUploadsError(self._uploads, self._retry_after_s)
                self._held += 1
                until = asyncio.get_running_loop().time() + self._upload_timeout_s
            if arrived:  # what comes now is that the client has left
                return await counted()
            try:
                async with asyncio.timeout_at(until):
                    message = await counted()
            except TimeoutError:
                raise SlowUploadError(self._upload_timeout_s) from None
            arrived = not message.get("more_body", False)
            return message

        try:
            await self.app(scope, admitted, send)
        finally:
            if until is not None:
                self._held -= 1


def _counted(scope: Scope, receive: Receive, limit: int) -> Receive:
    """`receive`, until the body is larger than the limit or says that it will be."""
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

    return counted
