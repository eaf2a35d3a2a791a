"""What this room must be told. Built once in `cluster/settings.py`, passed in, never read from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class WalrusSettings(BaseModel):
    """How to reach a Walrus publisher and aggregator over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    publisher_url: str | None = None
    aggregator_url: str | None = None
    # Publishers that want it take a bearer JWT, HS256, made from this secret per store.
    jwt_secret: SecretStr | None = None
    # A publisher run with --jwt-expiring-sec wants this very number.
    jwt_lifetime_s: int = Field(default=120, ge=1)
    epochs: int = Field(default=5, ge=1, le=53)
    max_bytes: int = 10 * 1024 * 1024
    timeout_s: float = 30.0
    retries: int = 4


class FetchSettings(BaseModel):
    """Bounds on what a contribution's `data_url` may make us fetch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ipfs_gateway: str | None = None
    max_bytes: int = 10 * 1024 * 1024
    timeout_s: float = 20.0
    max_redirects: int = 5
    retries: int = 2
    # CIDR blocks that are reachable although private: a company's own file server, or a test's loopback stub.
    allowed_networks: tuple[str, ...] = ()
    # Plain http is refused unless its host lies in allowed_networks.
    schemes: tuple[str, ...] = ("https",)


class CallbackSettings(BaseModel):
    """How runs' owners are called back. `secret` signs what has no secret of its own: `whsec_` and base64."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: SecretStr | None = None
    timeout_s: float = Field(default=10.0, gt=0)
    # A callback that cannot be delivered is tried again after this, longer each time up to the cap.
    base_s: float = Field(default=2.0, gt=0)
    cap_s: float = Field(default=3600.0, gt=0)
    # Then it is given up, and its row says so.
    give_up_s: float = Field(default=24 * 3600.0, gt=0)


class StorageSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str
    redis_url: str
    data_dir: Path
    pool_size: int = Field(default=5, ge=1)
    blob_store: Literal["local", "walrus"] = "local"
    walrus: WalrusSettings = WalrusSettings()
    fetch: FetchSettings = FetchSettings()
    callbacks: CallbackSettings = CallbackSettings()
