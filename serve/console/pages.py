"""Pages from templates. Whatever a template prints is escaped and made visible (`formats.shown`), unless we made it.

A template is a file in `templates/`; `_frame.html` is what all pages have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import RedirectResponse, Response

from serve.console import assets, formats
from serve.errors import SignInNeededError
from serve.shown.amounts import coins
from serve.shown.chart import bar
from storage.clock import now

_TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=formats.shown,
        auto_reload=False,
    )
    environment.filters.update(
        tone=formats.tone, span=formats.span, moment=formats.moment, dollars=formats.dollars, size=formats.size,
        short=formats.short, clipped=formats.clipped, points=formats.points, whole=formats.whole, coins=coins,
        pressing=formats.pressing,
    )  # fmt: skip
    environment.globals.update(count=formats.count, bar=bar, now=now)
    return environment


def href(request: Request, path: str, **query: Any) -> str:
    """An address of the console. `path` begins with a slash; parts of it that are not ours go through `quoted`."""
    given = [(name, value) for name, value in query.items() if value not in (None, "", ())]
    return f"{request.scope.get('root_path', '')}{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")


def quoted(part: object) -> str:
    """An id as one part of a path."""
    return quote(str(part), safe="")


def page(
    request: Request, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> Response:
    """The page of this template. It knows who is there, if anybody has signed in, and where it is."""

    def link(path: str, **query: Any) -> str:
        return href(request, path, **query)

    text = (
        _environment()
        .get_template(template)
        .render(
            context,
            request=request,
            visitor=request.app.state.sessions.visitor(request),
            serve=request.app.state.services.serve,
            href=link,
            quoted=quoted,
            asset=lambda name: href(request, assets.address(name)),
            here=request.url.path.removeprefix(request.scope.get("root_path", "")),
        )
    )
    return Response(text, status, media_type="text/html; charset=utf-8", headers=dict(headers or {}))


def to(request: Request, path: str, **query: Any) -> Response:
    """Send the browser on after a change, so that loading the page anew does not do it again (303)."""
    return RedirectResponse(href(request, path, **query), 303)


def write_error(
    request: Request, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """The page that tells of an error; who is not signed in is asked to do that first."""
    if code == SignInNeededError.code:
        here = request.url.path.removeprefix(request.scope.get("root_path", "")) if request.method == "GET" else "/"
        if request.headers.get("accept", "").startswith("text/event-stream"):
            return Response(status_code=204)  # the browser shall not ask again and again
        query = f"?{request.url.query}" if request.url.query else ""
        return to(request, "/sign-in", next=None if here in ("", "/") else here + query)
    kept = {name: value for name, value in (headers or {}).items() if name.lower() != "www-authenticate"}
    title = HTTPStatus(status).phrase
    errors = members.get("errors") or []
    return page(
        request, "error.html", status=status, headers=kept, title=title, code=code, detail=detail, errors=errors,
        number=status,
    )  # fmt: skip
