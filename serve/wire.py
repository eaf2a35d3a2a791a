"""Bytes out: JSON answers, and lists that name their next page in a `Link` header (RFC 8288)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import Query, Request
from starlette.responses import Response


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON; datetimes as RFC 3339, ids as strings, integers of any size as they are."""
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except TypeError:  # an integer above 64 bits, from a chain of 256-bit amounts
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(encode(value), status, headers=dict(headers or {}), media_type="application/json")


Limit = Annotated[int | None, Query(ge=1, le=100_000, description="rows a page holds at most; the service may cap it")]


def next_page(request: Request, rows: Sequence[Any], limit: int, cursor: str | None) -> dict[str, str]:
    """The `Link` header of a page, where a full page says that another may follow."""
    if cursor is None or len(rows) < limit:
        return {}
    url = request.url.include_query_params(limit=limit, after=cursor)
    # Relative: behind a proxy only the client knows the address it called.
    return {"Link": f'<{url.path}?{url.query}>; rel="next"'}
