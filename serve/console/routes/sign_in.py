"""Signing in and out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from serve.auth import Gate, authorize
from serve.console.pages import page, to
from serve.console.session import Sessions, Visitor
from serve.deps import Given
from serve.errors import UnauthorizedError
from serve.schemas.fields import Name

router = APIRouter()

_NAME: TypeAdapter[str] = TypeAdapter(Name)
_LONGEST_NAME = 100
Field = Annotated[str, Form(max_length=2000)]


@router.get("/sign-in")
async def sign_in_page(
    request: Request,
    given: Given,
    next: Annotated[str, Query(max_length=2000)] = "/",  # noqa: A002  # its name in links
) -> Response:
    sessions: Sessions = request.app.state.sessions
    there = sessions.visitor(request)
    name, wallet = (there.name, there.wallet or "") if there else ("", "")
    return _page(request, given, name=name, wallet=wallet, next=next)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    given: Given,
    *,
    name: Field = "",
    key: Field = "",
    wallet: Field = "",
    next: Field = "/",  # noqa: A002
) -> Response:
    shown: dict[str, Any] = {"name": name, "wallet": wallet, "next": next}
    try:
        name = _NAME.validate_python(name.strip())
        speaks_for = _NAME.validate_python(wallet.strip()) if wallet.strip() else None
    except ValidationError as error:
        return _page(request, given, fault=error.errors()[0]["msg"], status=422, **shown)
    if len(name) > _LONGEST_NAME:
        return _page(request, given, fault=f"a name has at most {_LONGEST_NAME} characters", status=422, **shown)
    gate: Gate = given.gate
    try:
        principal = gate.admit([(b"x-api-key", key.strip().encode())] if key.strip() else [])
    except UnauthorizedError as error:
        return _page(request, given, fault=error.message, status=401, **shown)
    sessions: Sessions = request.app.state.sessions
    # Only ever to a page of ours: a path, with no second slash that would make a host of what follows.
    path = next if next.startswith("/") and not next.startswith("//") and "\\" not in next else "/"
    answer = to(request, path)
    sessions.begin(request, answer, Visitor(name, authorize(principal, speaks_for)))
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    sessions: Sessions = request.app.state.sessions
    answer = to(request, "/sign-in")
    sessions.end(request, answer)
    return answer


def _page(request: Request, given: Given, *, fault: str | None = None, status: int = 200, **shown: Any) -> Response:
    keyed = bool(given.serve.api_keys)
    return page(request, "sign_in.html", status=status, fault=fault, keyed=keyed, **shown)
