"""A Walrus publisher and aggregator in one, as the `walrus daemon` command serves them.

Wire format: https://docs.wal.app/usage/web-api.html; the authenticated publisher's checks and statuses:
https://docs.wal.app/operator-guide/auth-publisher.html and the daemon's OpenAPI document.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from tests.stubs.http import Reply, Request, StubServer

LIMIT = 10 * 1024 * 1024
_STATUS = {
    400: "FAILED_PRECONDITION", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED", 451: "FAILED_PRECONDITION", 500: "INTERNAL", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def blob_id_of(data: bytes) -> str:
    """An id of the right form: unpadded base64url of 32 bytes that are not the bytes' own hash."""
    digest = hashlib.blake2b(b"erasure coded\x00" + data, digest_size=32).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def error(status: int, message: str, reason: str = "STUB", *, headers: dict[str, str] | None = None) -> Reply:
    details = [{"@type": "ErrorInfo", "reason": reason, "domain": "daemon.walrus.space", "metadata": {}}]
    fault = {"status": _STATUS.get(status, "UNKNOWN"), "code": status, "message": message, "details": details}
    return Reply(orjson.dumps({"error": fault}), status, headers=headers or {})


class WalrusStub(StubServer):
    """Keeps blobs in `blobs`. Replies put into `script` go first, one a request.

    `late` is how many reads of a new blob answer 404 first. With `jwt_secret` every store needs a token; with
    `expiring_s` its lifetime must be exactly that. `tokens` keeps the claims that were accepted.
    """

    def __init__(
        self,
        *,
        script: Iterable[Reply] = (),
        late: int = 0,
        jwt_secret: bytes | None = None,
        expiring_s: int = 0,
    ) -> None:
        super().__init__(self._handle)
        self.script = deque(script)
        self.late = late
        self.jwt_secret = jwt_secret
        self.expiring_s = expiring_s
        self.blobs: dict[str, bytes] = {}
        self.quilts: dict[tuple[str, str], bytes] = {}
        self.requests: list[Request] = []
        self.tokens: list[dict[str, Any]] = []
        self._used: set[str] = set()
        self._unseen: dict[str, int] = {}
        self._end_epochs: dict[str, int] = {}

    def _handle(self, request: Request) -> Reply:
        self.requests.append(request)
        path, _, query = request.path.partition("?")
        if request.method == "PUT" and path == "/v1/blobs":
            # A token is spent before the store is tried, so a retry needs another.
            refused = self._check_token(request, query)
            scripted = self.script.popleft() if self.script else None
            return refused or scripted or self._store(request.body, query)
        if self.script:
            return self.script.popleft()
        if request.method == "GET" and path.startswith("/v1/blobs/by-quilt-id/"):
            quilt, _, name = path.removeprefix("/v1/blobs/by-quilt-id/").partition("/")
            data = self.quilts.get((quilt, unquote(name)))
            return error(404, "the quilt patch does not exist") if data is None else _bytes(data)
        if request.method == "GET" and path.startswith("/v1/blobs/"):
            return self._read(path.removeprefix("/v1/blobs/"))
        return Reply(b"", 404)

    def _store(self, data: bytes, query: str) -> Reply:
        if len(data) > LIMIT:
            return Reply(b"length limit exceeded", 413)
        epochs = int(parse_qs(query).get("epochs", ["1"])[0])
        blob_id = blob_id_of(data)
        if self._end_epochs.get(blob_id, 0) >= 34 + epochs:
            certified = {
                "blobId": blob_id,
                "event": {"txDigest": "4XQHFa9S324wTzYHF3vsBSwpUZuLpmwTHYMFv9nsttSs", "eventSeq": "0"},
                "endEpoch": self._end_epochs[blob_id],
            }
            return Reply(orjson.dumps({"alreadyCertified": certified}))
        self.blobs[blob_id] = data
        self._unseen[blob_id] = self.late
        self._end_epochs[blob_id] = 34 + epochs
        blob = {
            "id": "0xe91eee8c5b6f35b9a250cfc29e30f0d9e5463a21fd8d1ddb0fc22d44db4eac50",
            "registeredEpoch": 34, "blobId": blob_id, "size": len(data), "encodingType": "RS2", "certifiedEpoch": 34,
            "storage": {
                "id": "0x4748cd83217b5ce7aa77e7f1ad6fc5f7f694e26a157381b9391ac65c47815faf",
                "startEpoch": 34, "endEpoch": 34 + epochs, "storageSize": 66_034_000,
            },
            "deletable": True,
        }  # fmt: skip
        operation = {"registerFromScratch": {"encodedLength": 66_034_000, "epochsAhead": epochs}}
        created = {"blobObject": blob, "resourceOperation": operation, "cost": 132_300}
        return Reply(orjson.dumps({"newlyCreated": created}))

    def _read(self, blob_id: str) -> Reply:
        if self._unseen.get(blob_id, 0) > 0:
            self._unseen[blob_id] -= 1
            return error(404, "the requested blob ID does not exist on Walrus", "BLOB_NOT_FOUND")
        if blob_id not in self.blobs:
            return error(404, "the requested blob ID does not exist on Walrus", "BLOB_NOT_FOUND")
        return _bytes(self.blobs[blob_id])

    def _check_token(self, request: Request, query: str) -> Reply | None:
        if self.jwt_secret is None:
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            return Reply(b"Header of type `authorization` was missing", 400)
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        if orjson.loads(_decode(header)).get("alg") != "HS256" or not hmac.compare_digest(
            _decode(signature), hmac.digest(self.jwt_secret, signed.encode(), "sha256")
        ):
            return error(401, "the signature on the token is invalid", "INVALID_SIGNATURE")
        claims = orjson.loads(_decode(payload))
        if claims["exp"] < time.time():
            return error(504, "the signature on the token has expired", "EXPIRED_SIGNATURE")
        if claims["jti"] in self._used:
            return error(429, "the JWT token was already used", "TOKEN_ALREADY_USED")
        if self.expiring_s and claims["exp"] - claims["iat"] != self.expiring_s:
            return error(400, "the expiration in the query does not match the token", "INVALID_EXPIRATION")
        if claims.get("size", len(request.body)) != len(request.body):
            return error(400, "the size of the body is incorrect", "SIZE_INCORRECT")
        if claims.get("epochs") not in {None, int(parse_qs(query)["epochs"][0])}:
            return error(400, "the epochs field in the query does not match the token", "INVALID_EPOCHS")
        self._used.add(claims["jti"])
        self.tokens.append(claims)
        return None


def _bytes(data: bytes) -> Reply:
    return Reply(data, headers={"content-type": "application/octet-stream"})


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
