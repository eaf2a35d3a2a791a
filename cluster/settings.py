"""What the environment says, as one frozen value that is built once and handed down.

`from_environment` is the only reader of environment variables; the rooms below get their part of the result.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from actors.settings import ActorsSettings, ScorerKind
from cluster.directory import DataDirectory
from cluster.environment import BY_NAME, UNITS, VARIABLES, Variable
from cluster.errors import SettingError
from serve.settings import ServeSettings
from storage.settings import StorageSettings

# Whose variables stand in `environment.py` under `<kind>.…`: one endpoint and key for the scorer and agents' models.
SCORER_PROVIDERS = ("openai", "gemini", "atoma")

_SCORER = "actors.verification.scorer"
_SEARCH = "actors.agents.tools.search"


class ClusterSettings(BaseModel):
    """Where it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # `None` starts a Ray of this machine's own.
    ray_address: str | None = None
    dashboard_port: int | None = Field(default=None, ge=1, le=65535)
    num_cpus: int | None = Field(default=None, ge=1)
    num_gpus: int | None = Field(default=None, ge=0)
    embedded_postgres: bool = True
    embedded_redis: bool = True

    @field_validator("ray_address")
    @classmethod
    def _reachable_form(cls, address: str | None) -> str | None:
        if address is not None and address.startswith("ray://"):
            raise ValueError(
                "Ray's client protocol (ray://) cannot deploy; give the head's address as host:port and run this on "
                "a machine of the cluster"
            )
        return address


