"""What this room must be told. Built once in `cluster/settings.py`, passed in, never read from the environment."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from storage.settings import CENTURY_S


class ServeSettings(BaseModel):
    """How the API answers and how Ray Serve runs it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Web clients' origins, "https://app.example" or "*". Browsers of other origins are refused.
    cors_origins: tuple[str, ...] = ()
    # With keys set, every call but health needs one (`Authorization: Bearer …` or `X-API-Key`); without, none does.
    api_keys: tuple[SecretStr, ...] = ()
    # An uploaded file, and any other body. A JSON body may be larger than its longest field, so that a megabyte of
    # title is a 422 that names the field.
    max_upload_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    # Uploads that a replica holds at once, from their first byte to their answer: as many as are judged at once. And
    # how long one may take to arrive, for until then it keeps another out.
    max_uploads: int = Field(default=64, ge=1)
    upload_timeout_s: float = Field(default=120.0, gt=0)
    # Existing clients ask for whole lists, without pages.
    page_size: int = Field(default=1000, ge=1)
    max_page_size: int = Field(default=1000, ge=1)
    # How long one check of /readyz, or one freshness query of the campaign poll, may take.
    dependency_timeout_s: float = Field(default=3.0, gt=0)
    retry_after_s: int = Field(default=2, ge=1)
    # Event streams: a comment after so long without an event, which proxies that cut quiet connections see, and how
    # long a client waits before it connects again.
    heartbeat_s: float = Field(default=15.0, gt=0)
    reconnect_s: float = Field(default=2.0, gt=0)
    # A call that runs a workflow answers after this long at the latest; proxies cut what is quiet for a minute.
    run_wait_s: float = Field(default=30.0, ge=0)
    # Rendered campaigns kept per replica.
    poll_cache_size: int = Field(default=10_000, ge=1)
    # Where operators' browsers find Ray's dashboard; none: the console has no links to it.
    dashboard_url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    # How long a sign-in to the console lasts.
    console_session_s: int = Field(default=12 * 3600, ge=1, le=CENTURY_S)

    # Ray Serve.
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    replicas: int = Field(default=1, ge=1)
    # None: it waits for its database most of the time, and in a share that it held no chunk could be judged, on a
    # machine of one CPU none ever.
    replica_cpus: float = Field(default=0.0, ge=0)
    max_ongoing_requests: int = Field(default=1024, ge=1)
