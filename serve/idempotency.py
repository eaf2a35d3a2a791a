"""Writes under an `Idempotency-Key`: the repeated call answers what the first one answered, and does nothing.

A key is its caller's. Callers who name no wallet and have no API key cannot be told apart, so theirs is told by key and
body together: a stranger's equal key with another body is another request, where a 409 would let one stranger stop all
others. What they share then is the answer to the very same request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson
from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from serve.auth import Principal
from serve.deps import Services
from serve.wire import answer, encode
from storage import idempotency
from storage.errors import HyvveError
from storage.ids import new_id

Answer = tuple[int, Any]


def _scope(request: Request, principal: Principal, request_hash: str) -> str:
    unknown = principal.wallet is None and principal.key_id is None
    owner = f"{principal.name}\n{request_hash}" if unknown else principal.name
    return f"{owner}\n{request.method}\n{request.url.path}"


def _replayed(first: idempotency.IdempotencyKey) -> Response:
    return answer(first.body, first.status, {"Idempotency-Replayed": "true"})


async def write(
    request: Request,
    given: Services,
    principal: Principal,
    key: str | None,
    *,
    sent: bytes,
    work: Callable[[AsyncSession], Awaitable[Answer | HyvveError]],
) -> Response:
    """Do `work` in one transaction, together with the record of its answer: whenever this process ends, both are there
    or neither. Of simultaneous calls with one key all but the first wait for it, before `work` locks anything.

    An error is not recorded: try again. One that `work` raises undoes what it did; one that it answers is raised when
    the rest is committed. `sent` is what the caller asked for; the same key with another request is a `ConflictError`.
    """
    request_hash = hashlib.sha256(sent).hexdigest()
    scope = _scope(request, principal, request_hash)
    async with given.database.begin() as session:
        if key is not None:
            first = await idempotency.replay(session, scope, key, request_hash)
            if first is not None:
                return _replayed(first)
        done = await work(session)
        if not isinstance(done, HyvveError):
            status, document = done
            body = encode(document)
            if key is not None:
                idempotency.remember(session, scope, key, request_hash, status=status, body=orjson.loads(body))
                await idempotency.forget(session)
            return Response(body, status, media_type="application/json")
    raise done


async def reserved(request: Request, given: Services, principal: Principal, key: str | None, *, sent: bytes) -> UUID:
    """The id of what a call makes elsewhere than in one transaction with its key: under a key the first call's, so that
    a repeated one makes no other, also where the first ended in its midst.
    """
    if key is None:
        return new_id()

    async def work(_: AsyncSession) -> Answer:
        return 200, {"id": new_id()}

    first = await write(request, given, principal, key, sent=sent, work=work)
    return UUID(orjson.loads(first.body)["id"])


async def judge(
    request: Request,
    given: Services,
    principal: Principal,
    key: str | None,
    *,
    sent: bytes,
    work: Callable[[], Awaitable[Answer]],
) -> Response:
    """The same for work that takes long and commits by itself, elsewhere: no transaction is held open meanwhile.

    Only for what may be done again: a call is judged anew where this process ended before the answer was recorded, and
    of two simultaneous ones both may be. Both answer the one that was recorded first.
    """
    if key is None:
        status, document = await work()
        return answer(document, status)
    request_hash = hashlib.sha256(sent).hexdigest()
    scope = _scope(request, principal, request_hash)
    async with given.database.begin() as session:
        first = await idempotency.replay(session, scope, key, request_hash)
    if first is None:
        status, document = await work()
        body = orjson.loads(encode(document))
        async with given.database.begin() as session:
            first = await idempotency.replay(session, scope, key, request_hash)
            if first is None:
                idempotency.remember(session, scope, key, request_hash, status=status, body=body)
                await idempotency.forget(session)
                return answer(document, status)
    return _replayed(first)
