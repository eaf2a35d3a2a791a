"""JSON as PostgreSQL's jsonb takes it."""

from __future__ import annotations

import re

# The escape of the character itself. Text that spells the escape out has its backslash doubled, and is left alone.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def without_nul(document: bytes) -> bytes:
    """The JSON document without the character NUL in its texts, which jsonb refuses (22P05)."""
    return _NUL.sub(rb"\1", document) if b"\\u0000" in document else document
