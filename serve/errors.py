"""The one place that knows HTTP's idea of an error: RFC 9457 problem documents.

A problem has `type`, `title`, `status`, `detail`, `instance` and our stable `code`; `message` repeats `detail`, for
existing web clients read either. `subject` is the id at fault: of a conflict, the id of the row that came first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import orjson
import psycopg
import redis.exceptions
import sqlalchemy.exc
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors import errors as actors_errors
from actors.agents.documents import MAX_DEPTH
from storage import errors as storage_errors
from storage.errors import HyvveError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class ServeError(HyvveError):
    """Root of the errors that only the API raises."""

    code = "serve"


class UnauthorizedError(ServeError):
    code = "unauthorized"


class SignInNeededError(ServeError):
    """A page of the console needs to know who is there."""

    code = "sign_in_needed"


class ForbiddenError(ServeError):
    """What was asked for belongs to another wallet."""

    code = "forbidden"


class CampaignClosedError(ServeError):
    """The campaign is inactive or expired."""

    code = "campaign_closed"


class CampaignFullError(ServeError):
    code = "campaign_full"


class BodyTooLargeError(ServeError):
    code = "body_too_large"


class WrongKindError(ServeError):
    """The file is readable, but not of the kind that this address judges."""

    code = "wrong_kind"


class NotJudgedError(ServeError):
    """Nothing could judge the file; older clients have no verdict ERROR to read."""

    code = "not_judged"


class ReviewerMissingError(ServeError):
    """Nobody is named as who decides."""

    code = "reviewer_missing"


# Looked up along the error's ancestors, nearest first.
_STATUS: dict[type[HyvveError], int] = {
    UnauthorizedError: 401,
    SignInNeededError: 401,
    ForbiddenError: 403,
    CampaignClosedError: 400,
    CampaignFullError: 409,
    BodyTooLargeError: 413,
    WrongKindError: 415,
    NotJudgedError: 503,
    ReviewerMissingError: 422,
    storage_errors.NotFoundError: 404,
    storage_errors.ConflictError: 409,
    storage_errors.BlobNotFoundError: 404,
    storage_errors.BlobTooLargeError: 413,
    storage_errors.BadReferenceError: 422,
    storage_errors.AddressRefusedError: 422,
    storage_errors.BlobRejectedError: 502,
    storage_errors.BlobError: 503,
    storage_errors.DatabaseUnavailableError: 503,
    storage_errors.MigrationError: 503,
    storage_errors.CacheUnavailableError: 503,
    actors_errors.ContentTooLargeError: 413,
    actors_errors.UnreadableError: 415,
    actors_errors.MissingExtraError: 503,
    actors_errors.MissingKeyError: 503,
    actors_errors.ClusterUnavailableError: 503,
    actors_errors.WorkerLostError: 503,
    actors_errors.ScorerUnavailableError: 503,
    actors_errors.ScorerError: 502,
    # A provider's 4xx is not the caller's, unless it is about what the caller gave.
    actors_errors.UnknownProviderError: 404,
    actors_errors.UnknownModelError: 422,
    actors_errors.PayloadFaultsError: 422,
    actors_errors.FileForbiddenError: 403,
    actors_errors.WebhookRefusedError: 401,
    actors_errors.BadProviderError: 503,
    actors_errors.ProviderUnavailableError: 503,
    actors_errors.ProviderKeyError: 503,
    actors_errors.ProviderQuotaError: 503,
    actors_errors.ProviderRefusedError: 422,
    actors_errors.ProviderError: 502,
    actors_errors.UnknownKindError: 422,
    actors_errors.DefinitionFaultsError: 422,
    actors_errors.RunInputError: 422,
    actors_errors.RunTooLargeError: 413,
    actors_errors.ThreadBusyError: 409,
    actors_errors.ThreadForbiddenError: 403,
    actors_errors.RunConflictError: 409,
    actors_errors.ReviewConflictError: 409,
    actors_errors.CalibrationChangedError: 409,
    actors_errors.TeamRequestError: 422,
    actors_errors.BadCheckpointError: 503,
    actors_errors.ReviewEditError: 422,
    actors_errors.ReviewRuleError: 422,
}

_DATABASE_DOWN = "the database does not answer; try again shortly"
_REDIS_DOWN = "Redis does not answer; try again shortly"
_UNKNOWN = "something went wrong here, not with the request; the service's log has the details"


def status_of(error: HyvveError) -> int:
    """The HTTP status of an error: that of its nearest listed ancestor, else 500."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    instance: str,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """A problem answer. `members` are extension members; `None` ones are left out."""
    document = {
        "type": f"urn:hyvve:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "message": detail,
        "instance": instance,
        "code": code,
        **{name: value for name, value in members.items() if value is not None},
    }
    # A path may hold what UTF-8 cannot; an error answer must not fail over it.
    body = orjson.dumps(_encodable(document), default=str)
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


class Write(Protocol):
    """Makes the answer that tells of an error; `members` are further facts of it, `None` where there are none."""

    def __call__(
        self,
        request: Request,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> Response: ...


def as_problem(
    request: Request, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """The error as a problem document."""
    return problem(status, code, detail, instance=request.url.path, headers=headers, **members)


def install(app: FastAPI, *, retry_after_s: int, write: Write = as_problem) -> None:
    """Answer every error that leaves a route, as a problem document or as `write` does."""
    retry = {"Retry-After": str(retry_after_s)}

    async def hyvve(request: Request, error: Exception) -> Response:
        assert isinstance(error, HyvveError)
        status = status_of(error)
        if status == 500:
            return _internal(request, error, write)
        headers = retry if status == 503 else {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        return write(
            request, status, error.code, error.message, headers=headers,
            subject=error.subject, fields=error.details.get("fields"), state=_state(error),
            conflict=error.details.get("conflict"), errors=error.details.get("errors"),
        )  # fmt: skip

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        fields = [_field(entry) for entry in error.errors()]
        detail = "; ".join(f"{field['path']}: {field['message']}" for field in fields[:5])
        return write(request, 422, "invalid", detail, errors=fields)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, ValueError | RecursionError):  # what FastAPI caught while it read a JSON body
            reason = "cannot be read as JSON"
            if isinstance(error.__cause__, RecursionError):
                reason = f"is nested deeper than the limit of {MAX_DEPTH} levels"
            field = {"in": "body", "path": "$", "message": reason, "code": "json_invalid"}
            return write(request, 422, "invalid", f"the body {reason}", errors=[field])
        code = HTTPStatus(error.status_code).name.lower()
        return write(request, error.status_code, code, str(error.detail), headers=error.headers)

    def unavailable(detail: str) -> Callable[[Request, Exception], Any]:
        async def answer(request: Request, error: Exception) -> Response:
            logger.warning("%s (%s)", detail, error)
            return write(request, 503, "unavailable", detail, headers=retry)

        return answer

    async def database(request: Request, error: Exception) -> Response:
        if isinstance(error, sqlalchemy.exc.DataError):
            # Schemas bound every field; this is the net under them.
            return write(request, 422, "invalid", "a value is out of the range that can be kept")
        down = isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError | psycopg.Error)
        if down or (isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated):
            return await unavailable(_DATABASE_DOWN)(request, error)  # type: ignore[no-any-return]  # our own closure
        return _internal(request, error, write)

    app.add_exception_handler(HyvveError, hyvve)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(sqlalchemy.exc.TimeoutError, unavailable(_DATABASE_DOWN))
    app.add_exception_handler(sqlalchemy.exc.DBAPIError, database)
    for kind in (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
        app.add_exception_handler(kind, unavailable(_REDIS_DOWN))


class LastResort:
    """Answers what no handler knew as a 500 that tells nothing of the inside. Sits within CORS, so browsers see it."""

    def __init__(self, app: ASGIApp, *, write: Write = as_problem) -> None:
        self.app = app
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if started:
                raise
            response = _internal(Request(scope), error, self._write)
            await response(scope, receive, send)


def _state(error: HyvveError) -> dict[str, Any] | None:
    """How what is at fault stands; where the error knows its state by name alone, as that of a row."""
    state = error.details.get("state")
    return {"status": state} if isinstance(state, str) else state


def _internal(request: Request, error: Exception, write: Write) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return write(request, 500, "internal", _UNKNOWN)


def _field(entry: Mapping[str, Any]) -> dict[str, str]:
    """One invalid field. Never its value: it may be a megabyte, or a secret."""
    location, *path = entry["loc"]
    if entry["type"] == "json_invalid":
        reason = entry.get("ctx", {}).get("error", "")
        return {"in": "body", "path": "$", "message": f"not JSON: {reason}", "code": "json_invalid"}
    message = str(entry["msg"]).removeprefix("Value error, ")
    return {"in": str(location), "path": json_path(path), "message": message, "code": str(entry["type"])}


def json_path(path: Sequence[str | int]) -> str:
    """`["marks", 0, "value"]` as `$.marks[0].value`."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(entry) for entry in value]
    return value
