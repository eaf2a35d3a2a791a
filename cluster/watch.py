"""What the supervisor looks at while everything runs: Ray and the API. What is wrong is said, what lasts begun anew."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from cluster import processes

# Said only after this long: a replica or a proxy that Serve replaces is away for some seconds.
SAID_AFTER_S = 10.0
# Serve mends itself (replicas, proxies, controller); only what it has not mended by then is begun anew.
ANEW_AFTER_S = 90.0
_ANSWER_S = 5.0
# Ray's own processes of this machine; without either nothing works, and nothing but a new Ray helps.
_CORE = ("gcs_server", "raylet")


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, by part; `anew`: why all of Ray and the API should be started again."""

    troubles: dict[str, str] = field(default_factory=dict)
    anew: str | None = None


class Watch:
    """Looks at one Ray, this process's own or one that it joined, and at the API on it."""

    def __init__(
        self,
        *,
        ray_address: str,
        own: bool,
        api_url: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._ray_address = ray_address
        self._core = _core_of(psutil.Process()) if own else []
        self._api_url = api_url
        self._ray_silent_since: float | None = None
        self._api_silent_since: float | None = None

    def look(self) -> Finding:
        """Takes some milliseconds, or up to ten seconds where something does not answer."""
        if gone := [name for name, process in self._core if processes.wait_gone([process], 0) == []]:
            reason = f"its {' and '.join(gone)} ended"
            return Finding({"Ray": reason}, anew=f"Ray: {reason}")
        troubles = {}
        moment = self._clock()
        self._ray_silent_since = None if _listens(self._ray_address) else self._ray_silent_since or moment
        if self._ray_silent_since is not None and moment - self._ray_silent_since >= SAID_AFTER_S:
            troubles["Ray"] = f"{self._ray_address} has not answered for {moment - self._ray_silent_since:.0f} s"
        if self._api_url is None:
            return Finding(troubles)
        self._api_silent_since = None if _healthy(self._api_url) else self._api_silent_since or moment
        silent = 0.0 if self._api_silent_since is None else moment - self._api_silent_since
        if silent >= SAID_AFTER_S:
            troubles["API"] = f"{self._api_url} has not answered for {silent:.0f} s"
        # On a Ray that is away the API cannot be started; a joined one may come back.
        anew = silent >= ANEW_AFTER_S and self._ray_silent_since is None
        return Finding(troubles, anew=f"API: {troubles['API']}" if anew else None)


def _core_of(process: psutil.Process) -> Sequence[tuple[str, psutil.Process]]:
    return [(child.name(), child) for child in process.children() if child.name() in _CORE]


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


def _healthy(api_url: str) -> bool:
    """Whether it answers at all. 503 of a busy replica is an answer, HAProxy's own 503 without a replica is none."""
    try:
        urllib.request.urlopen(f"{api_url}/healthz", timeout=_ANSWER_S).close()  # noqa: S310 - our own address
    except (OSError, ValueError):
        return False
    return True
