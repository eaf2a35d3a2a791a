"""Atoma's confidential chat for tests: a node's key (`POST /v1/nodes/lock`) and the encrypted exchange
(`POST /v1/confidential/chat/completions`): X25519, HKDF-SHA-256 over the salt, AES-256-GCM, BLAKE2b-256 of the plain
body, as https://github.com/atoma-network/atoma-node does it. The plain chat is served too.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.stubs.http import Reply, Request
from tests.stubs.openai import Answer, Call, OpenAIStub


class AtomaStub(OpenAIStub):
    """Answers decrypted requests as `OpenAIStub` answers plain ones, and encrypts successes.

    `sealed` keeps the encrypted bodies as they crossed the wire; `lock_reply` replaces the answer to `nodes/lock`.
    """

    def __init__(self, answer: Answer | None = None, *, lock_reply: Reply | None = None, **kwargs: Any) -> None:
        super().__init__(answer, **kwargs)
        self.lock_reply = lock_reply
        self.sealed: list[bytes] = []
        self._key = X25519PrivateKey.generate()

    def _handle(self, request: Request) -> Reply:
        if request.path == "/v1/nodes/lock":
            return self.lock_reply or self._lock()
        if request.path != "/v1/confidential/chat/completions":
            return super()._handle(request)
        self.sealed.append(request.body)
        body = request.json()
        cipher = AESGCM(self._shared(body))
        plain = cipher.decrypt(_bytes(body["nonce"]), _bytes(body["ciphertext"]), None)
        assert _digest(plain) == _bytes(body["plaintext_body_hash"])
        asked = orjson.loads(plain)
        self.calls.append(Call(request.headers, asked))
        reply = self.script.popleft() if self.script else self.answer(asked)
        return self._seal(cipher, reply) if reply.status == 200 else reply

    def _lock(self) -> Reply:
        public = _text(self._key.public_key().public_bytes_raw())
        lock = {"node_small_id": 1, "public_key": public, "stack_small_id": 7, "stack_entry_digest": None}
        return Reply(orjson.dumps(lock))

    def _shared(self, body: dict[str, Any]) -> bytes:
        client = X25519PublicKey.from_public_bytes(_bytes(body["client_dh_public_key"]))
        hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=_bytes(body["salt"]), info=b"")
        return hkdf.derive(self._key.exchange(client))

    def _seal(self, cipher: AESGCM, reply: Reply) -> Reply:
        completion = orjson.loads(reply.body)
        nonce = secrets.token_bytes(12)
        plain = orjson.dumps(completion)
        sealed = {
            "ciphertext": _text(cipher.encrypt(nonce, plain, None)),
            "nonce": _text(nonce),
            "response_hash": _text(_digest(plain)),
        }
        return Reply(orjson.dumps(sealed), delay_s=reply.delay_s)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
