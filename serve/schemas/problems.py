"""Problem documents (RFC 9457) as OpenAPI shows them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel


class FieldProblem(BaseModel):
    """One wrong field. `in` is body, path, query or header; `path` is a JSON path, `$.unit_price`."""

    path: str
    message: str
    code: str


class Problem(BaseModel):
    """An error. `message` repeats `detail`; `code` is stable; `subject` is the id at fault, `state` how it stands.

    `conflict` says why a review takes no such decision: late, foreign, repeated, held, changed or answer.
    """

    type: str
    title: str
    status: int
    detail: str
    message: str
    instance: str
    code: str
    subject: str | None = None
    fields: list[str] | None = None
    state: dict[str, Any] | None = None
    conflict: str | None = None
    errors: list[FieldProblem] | None = None


_SENTENCES = {
    400: "the request cannot be read, or the campaign is inactive or expired",
    401: "an API key is needed",
    403: "it belongs to another wallet, or to one and the caller names none",
    404: "no such row",
    408: "the upload did not arrive in time",
    409: "another row has this id (`subject` is the first), the campaign is full, the key served another request, or "
    "it stands otherwise than the request says (`state`)",
    413: "too large",
    415: "the content cannot be read as what it is or says it is",
    422: "a field is wrong; `errors` names each by its path",
    500: "a defect of the service",
    502: "a provider refused",
    503: "a dependency is down, or no room is left; `Retry-After` says when to try again",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: those statuses, and the ones that every route may answer."""
    return {
        status: {
            "description": _SENTENCES.get(status, HTTPStatus(status).phrase),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({400, 401, 413, 422, 500, 503, *statuses})
    }
