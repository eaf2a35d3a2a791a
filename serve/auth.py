"""Who is asking. Every route depends on a `Principal`, so that wallets and roles can be enforced here alone.

Existing web clients send no credentials: the wallet stands in the path, the body or the form, unproved. Such a caller
is an anonymous principal that speaks for that wallet. What an anonymous principal may do is `authorize`'s to say. Where
an address has no place for a wallet, as that of a run, the header `X-Wallet-Address` names it or, for browsers'
EventSource, which sends no headers of one's own, the query's `wallet_address`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from fastapi import Depends, Header, Query, Request

from actors.reviews.voices import Voice
from serve.errors import ForbiddenError, UnauthorizedError
from serve.schemas.fields import Name
from serve.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller. `wallet` is what it says it speaks for; `key_id` names its API key without revealing it."""

    kind: Literal["anonymous", "api_key"] = "anonymous"
    key_id: str | None = None
    wallet: str | None = None

    @property
    def name(self) -> str:
        """Who an activity or an idempotency key belongs to."""
        return self.wallet or self.key_id or self.kind

    @property
    def voice(self) -> Voice:
        """As what is done to a review puts it on record."""
        return Voice(self.kind, self.key_id, self.wallet)


_ANONYMOUS = Principal()


class Gate:
    """Tells callers apart by their API key, where keys are configured."""

    def __init__(self, settings: ServeSettings) -> None:
        keys = [key.get_secret_value() for key in settings.api_keys]
        self._keys = {_digest(key): key_name(key) for key in keys}

    def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """The principal of these ASGI headers. Raises `UnauthorizedError` where a key is needed and none is valid."""
        if not self._keys:
            return _ANONYMOUS
        given = _given_key(headers)
        if given is None:
            raise UnauthorizedError("an API key is needed: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        digest = hashlib.sha256(given).digest()
        # Compared by digest and in constant time, so that answering tells nothing of a key.
        for known, key_id in self._keys.items():
            if hmac.compare_digest(known, digest):
                return Principal("api_key", key_id)
        raise UnauthorizedError("this API key is not known")


def key_name(key: str) -> str:
    """What the key goes by in records and in the scopes of idempotency keys: the same wherever it stands among others.

    48 bits of a digest that is made for this alone: enough to tell keys apart, not to find a random one.
    """
    return f"key-{hashlib.sha256(b'hyvve api key name' + key.encode()).hexdigest()[:12]}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _given_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip()
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
    return None


def authorize(principal: Principal, wallet: str | None) -> Principal:
    """The principal speaking for `wallet`. The one place to refuse, once wallets prove themselves."""
    return principal if wallet is None else replace(principal, wallet=wallet)


def owns(principal: Principal, owner: str | None) -> bool:
    """Whether what belongs to `owner` is this caller's to see and to change.

    The system's (no owner) is everybody's who was admitted. A caller with an API key that names no wallet acts for all.
    """
    return owner is None or principal.wallet == owner or (principal.kind == "api_key" and principal.wallet is None)


def require_owner(principal: Principal, owner: str | None, *, noun: str, subject: str) -> None:
    """Raises `ForbiddenError` unless the caller `owns` it."""
    if owns(principal, owner):
        return
    if principal.wallet is None:
        raise ForbiddenError(
            f"{noun} {subject} belongs to a wallet: name yours by the header X-Wallet-Address or by wallet_address in "
            "the query",
            subject=subject,
        )
    raise ForbiddenError(f"{noun} {subject} belongs to another wallet", subject=subject)


def principal(request: Request) -> Principal:
    """FastAPI dependency: the caller of this request, speaking for the wallet in its path where there is one."""
    gate: Gate = request.app.state.services.gate
    return authorize(gate.admit(request.scope["headers"]), request.path_params.get("wallet"))


def speaker(
    caller: Annotated[Principal, Depends(principal)],
    x_wallet_address: Annotated[Name | None, Header(description="the wallet that the caller speaks for")] = None,
    wallet_address: Annotated[Name | None, Query(description="the same, for who can send no header")] = None,
) -> Principal:
    """FastAPI dependency: the caller, where neither path nor body has a place for its wallet."""
    return authorize(caller, x_wallet_address or wallet_address)


Caller = Annotated[Principal, Depends(principal)]
Speaker = Annotated[Principal, Depends(speaker)]