class Settings(BaseModel):
    """All settings of this process."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    storage: StorageSettings
    actors: ActorsSettings
    serve: ServeSettings
    cluster: ClusterSettings

    @property
    def directory(self) -> DataDirectory:
        return DataDirectory(self.storage.data_dir)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """The settings that `environ` describes. Unset and empty variables take their defaults.

        Raises `SettingError` naming the variable: for a value that cannot be used, with the allowed ones, and for an
        unknown `HYVVE_…` name, with the nearest known one.
        """
        _refuse_unknown(environ)
        values: dict[str, Any] = {"storage": {}, "actors": {}, "serve": {}, "cluster": {}}
        for variable in VARIABLES:
            written = environ.get(variable.name, "").strip()
            if written:
                value = _parse(variable, written)
                for field in (variable.field, *variable.also):
                    _put(values, field, value)
        _check_addresses(values)
        providers = {kind: values.pop(kind, {}) for kind in SCORER_PROVIDERS}
        _complete_scorers(values, providers)
        _complete_agents(values, providers)
        directory = DataDirectory.at(Path(values["storage"].get("data_dir", ".hyvve")))
        values["storage"]["data_dir"] = directory.root
        _embed(values, directory)
        if "ray_address" in values["cluster"]:
            # HAProxy on each node reaches the replicas of the others.
            values["serve"].setdefault("host", "0.0.0.0")  # noqa: S104 - a cluster is behind a firewall of its own
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _explained(error, environ) from None


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith("HYVVE_") and name not in BY_NAME:
            near = difflib.get_close_matches(name, BY_NAME, n=1, cutoff=0)[0]
            raise SettingError(f"{name} is not a setting of Hyvve; did you mean {near}?", subject=name, nearest=near)


def _put(values: dict[str, Any], field: str, value: object) -> None:
    *parents, last = field.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


def _parse(variable: Variable, written: str) -> object:
    match variable.form:
        case "list":
            return tuple(part.strip() for part in written.split(",") if part.strip())
        case "members":
            return _members(variable, written)
        case "megabytes" | "days":
            return _whole(variable, written) * UNITS[variable.form]
        case "json":
            return _object(variable, written)
        case "plain":
            return written


def _whole(variable: Variable, written: str) -> int:
    try:
        number = int(written)
    except ValueError:
        number = 0
    if number < 1:
        raise SettingError(f"{variable.name}={written!r}: should be a whole number from 1", subject=variable.name)
    return number


def _object(variable: Variable, written: str) -> dict[str, Any]:
    try:
        found = orjson.loads(written)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise SettingError(f"{variable.name}={written!r}: should be a JSON object", subject=variable.name)
    return found


def _members(variable: Variable, written: str) -> tuple[dict[str, Any], ...]:
    kinds = [kind for kind in get_args(ScorerKind) if kind != "vote"]
    members = []
    for part in written.split(","):
        kind, _, model = part.strip().partition(":")
        if kind not in kinds:
            raise SettingError(
                f"{variable.name}={written!r}: {kind!r} is not a scorer; use {', '.join(kinds)}, each as `kind` or "
                "`kind:model`",
                subject=variable.name,
            )
        members.append({"kind": kind, "model": model or None})
    return tuple(members)


_SCHEMES = {
    "SQLALCHEMY_DATABASE_URL": ("storage.database_url", ("postgresql", "postgres", "postgresql+psycopg")),
    "REDIS_URL": ("storage.redis_url", ("redis", "rediss", "unix")),
    "WALRUS_PUBLISHER_URL": ("storage.walrus.publisher_url", ("https", "http")),
    "WALRUS_AGGREGATOR_URL": ("storage.walrus.aggregator_url", ("https", "http")),
    "IPFS_GATEWAY": ("storage.fetch.ipfs_gateway", ("https", "http")),
    "OPENAI_BASE_URL": ("openai.base_url", ("https", "http")),
    "GOOGLE_GEMINI_BASE_URL": ("gemini.base_url", ("https", "http")),
    "ATOMA_BASE_URL": ("atoma.base_url", ("https", "http")),
    "HYVVE_SEARCH_URL": ("search.base_url", ("https", "http")),
    "REPLICATE_BASE_URL": ("actors.providers.replicate.base_url", ("https", "http")),
    "REPLICATE_WEBHOOK_URL": ("actors.providers.replicate.webhook_url", ("https",)),
    "ANTHROPIC_BASE_URL": ("actors.providers.anthropic.base_url", ("https", "http")),
    "HF_INFERENCE_ENDPOINT": ("actors.providers.huggingface.base_url", ("https", "http")),
    "HF_ENDPOINT": ("actors.providers.huggingface_hub", ("https", "http")),
}


def _check_addresses(values: dict[str, Any]) -> None:
    """Refuse what is no URL of its kind here, by its variable, and not where it is first used. Values may be secret."""
    for name, (field, schemes) in _SCHEMES.items():
        place: Any = values
        for part in field.split("."):
            place = place.get(part, {})
        if place and place.partition("://")[0] not in schemes:
            written = "" if place.find("://") < 0 else f" and not {place.partition('://')[0]}://"
            raise SettingError(
                f"{name} should be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}{written}",
                subject=name,
            )
    storage = values["storage"]
    if storage.get("blob_store") == "walrus":
        for name, key in (("WALRUS_PUBLISHER_URL", "publisher_url"), ("WALRUS_AGGREGATOR_URL", "aggregator_url")):
            if key not in storage.get("walrus", {}):
                raise SettingError(f"HYVVE_BLOB_STORE=walrus needs {name}", subject=name)


def _complete_scorers(values: dict[str, Any], providers: Mapping[str, dict[str, Any]]) -> None:
    """Give each scorer the endpoint and key of its provider; voters also get the pace set for all."""
    scorer = values["actors"].setdefault("verification", {}).setdefault("scorer", {})
    shared = {
        key: scorer[key] for key in ("timeout_s", "retries", "concurrency", "requests_per_minute") if key in scorer
    }
    if scorer.get("kind") == "vote" and not scorer.get("members"):
        raise SettingError(
            "HYVVE_SCORER=vote needs its voters: set HYVVE_SCORER_MEMBERS, for example `local,openai:gpt-4o-mini`",
            subject="HYVVE_SCORER_MEMBERS",
        )
    if scorer.get("members") and scorer.get("kind") != "vote":
        raise SettingError(
            "HYVVE_SCORER_MEMBERS is set and nobody votes: set HYVVE_SCORER=vote", subject="HYVVE_SCORER_MEMBERS"
        )
    scorer["members"] = tuple(
        {**shared, **member, **providers.get(member["kind"], {})} for member in scorer.get("members", ())
    )
    scorer.update(providers.get(scorer.get("kind", "local"), {}))


def _complete_agents(values: dict[str, Any], providers: Mapping[str, dict[str, Any]]) -> None:
    """Give the agents' models their providers' endpoints and keys, and their web search its own."""
    agents = values["actors"].setdefault("agents", {})
    llms = agents.setdefault("llms", {})
    llms |= {"google": providers["gemini"], "openai": providers["openai"], "atoma": providers["atoma"]}
    search = values.pop("search", {})
    keys = search.pop("keys", {})
    if "backend" not in search and keys:
        search["backend"] = next(iter(keys))
    if key := keys.get(search.get("backend")):
        search["api_key"] = key
    elif search.get("backend") in ("tavily", "brave", "serper"):
        name = f"{search['backend'].upper()}_API_KEY"
        raise SettingError(f"HYVVE_SEARCH={search['backend']} needs {name}", subject=name)
    agents.setdefault("tools", {})["search"] = search


def _embed(values: dict[str, Any], directory: DataDirectory) -> None:
    """Fill in the addresses of the embedded services; they follow from the data directory."""
    storage, cluster = values["storage"], values["cluster"]
    cluster["embedded_postgres"] = "database_url" not in storage
    cluster["embedded_redis"] = "redis_url" not in storage
    storage.setdefault("database_url", directory.postgres_url)
    storage.setdefault("redis_url", directory.redis_url)


def _explained(error: ValidationError, environ: Mapping[str, str]) -> SettingError:
    """The first fault, in the words of the variable that caused it."""
    fault = error.errors()[0]
    place = [str(part) for part in fault["loc"]]
    reason = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    for variable in VARIABLES:
        field = variable.field.split(".")
        if field[0] in SCORER_PROVIDERS:
            field = [*_SCORER.split("."), *field[1:]]
        elif field[0] == "search":
            field = [*_SEARCH.split("."), *field[1:]]
        if place[: len(field)] == field and environ.get(variable.name, "").strip():
            shown = "…" if variable.secret else repr(environ[variable.name])
            return SettingError(f"{variable.name}={shown}: {reason}", subject=variable.name)
    return SettingError(f"{'.'.join(place)}: {reason}", subject=place[-1])
