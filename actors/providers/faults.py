"""What a provider's HTTP answers and a client library's exceptions mean for us: errors by what the caller can do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from actors.errors import (
    ProviderAnswerError,
    ProviderError,
    ProviderKeyError,
    ProviderModerationError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderUnavailableError,
    UnknownModelError,
)
from actors.verification.scorers.status import retry_after_s

# Said with 400, 403 or 429 alike: no waiting brings the money.
_SPENT = (
    "insufficient_quota", "billing_hard_limit_reached", "insufficient_balance", "insufficient_funds",
    "credit balance is too low", "insufficient credit", "exceeded your monthly included credits", "billing_error",
)  # fmt: skip
_MODERATED = (
    "content_policy_violation", "moderation_blocked", "content_filter", "safety system", "nsfw",
    "flagged as sensitive", "(e005)", "content policy",
)  # fmt: skip
_PLACE = re.compile(r"([a-z_][\w.\[\]]{0,199}): ")
# Text Generation Inference and its kin, in a plain `error`: which input it is stands in backticks.
_QUOTED = re.compile(r"(?:Input validation error:|Error in) `(?:parameters\.)?([A-Za-z_][\w.\[\]]{0,199})`")
_PASSING = frozenset({408, 409, 425})
_NO_URL = frozenset({"InvalidURL", "UnsupportedProtocol", "LocalProtocolError", "NonHttpUrlClientError"})
# By the names of their classes: httpx, httpx2 and aiohttp are not all installed.
_CONNECTION = frozenset(
    {"TransportError", "ClientError", "APIConnectionError", "OSError", "TimeoutError", "TimeoutException"}
)
# What libraries raise at a body that is no JSON, or JSON of another shape.
_UNREADABLE = frozenset({"ValueError", "TypeError", "LookupError", "AttributeError", "APIResponseValidationError"})


class HTTPFault(Exception):  # noqa: N818 - what an answer holds, before it is any error of ours
    """An answer of 4xx or 5xx, whole."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.headers = headers


def of_status(
    provider: str, status: int, body: bytes, headers: Mapping[str, str] | None = None, *, model: str | None = None
) -> ProviderError:
    """The error for an answer of `status`; `details["field"]` where the provider named one."""
    said, code, field = told(body)
    found = of_words(f"{code} {said}")
    message = f"{provider} answered {status}: {said[:500]}"
    details: dict[str, Any] = {"status": status}
    if code:
        details["provider_code"] = code[:100]
    if field:
        details["field"] = field[:200]
    kind: type[ProviderError] = ProviderRefusedError
    if found is not None and status < 500:
        kind = found
    elif status == 429:
        kind = ProviderRateLimitedError
        if (wait_s := _wait_s(headers or {})) is not None:
            details["retry_after_s"] = wait_s
    elif status >= 500 or status in _PASSING:
        kind = ProviderUnavailableError
    elif status == 402:
        kind = ProviderQuotaError
    elif status in {401, 403}:
        kind = ProviderKeyError
    elif status == 404 and model is not None:
        kind = UnknownModelError
        message = f"{provider} has no model {model}: {said[:500]}"
    elif status < 400:
        kind = ProviderAnswerError
    return kind(message, subject=model or provider, **details)


def of_words(said: str) -> type[ProviderError] | None:
    """The class that a provider's words alone tell: no money left, or stopped by moderation."""
    lower = said.lower()
    if any(word in lower for word in _SPENT):
        return ProviderQuotaError
    return ProviderModerationError if any(word in lower for word in _MODERATED) else None


def told(body: bytes) -> tuple[str, str, str]:
    """(sentence, code, field) of an error's body: OpenAI's and Anthropic's envelope, RFC 7807, FastAPI's, the plain
    `error` of Hugging Face, or plain text.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:500].decode("utf-8", "replace").strip() or "(no text)", "", ""
    if not isinstance(found, dict):
        return str(found)[:500], "", ""
    fault = found.get("error")
    if not isinstance(fault, dict):
        # RFC 7807 names the fields it found invalid, FastAPI the place of each fault.
        for each in found.get("invalid_fields") or found.get("detail") or ():
            if isinstance(each, dict):
                place = each.get("field") or ".".join(str(part) for part in each.get("loc") or ())
                said = each.get("description") or each.get("msg") or found.get("title") or "invalid"
                return str(said), str(each.get("type") or ""), str(place)
        said = fault or found.get("detail") or found.get("title") or found.get("message") or found
        if isinstance(said, list):
            said = "; ".join(str(each) for each in said)
        quoted = _QUOTED.search(str(said))
        return str(said), str(found.get("error_type") or ""), quoted[1] if quoted else ""
    said = str(fault.get("message") or fault)
    # Anthropic puts the place before its sentence.
    place = _PLACE.match(said)
    field = fault.get("param") or (place[1] if place else "")
    return said, str(fault.get("code") or fault.get("type") or ""), str(field)


def of_exception(provider: str, error: BaseException, *, model: str | None = None) -> ProviderError | None:
    """The error for a client library's exception that tells of a connection or an unreadable answer; else `None`."""
    names = {kind.__name__ for each in _chain(error) for kind in type(each).__mro__}
    cause = _chain(error)[-1]
    said = f"{type(cause).__name__}: {cause}"[:300]
    subject = model or provider
    if names & _NO_URL:
        return ProviderRefusedError(
            f"{provider}'s address is no http URL ({said}): check its setting", subject=provider
        )
    if names & _CONNECTION:
        return ProviderUnavailableError(f"no connection to {provider}: {said}", subject=subject)
    if names & _UNREADABLE:
        return ProviderAnswerError(f"the answer of {provider} cannot be read: {said}", subject=subject)
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """It and its causes: libraries wrap what says most."""
    found = [error]
    while (cause := found[-1].__cause__) is not None and len(found) < 8:
        found.append(cause)
    return found


def _wait_s(headers: Mapping[str, str]) -> float | None:
    lower = {name.lower(): value for name, value in headers.items()}
    milliseconds = retry_after_s(lower.get("retry-after-ms"))
    return retry_after_s(lower.get("retry-after")) if milliseconds is None else milliseconds / 1000
