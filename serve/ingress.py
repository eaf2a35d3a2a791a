"""What stands between a replica's HTTP server and Ray Serve's own request handling.

Serve calls `middlewares` in every process that listens (`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`), in a replica
after its app was built. Its handling of a request costs about as much as all of a poll: it names the route, makes the
request's metadata and context, counts it for scaling and backpressure, and watches the client with two tasks.

The proxies load this module before they listen: it must not load the API.
"""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.poll_path import is_poll

# Serve's own switch, a header of the request (RFC 8941 true).
_UNWATCHED = (b"x-request-disconnect-disabled", b"?1")

_built: list[ASGIApp] = []


def built(app: ASGIApp) -> None:
    """Make known the app of this replica; a replica is a process of its own and has one."""
    _built[:] = [app]


class Express:
    """Hands the campaign poll to the app at once, past Serve's handling; other reads run without being watched.

    A poll needs no backpressure of Serve's, for all that wait share one query, and cannot outlast the timeout of
    that query. HAProxy's metrics count it as they count every request. A short read is not worth cancelling when its
    client leaves, and a stream still hears of that by `receive`; writes stay watched.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._serve = app
        self._app = _built[0] if _built else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}:
            if self._app is not None and is_poll(scope["path"]):
                await self._app(scope, receive, send)
                return
            scope["headers"].append(_UNWATCHED)
        await self._serve(scope, receive, send)


def middlewares() -> list[Middleware]:
    return [Middleware(Express)]
