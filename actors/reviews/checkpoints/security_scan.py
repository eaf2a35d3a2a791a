"""A person looks at a payload that would give away a secret, or send the provider into our own network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from actors.reviews.checkpoints.base import Checkpoint, Measured, Moment
from actors.reviews.forms.paths import Path, written
from actors.reviews.thresholds import Finding
from storage.addresses import refusal

Kind = Literal["api_key", "private_key", "token", "password", "internal_address"]

# As their issuers write them: a prefix and a length, so that an ordinary long word is none.
_SECRETS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("private_key", re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")),
    ("api_key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("api_key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b")),
    ("api_key", re.compile(r"\bsk-(?:proj-|ant-|live-)?[A-Za-z0-9_-]{20,}")),
    ("api_key", re.compile(r"\b(?:sk|rk)_live_[A-Za-z0-9]{20,}")),
    ("api_key", re.compile(r"\br8_[A-Za-z0-9]{30,}")),
    ("api_key", re.compile(r"\bhf_[A-Za-z0-9]{30,}")),
    ("api_key", re.compile(r"\bwhsec_[A-Za-z0-9+/]{24,}")),
    ("token", re.compile(r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,}\b")),
    ("token", re.compile(r"\bgithub_pat_[A-Za-z0-9_]{50,}\b")),
    ("token", re.compile(r"\bxox[abposr]-[A-Za-z0-9-]{10,}")),
    ("token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("password", re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,100}:[^\s/@]{1,200}@")),
)
_URL = re.compile(r"\b(?:https?|ftp)://[^\s\"'<>]{1,2000}", re.IGNORECASE)
_INSIDE = (".local", ".internal", ".localhost", ".lan", ".corp", ".home.arpa")
_MOST = 100
_MAX_CHARS = 1_000_000


class Options(BaseModel):
    """`ignore`: kinds that do not stop a payload."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ignore: tuple[Kind, ...] = ()


class SecurityScan(Checkpoint):
    name = "security_scan"
    title = "Does this give something away?"
    stands = "before_call"
    options_model = Options

    async def measure(self, moment: Moment) -> Measured:
        assert moment.payload is not None
        found, complete = scanned(moment.payload.input)
        stopping = [each for each in found if each["kind"] not in self.options.ignore]
        kinds = sorted({each["kind"] for each in stopping})
        reason = f"found: {', '.join(kinds)}" if kinds else "nothing found"
        if not complete:
            reason += "; it is too large to be looked at wholly"
        finding = Finding(
            threshold="secrets",
            limit=0,
            value=len(stopping),
            passed=complete and not stopping,
            reason=reason,
            # Places only: a record of secrets must not hold them.
            details={"places": stopping},
        )
        return Measured(findings=(finding,))


def scanned(value: Any) -> tuple[list[dict[str, str]], bool]:
    """({"kind", "path"} of what was found, once per place; whether everything was looked at)."""
    found: list[dict[str, str]] = []
    read = 0
    for path, text in _texts(value):
        read += len(text)
        if read > _MAX_CHARS or len(found) >= _MOST:
            return found[:_MOST], False
        kinds = [kind for kind, pattern in _SECRETS if pattern.search(text)]
        if any(_is_inside(url[0]) for url in _URL.finditer(text)):
            kinds.append("internal_address")
        found += [{"kind": kind, "path": written(path)} for kind in dict.fromkeys(kinds)]
    return found, True


def _is_inside(url: str) -> bool:
    try:
        host = (urlsplit(url).hostname or "").lower().rstrip(".")
    except ValueError:
        return False
    if host == "localhost" or host.endswith(_INSIDE) or (host and "." not in host and ":" not in host):
        return True
    with suppress(ValueError):
        return refusal(str(ip_address(host))) is not None
    return False


def _texts(value: Any) -> Iterator[tuple[Path, str]]:
    left: list[tuple[Path, Any]] = [((), value)]
    while left:
        path, part = left.pop()
        if isinstance(part, str):
            # A file that stands there whole is no text.
            if not part.startswith("data:"):
                yield path, part
        elif isinstance(part, dict):
            left += [((*path, str(name)), each) for name, each in reversed(part.items())]
        elif isinstance(part, list):
            left += [((*path, number), part[number]) for number in range(len(part) - 1, -1, -1)]
