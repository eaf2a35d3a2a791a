"""By which settings a running Hyvve judges, under the names that an operator set them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from cluster.environment import UNITS, VARIABLES, Variable
from cluster.settings import SCORER_PROVIDERS, Settings

# They set where and how fast it is judged and not what comes out; the running Hyvve's hold.
_PACE = (
    "actors.verification.fanout.",
    "actors.verification.scorer.concurrency",
    "actors.verification.scorer.requests_per_minute",
    "actors.verification.scorer.timeout_s",
    "actors.verification.scorer.retries",
    "actors.verification.score_cache_ttl_s",
    "actors.verification.review_verdicts",
)
# Where contents and results are kept: one that judges must find what another took in.
_PLACES = (
    "storage.database_url",
    "storage.redis_url",
    "storage.blob_store",
    "storage.walrus.publisher_url",
    "storage.walrus.aggregator_url",
)


def described(settings: Settings) -> dict[str, str]:
    """Each variable that has a say in a verdict, with its value; no secret is among them."""
    found = {}
    for variable in VARIABLES:
        provider, _, rest = variable.field.partition(".")
        fields = [variable.field, *variable.also]
        if provider in SCORER_PROVIDERS:
            if not variable.secret and settings.actors.verification.scorer.kind == provider:
                found[variable.name] = _text(_at(settings, f"actors.verification.scorer.{rest}"))
        elif any(
            each in _PLACES or (each.startswith("actors.verification.") and not each.startswith(_PACE))
            for each in fields
        ):
            found[variable.name] = _text(_as_written(variable, _at(settings, variable.field)))
    return found


def differences(running: Mapping[str, str], asked: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(variable, the running Hyvve's value, the value asked for) of each that differs."""
    names = [*running, *(name for name in asked if name not in running)]
    return [
        (name, running.get(name, ""), asked.get(name, "")) for name in names if running.get(name) != asked.get(name)
    ]


def _at(settings: Settings, field: str) -> Any:
    value: Any = settings
    for part in field.split("."):
        value = getattr(value, part)
    return value


def _as_written(variable: Variable, value: Any) -> Any:
    return value // UNITS[variable.form] if variable.form in UNITS else value


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ", ".join(_text(each) for each in value)
        case BaseModel():  # a voter
            parts = (getattr(value, name, None) for name in ("kind", "model", "base_url"))
            return " ".join(str(part) for part in parts if part)
        case _:
            return _without_password(str(value))


def _without_password(text: str) -> str:
    if "://" not in text:
        return text
    parts = urlsplit(text)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
