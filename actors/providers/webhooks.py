"""Webhooks that a provider signs: accepted only from it, only fresh, acted upon once.

The scheme of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md),
which Replicate uses (https://replicate.com/docs/topics/webhooks/verify-webhook): HMAC-SHA-256 with the secret's bytes
over `id.timestamp.body`, in base64, one or several signatures `v1,…` apart by spaces.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import SecretStr

from actors.errors import MissingKeyError, WebhookRefusedError

_MAX_HEADER_CHARS = 4096


@dataclass(frozen=True, slots=True)
class Webhook:
    """A delivery that the provider signed. `id` is the same when it is sent again."""

    id: str
    signed_at: datetime
    body: dict[str, Any]


def verified(
    headers: Mapping[str, str],
    body: bytes,
    *,
    secret: SecretStr | None,
    tolerance_s: int,
    now: datetime,
    setting: str = "REPLICATE_WEBHOOK_SECRET",
) -> Webhook:
    """The delivery, if its signature is right and no older, nor further ahead, than `tolerance_s`.

    `body` is the raw one, as it came. Raises `WebhookRefusedError` with the reason, or `MissingKeyError` while there is
    no secret to verify with, which is `setting`'s to give: then nothing is accepted.
    """
    if secret is None:
        raise MissingKeyError(
            f"webhooks cannot be verified: set {setting} to the secret that the provider signs with", subject="webhook"
        )
    lower = {name.lower(): value for name, value in headers.items()}
    delivery, stamp, signatures = (lower.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature"))
    subject = delivery[:100] or None
    for name, value in (("webhook-id", delivery), ("webhook-timestamp", stamp), ("webhook-signature", signatures)):
        if not value:
            raise WebhookRefusedError(f"the webhook has no {name}", subject=subject)
        if len(value) > _MAX_HEADER_CHARS:
            raise WebhookRefusedError(f"the webhook's {name} is too long", subject=subject)
    signed = b".".join((delivery.encode(), stamp.encode(), body))
    right = hmac.digest(_key(secret), signed, "sha256")
    # Each is compared: a secret that is being replaced signs twice.
    if not any([hmac.compare_digest(each, right) for each in _signatures(signatures)]):  # noqa: C419 - in equal time
        raise WebhookRefusedError("the webhook's signature is wrong", subject=subject)
    # Only now: what is not signed says nothing, not even when.
    signed_at = _time(stamp, subject)
    age_s = (now - signed_at).total_seconds()
    if abs(age_s) > tolerance_s:
        words = f"{age_s:.0f} s old" if age_s > 0 else f"{-age_s:.0f} s ahead"
        raise WebhookRefusedError(f"the webhook is {words}; the limit is {tolerance_s} s", subject=subject)
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise WebhookRefusedError("the webhook's body is no JSON object", subject=subject)
    return Webhook(delivery, signed_at, told)


def signature(delivery: str, stamp: int, body: bytes, secret: SecretStr) -> str:
    """The `webhook-signature` of a delivery of our own in the same scheme."""
    signed = b".".join((delivery.encode(), str(stamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()


def _key(secret: SecretStr) -> bytes:
    written = secret.get_secret_value().removeprefix("whsec_")
    try:
        return base64.b64decode(written, validate=True)
    except binascii.Error:
        raise MissingKeyError(
            "the webhook secret is not one: it is `whsec_` and base64, as the provider shows it", subject="webhook"
        ) from None


def _signatures(written: str) -> list[bytes]:
    found = []
    for each in written.split():
        version, _, encoded = each.partition(",")
        if version != "v1":
            continue
        try:
            found.append(base64.b64decode(encoded, validate=True))
        except binascii.Error:
            continue
    return found


def _time(stamp: str, subject: str | None) -> datetime:
    try:
        return datetime.fromtimestamp(int(stamp), UTC)
    except (ValueError, OverflowError, OSError):
        raise WebhookRefusedError("the webhook's timestamp is no number of seconds", subject=subject) from None
