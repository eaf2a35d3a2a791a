"""The transport of Replicate's SDK: it lets no error pass that the SDK would repeat or strip."""

from __future__ import annotations

import httpx

from actors.providers.faults import HTTPFault


class StraightTransport(httpx.AsyncHTTPTransport):
    """Raises `HTTPFault` for every answer of 4xx or 5xx, with its headers and body."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if response.status_code < 400:
            return response
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        raise HTTPFault(response.status_code, body, response.headers)
