"""IPFS content ids, checked before a gateway is asked (https://github.com/multiformats/cid)."""

from __future__ import annotations

import base64
import binascii
import string
from dataclasses import dataclass

from storage.errors import BadReferenceError

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE36 = string.digits + string.ascii_lowercase
RAW = 0x55
_SHA2_256 = 0x12
# Longest hash in use is 64 bytes; the rest are three varints.
_MAX_CHARS = 200


@dataclass(frozen=True, slots=True)
class Cid:
    """A content id as written, with its codec and, where the hash is sha-256, its digest."""

    text: str
    codec: int
    sha256: bytes | None


def parse(text: str) -> Cid:
    """The id. Raises `BadReferenceError` for what is none: wrong alphabet, version, or length of its hash."""
    try:
        if len(text) == 46 and text.startswith("Qm"):
            return Cid(text, 0x70, _digest(_positional(text, _BASE58)))
        return _version_1(text)
    except ValueError as error:
        raise BadReferenceError(f"{text[:100]!r} is no IPFS content id: {error}", subject=text[:100]) from None


def _version_1(text: str) -> Cid:
    if not 2 <= len(text) <= _MAX_CHARS:
        raise ValueError("it has the wrong length")
    version, data = _varint(_multibase(text))
    if version != 1:
        raise ValueError(f"there is no version {version}")
    codec, data = _varint(data)
    return Cid(text, codec, _digest(data))


def _multibase(text: str) -> bytes:
    body = text[1:]
    match text[0]:
        case "b" | "B":
            if body != (body.lower() if text[0] == "b" else body.upper()):
                raise ValueError("mixed case in base32")
            return base64.b32decode(body.upper() + "=" * (-len(body) % 8))
        case "f" | "F":
            return bytes.fromhex(body)
        case "z":
            return _positional(body, _BASE58)
        case "k":
            return _positional(body, _BASE36)
        case "u":
            try:
                return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            except binascii.Error as error:
                raise ValueError(str(error)) from None
        case _:
            raise ValueError(f"unknown base {text[0]!r}")


def _positional(text: str, alphabet: str) -> bytes:
    value = 0
    for character in text:
        digit = alphabet.find(character)
        if digit < 0:
            raise ValueError(f"{character!r} is not in its alphabet")
        value = value * len(alphabet) + digit
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return b"\0" * zeros + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _varint(data: bytes) -> tuple[int, bytes]:
    value = 0
    for at, byte in enumerate(data[:9]):
        value |= (byte & 0x7F) << (7 * at)
        if byte < 0x80:
            return value, data[at + 1 :]
    raise ValueError("cut short")


def _digest(multihash: bytes) -> bytes | None:
    code, rest = _varint(multihash)
    length, digest = _varint(rest)
    if len(digest) != length or length == 0:
        raise ValueError("the hash has the wrong length")
    return digest if code == _SHA2_256 and length == 32 else None
