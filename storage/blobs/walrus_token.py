"""Bearer tokens for a Walrus publisher that wants them.

JWT, HS256 (RFC 7519, RFC 7515). Claims as the authenticated publisher checks them
(https://docs.wal.app/operator-guide/auth-publisher.html): `exp`; `jti`, which it accepts once; `iat`, because a
publisher run with a fixed token lifetime wants `exp - iat` to be exactly that; `size` and `epochs`, which bind the
token to this one store.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import uuid

import orjson


def sign(secret: str, *, size: int, epochs: int, lifetime_s: int) -> str:
    """A token for one store of `size` bytes for `epochs`. A secret beginning with 0x is hex, as the publisher's is."""
    issued = int(time.time())
    claims = {
        "iat": issued,
        "exp": issued + lifetime_s,
        "jti": uuid.uuid4().hex,
        "size": size,
        "epochs": epochs,
    }
    signed = f"{_encode(orjson.dumps({'alg': 'HS256', 'typ': 'JWT'}))}.{_encode(orjson.dumps(claims))}"
    return f"{signed}.{_encode(hmac.digest(key(secret), signed.encode(), hashlib.sha256))}"


def key(secret: str) -> bytes:
    """The key's bytes. Raises `ValueError` for a 0x secret that is not hex."""
    return bytes.fromhex(secret[2:]) if secret.startswith("0x") else secret.encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
