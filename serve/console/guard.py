"""What holds for every answer of the console, and for every change asked of it.

Pages may use this installation's own style sheet, scripts, pictures, sound and film, and nothing else: no inline script
or style, no frame, no address elsewhere. A change is a POST that a page of this very origin sends; a browser says where
a request comes from by `Sec-Fetch-Site` or `Origin`, and what says neither is no browser at one of our pages.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.errors import ForbiddenError

_HEADERS = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    # Not `no-referrer`: with that, browsers send a form's `Origin` as "null".
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
    b"cache-control": b"no-store",
}
# For what a stranger has made: no script, no form, no origin of ours, should a browser ever show it as a page.
SANDBOX = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}


class Guarded:
    """Adds the headers that an answer does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                given = {name.lower() for name, _ in headers}
                headers += [(name, value) for name, value in _HEADERS.items() if name not in given]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, guarded)


async def require_same_origin(request: Request) -> None:
    """FastAPI dependency: raises `ForbiddenError` for a change that no page of ours asks for."""
    if request.method in {"GET", "HEAD"}:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        same = site == "same-origin"
    else:
        # Compared with the address that the browser asked for; whoever ends TLS before us passes it on as it is.
        same = urlsplit(request.headers.get("origin", "")).netloc.lower() == request.headers.get("host", "-").lower()
    if not same:
        raise ForbiddenError(
            "this change was asked for from elsewhere, not from a page of this console; nothing was done"
        )
