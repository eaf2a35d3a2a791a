"""What a client library's exception means for an agent: one table of ours for all of theirs.

The statuses are read as for scorers (`scorers/status.py`); only the classes differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

import aiohttp
import openai
from langchain_core.exceptions import LangChainException

from actors.errors import (
    LLMAnswerError,
    LLMError,
    LLMKeyError,
    LLMQuotaError,
    LLMRateLimitedError,
    LLMRefusedError,
    LLMUnavailableError,
    ScorerError,
    ScorerRateLimitedError,
    ScorerRefusedError,
    ScorerUnavailableError,
)
from actors.verification.scorers.gemini import of_google
from actors.verification.scorers.openai_compatible import asked_wait_s, error_in
from actors.verification.scorers.status import classified

if TYPE_CHECKING:
    from google.genai.errors import APIError

_OURS: Mapping[type[ScorerError], type[LLMError]] = {
    ScorerRateLimitedError: LLMRateLimitedError,
    ScorerUnavailableError: LLMUnavailableError,
    ScorerRefusedError: LLMRefusedError,
}
# Out of money: 402 says so, and a 429 that no waiting cures.
_SPENT = frozenset({402, 429})
_NO_KEY = frozenset({401, 403})
# Google refuses a key with a 400 that names the reason (https://cloud.google.com/apis/design/errors#error_info).
_GOOGLES_NO_KEY = "API_KEY_INVALID"


def fault_of(error: Exception, *, provider: str, model: str) -> LLMError:
    """The error that this exception of a chat model is to whoever asked."""
    who = f"{model} at {provider}"
    for each in _chain(error):
        if isinstance(each, LLMError):
            return each
        if isinstance(each, openai.APIStatusError):
            said, code, _ = error_in(each.response.content)
            wait_s = asked_wait_s(each.response.headers)
            return _ours(classified(who, each.status_code, said, code=code, wait_s=wait_s), who)
        if isinstance(each, openai.APIConnectionError):
            return _broken(each.__cause__ or each, who)
        if isinstance(each, openai.APIError):
            # An event of a stream that had begun well.
            return LLMUnavailableError(f"{who} broke off with an error: {str(each)[:500]}", subject=model)
        if _is_google(each):
            return _ours(of_google(each), who, no_key=_GOOGLES_NO_KEY in str(each.details))
        if _is_transport(each) or isinstance(each, (aiohttp.ClientError, OSError, asyncio.TimeoutError)):
            return _broken(each, who)
    if isinstance(error, (ValueError, TypeError, LookupError, AttributeError, LangChainException)):
        # What the libraries raise at a body that is no JSON, or JSON of another shape.
        reason = f"{type(error).__name__}: {error}"[:300]
        return LLMAnswerError(f"the answer of {who} cannot be read: {reason}", subject=model)
    return LLMError(f"{who} failed in a way nobody foresaw: {type(error).__name__}: {error}"[:500], subject=model)


def _chain(error: BaseException) -> list[BaseException]:
    """It and its causes: libraries wrap what says most."""
    found = [error]
    while (cause := found[-1].__cause__) is not None and len(found) < 8:
        found.append(cause)
    return found


def _is_google(error: BaseException) -> TypeGuard[APIError]:
    # By name: the extra may not be installed.
    return any(kind.__module__ == "google.genai.errors" and kind.__name__ == "APIError" for kind in type(error).__mro__)


def _is_transport(error: BaseException) -> bool:
    # By name: the clients bring one of two generations of httpx, and with an extra missing perhaps only one is there.
    return any(kind.__module__.partition(".")[0] in {"httpx", "httpx2"} for kind in type(error).__mro__)


def _ours(error: ScorerError, who: str, *, no_key: bool = False) -> LLMError:
    status = error.details.get("status")
    kind = _OURS.get(type(error), LLMError)
    if kind is LLMRefusedError and status in _SPENT:
        kind = LLMQuotaError
    elif kind is LLMRefusedError and (no_key or status in _NO_KEY):
        kind = LLMKeyError
    return kind(error.message, subject=who.partition(" ")[0], **error.details)


def _broken(error: BaseException, who: str) -> LLMError:
    name = type(error).__name__
    subject = who.partition(" ")[0]
    if name in {"InvalidURL", "UnsupportedProtocol", "LocalProtocolError"}:
        return LLMRefusedError(f"the address of {who} is no http URL: check the endpoint", subject=subject)
    reason = f"{name}: {error}" if str(error) else name
    return LLMUnavailableError(f"no connection to {who}, or it broke off: {reason}"[:500], subject=subject)
