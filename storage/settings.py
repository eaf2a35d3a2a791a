"""What this room must be told. Built once in `cluster/settings.py`, passed in, never read from the environment."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

# What is added to or taken from a date must leave one.
CENTURY_S = 100 * 365 * 24 * 3600


class WalrusSettings(BaseModel):
    """How to reach a Walrus publisher and aggregator over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    publisher_url: str | None = None
    aggregator_url: str | None = None
    # Publishers that want it take a bearer JWT, HS256, made from this secret per store.
    jwt_secret: SecretStr | None = None
    # A publisher run with --jwt-expiring-sec wants this very number.
    jwt_lifetime_s: int = Field(default=120, ge=1, le=CENTURY_S)
    epochs: int = Field(default=5, ge=1, le=53)
    max_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    timeout_s: float = Field(default=30.0, gt=0)
    retries: int = Field(default=4, ge=0)


class FetchSettings(BaseModel):
    """Bounds on what a contribution's `data_url` may make us fetch."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ipfs_gateway: str | None = None
    max_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    timeout_s: float = Field(default=20.0, gt=0)
    max_redirects: int = Field(default=5, ge=0)
    retries: int = Field(default=2, ge=0)
    # CIDR blocks that are reachable although private: a company's own file server, or a test's loopback stub.
    allowed_networks: tuple[str, ...] = ()
    # Plain http is refused unless its host lies in allowed_networks.
    schemes: tuple[str, ...] = ("https",)

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for written in networks:
            try:
                ip_network(written)
            except ValueError:
                raise ValueError(f"{written!r} is no network: {_meant(written)}") from None
        return networks


def _meant(written: str) -> str:
    """How to write the network that these words may mean."""
    try:
        network = ip_network(written, strict=False)
    except ValueError:
        return "write it as CIDR, for example 10.0.0.0/8, or 10.0.0.5 for one address"
    address = written.partition("/")[0]
    return f"the address is not the first of its block; write {network}, or {address} for that address alone"


class CallbackSettings(BaseModel):
    """How runs' owners are called back. `secret` signs what has no secret of its own: `whsec_` and base64."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    secret: SecretStr | None = None
    timeout_s: float = Field(default=10.0, gt=0, le=CENTURY_S)
    # A callback that cannot be delivered is tried again after this, longer each time up to the cap.
    base_s: float = Field(default=2.0, gt=0, le=CENTURY_S)
    cap_s: float = Field(default=3600.0, gt=0, le=CENTURY_S)
    # Then it is given up, and its row says so.
    give_up_s: float = Field(default=24 * 3600.0, gt=0, le=CENTURY_S)


class StorageSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    database_url: str
    redis_url: str
    data_dir: Path
    pool_size: int = Field(default=5, ge=1)
    blob_store: Literal["local", "walrus"] = "local"
    walrus: WalrusSettings = WalrusSettings()
    fetch: FetchSettings = FetchSettings()
    callbacks: CallbackSettings = CallbackSettings()
