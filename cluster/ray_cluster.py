"""Ray and Serve: started for this data directory alone, or joined; the application deployed on them.

Call `prepare_environment` first: Ray Serve reads its settings when it is imported, in this process and in every process
that Ray starts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from actors.verification.ray_environment import CHUNK_ENVIRONMENT
from cluster.errors import RayError
from cluster.ports import free_ports
from cluster.processes import MARKER
from cluster.settings import Settings
from serve.ray_environment import SERVE_ENVIRONMENT

if TYPE_CHECKING:
    from ray.serve.deployment import Application

    from actors.runs.kinds import RunSetup
    from actors.schedules.scheduler import SchedulerSetup
    from actors.verification.workplace import Setup

log = logging.getLogger(__name__)

APPLICATION = "hyvve"
NAMESPACE = "hyvve"
_CONNECT_TIMEOUT_S = 5.0
# Three actors and an application are told to go; a cluster in order takes a second or two.
_WITHDRAW_S = 30.0
_API_TIMEOUT_S = 180.0
# Ray gives a node 30 s to start and its agent 15, which nothing sets. A busy machine has read it from its disk by the
# second try.
_STARTS = 3
_TOO_SLOW = "timed out during startup"
# Serve kills a proxy that is not ready in 5 s, three times in a row; on a busy machine it starts no faster for that.
_PROXY_START_S = "30"
# Sessions of Ray kept for their logs, this one included.
_SESSIONS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Node:
    address: str
    dashboard_url: str | None
    logs: str


def serve_environment(settings: Settings) -> dict[str, str]:
    """What Ray Serve must find in the environment of every process: HAProxy and throughput mode, and on a Ray of this
    machine's own also paths and ports that no other project here uses.
    """
    mode = {**SERVE_ENVIRONMENT, "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": _PROXY_START_S}
    if settings.cluster.ray_address is not None:
        return mode
    sockets = settings.directory.runtime / "ha"
    statistics, metrics, fallback, fallback_grpc = free_ports(4)
    return {
        **mode,
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(sockets / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(sockets / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(sockets),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(sockets / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(sockets / "metrics.sock"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        # Serve's own proxy behind HAProxy shares its port with whoever has the same one, and would mix up projects.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
    }


def prepare_environment(settings: Settings) -> None:
    """Complete this process's environment, which Ray's processes inherit."""
    os.environ.update(serve_environment(settings))
    if settings.cluster.ray_address is None:
        os.environ.pop("RAY_ADDRESS", None)
        os.environ[MARKER] = str(settings.directory.root)
    else:
        # By default a driver ends itself after a minute without its cluster's head, which may be back in two.
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "86400")
    # Said before anything of Ray is loaded: its core reads this once, and a thread of ours may load it before
    # `ray.init` decides. A cluster that we join may have no tokens; ours has.
    if settings.cluster.ray_address is None or _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    for name, value in CHUNK_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Usage statistics are off unless the operator wants them.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def start(settings: Settings) -> Node:
    """Start this project's own Ray, on this machine. Ray's processes end with the calling thread.

    Raises `RayError`.
    """
    import ray  # noqa: PLC0415 - half a second

    cluster = settings.cluster
    sessions = settings.directory.runtime / "ray"
    _forget_old_sessions(sessions)
    for left in reversed(range(_STARTS)):
        try:
            context = ray.init(
                address="local",
                num_cpus=cluster.num_cpus,
                num_gpus=cluster.num_gpus,
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                dashboard_port=cluster.dashboard_port,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.WARNING,
                _temp_dir=str(sessions),
            )
            break
        except Exception as error:
            _end_half_started(sessions)
            if not left or _TOO_SLOW not in str(error):
                raise cannot_start(error, sessions) from error
            log.warning("Ray did not start within its limit of 30 s; trying again")
    if reason := lacking(settings):
        ray.shutdown()
        raise RayError(f"{reason}, or let Ray have more (HYVVE_CPUS, HYVVE_GPUS)", subject="HYVVE_WORKER_CPUS")
    return _node(context.address_info)  # type: ignore[attr-defined]  # BaseContext lacks what every context has


def lacking(settings: Settings) -> str | None:
    """Why no machine of the cluster that this process is connected to could judge a batch now, or None."""
    import ray  # noqa: PLC0415

    from actors.verification.demand import unplaceable  # noqa: PLC0415

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return unplaceable(settings.actors.verification, [node["Resources"] for node in nodes if node["Alive"]])


def _end_half_started(sessions: Path) -> None:
    """The processes of a Ray that did not come up: it leaves them behind, on its ports."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if str(sessions) in " ".join(process.cmdline()):
                process.kill()


def join(settings: Settings) -> Node:
    """Connect to the Ray cluster at RAY_ADDRESS. Raises `RayError` saying why that is not possible."""
    import ray  # noqa: PLC0415

    address = settings.cluster.ray_address
    assert address is not None
    if address not in ("auto", "local"):
        _require_answer(address)
    try:
        context = ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.WARNING,
            # The cluster's own processes may have been started without it.
            runtime_env={"env_vars": serve_environment(settings)},
        )
    except Exception as error:
        raise _cannot_join(address, error) from error
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    _require_reachable_services(settings, sum(1 for node in nodes if node["Alive"]))
    return _node(context.address_info)  # type: ignore[attr-defined]  # BaseContext lacks what every context has


def import_serve() -> None:
    """Import Ray Serve, which takes a second or two: do it while Ray starts."""
    import serve.deployment  # noqa: F401, PLC0415


def application(settings: Settings, *, dashboard_url: str | None) -> Application:
    """The API as Serve deploys it; `dashboard_url` is where the console's links lead, unless settings know better."""
    from actors.verification.opening import open_on_cluster  # noqa: PLC0415
    from serve.deployment import deployment  # noqa: PLC0415

    if settings.serve.dashboard_url is not None:
        dashboard_url = settings.serve.dashboard_url
    return deployment(
        storage_settings=settings.storage,
        serve_settings=settings.serve.model_copy(update={"dashboard_url": dashboard_url}),
        verification_settings=settings.actors.verification,
        open_verification=open_on_cluster,
        run_settings=settings.actors.runs,
        agents_settings=settings.actors.agents,
        provider_settings=settings.actors.providers,
        review_settings=settings.actors.reviews,
    )


def deploy(settings: Settings, application: Application) -> None:
    """Start Serve and deploy the API on it. Raises `RayError` where the application does not come up."""
    import ray.serve  # noqa: PLC0415

    # `ray.serve.start` returns once the proxies run; the replicas can start meanwhile, from when the controller exists.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="serve") as pool:
        proxies = pool.submit(
            ray.serve.start,
            proxy_location="EveryNode" if settings.cluster.ray_address else "HeadOnly",
            http_options={"host": settings.serve.host, "port": settings.serve.port},
        )
        try:
            _wait_for_controller(proxies)
            ray.serve.run(application, name=APPLICATION, route_prefix="/")
            _wait_for_proxies(proxies)
        except Exception as error:
            raise RayError(f"the API could not be deployed ({_first_line(error)}){_deployment_reason()}") from error


def _wait_for_proxies(proxies: Future[None]) -> None:
    import ray.exceptions  # noqa: PLC0415

    failure = proxies.exception()
    # Serve replaces a proxy that died or was slow; whether the API answers is asked afterwards.
    if failure is not None and not isinstance(failure, ray.exceptions.RayError | TimeoutError):
        raise failure


def _wait_for_controller(proxies: Future[None]) -> None:
    import ray  # noqa: PLC0415

    while not proxies.done():
        try:
            ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
        except ValueError:
            time.sleep(0.02)
        else:
            return


def wait_for_api(url: str) -> None:
    """Returns once GET /healthz answers 200. Raises `RayError` after three minutes."""
    deadline = time.monotonic() + _API_TIMEOUT_S
    reason = "no answer"
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:  # noqa: S310 - our own address
                if answer.status == 200:
                    return
        except urllib.error.HTTPError as error:
            reason = f"status {error.code}"
        except OSError as error:
            reason = str(error)
        time.sleep(0.05)
    raise RayError(f"the API at {url} is deployed and does not answer ({reason}); is it another program's port?")


def start_runner(settings: Settings) -> None:
    """The actor that brings batches to their end runs, and goes on with the unfinished ones."""
    from actors.verification.actor import ensure_runner  # noqa: PLC0415

    ensure_runner(_setup(settings))


def start_hosts(settings: Settings) -> None:
    """The actors that drive runs are there, and go on with the unfinished ones."""
    from actors.runs.actor import ensure_hosts  # noqa: PLC0415

    ensure_hosts(_run_setup(settings))


def start_scheduler(settings: Settings) -> None:
    """The actor that fires what is due runs."""
    from actors.schedules.actor import ensure_scheduler  # noqa: PLC0415

    ensure_scheduler(_scheduler_setup(settings))


def withdraw(settings: Settings) -> None:
    """Take our application and actors off a cluster that we joined, and Serve where nothing else uses it."""
    import ray.serve  # noqa: PLC0415

    from actors.runs.actor import stop_hosts  # noqa: PLC0415
    from actors.schedules.actor import stop_scheduler  # noqa: PLC0415
    from actors.verification.actor import stop_actors  # noqa: PLC0415

    with contextlib.suppress(Exception):  # the cluster may be gone already
        stop_scheduler(_scheduler_setup(settings))
        stop_hosts(_run_setup(settings))
        stop_actors(_setup(settings))
        ray.serve.delete(APPLICATION)
        if not ray.serve.status().applications:
            ray.serve.shutdown()  # type: ignore[no-untyped-call]


def withdraw_from(address: str | None, settings: Settings) -> None:
    """`withdraw`, by a process that is not connected: what a killed supervisor could not do."""
    import ray  # noqa: PLC0415

    with contextlib.suppress(Exception):
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
        withdraw(settings)
        ray.shutdown()


def withdraw_runner(settings: Settings) -> None:
    """Take our actors off a cluster that we joined, unless an application there needs them."""
    import ray.serve  # noqa: PLC0415

    from actors.verification.actor import stop_actors  # noqa: PLC0415

    with contextlib.suppress(Exception):  # the cluster may be gone already
        if APPLICATION not in ray.serve.status().applications:
            stop_actors(_setup(settings))


def stop(settings: Settings, *, deployed: bool = True) -> None:
    """End the Ray that `start` started, or the connection that `join` made. `deployed`: with our application on it."""
    import ray  # noqa: PLC0415

    if settings.cluster.ray_address is not None:
        # Calls to a cluster that is half gone never return; what it runs ends with it.
        leaving = threading.Thread(target=withdraw if deployed else withdraw_runner, args=[settings], daemon=True)
        leaving.start()
        leaving.join(_WITHDRAW_S)
    ray.shutdown()


def _setup(settings: Settings) -> Setup:
    from actors.verification.workplace import Setup  # noqa: PLC0415

    return Setup(storage=settings.storage, verification=settings.actors.verification)


def _run_setup(settings: Settings) -> RunSetup:
    from actors.kinds import open_kinds  # noqa: PLC0415
    from actors.runs.kinds import RunSetup  # noqa: PLC0415

    return RunSetup(storage=settings.storage, actors=settings.actors, open_kinds=open_kinds)


def _scheduler_setup(settings: Settings) -> SchedulerSetup:
    from actors.schedules.scheduler import SchedulerSetup  # noqa: PLC0415

    return SchedulerSetup(storage=settings.storage)


def _node(info: Mapping[str, str]) -> Node:
    dashboard = info.get("webui_url")
    return Node(
        address=info["gcs_address"],
        dashboard_url=f"http://{dashboard}" if dashboard else None,
        logs=str(Path(info["session_dir"]) / "logs"),
    )


def _has_token() -> bool:
    """Whether this user has a token of a Ray cluster, where Ray looks for it."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return True
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser().exists()


def _require_answer(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise RayError(f"RAY_ADDRESS={address} is not host:port, as in 10.0.0.5:6379", subject="RAY_ADDRESS")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise RayError(
            f"no Ray answers at RAY_ADDRESS={address} ({error.strerror or error}): check the address and that the "
            "cluster runs (`ray status --address …`), or unset RAY_ADDRESS to start one here",
            subject="RAY_ADDRESS",
        ) from error


def cannot_start(error: Exception, sessions: Path) -> RayError:
    """What to say of a Ray of our own that did not come up; `sessions` is where it keeps its logs."""
    logs = f"{sessions}/session_latest/logs"
    if _TOO_SLOW in str(error):
        return RayError(
            f"Ray did not start within its limit of 30 s, {_STARTS} times over, as happens on a machine that is busy "
            f"with other work: try again when it is less so; Ray's logs are in {logs}"
        )
    return RayError(f"Ray could not be started ({_first_line(error)}); its logs are in {logs}")


def _cannot_join(address: str, error: Exception) -> RayError:
    text = "".join(traceback.format_exception(error))  # the reason is a cause of a cause
    if "Version mismatch" in text:
        versions = ", ".join(line.strip() for line in str(error).splitlines() if line.startswith("    "))
        return RayError(
            f"the Ray cluster at {address} and this installation differ (cluster first: {versions}): install the same "
            "versions of Ray and Python on both",
            subject="RAY_ADDRESS",
        )
    if "AuthenticationError" in text:
        return RayError(
            f"the Ray cluster at {address} refuses our token: copy its ~/.ray/auth_token here, or set RAY_AUTH_TOKEN",
            subject="RAY_ADDRESS",
        )
    return RayError(
        f"the Ray cluster at {address} cannot be joined ({_first_line(error)}): run this on a machine of the cluster",
        subject="RAY_ADDRESS",
    )


def _require_reachable_services(settings: Settings, nodes: int) -> None:
    """Workers on other machines cannot reach what is embedded here behind Unix sockets."""
    embedded = [
        name
        for name, is_embedded in (
            ("SQLALCHEMY_DATABASE_URL", settings.cluster.embedded_postgres),
            ("REDIS_URL", settings.cluster.embedded_redis),
        )
        if is_embedded
    ]
    if embedded and nodes > 1:
        raise RayError(
            f"the Ray cluster has {nodes} nodes, which cannot reach services embedded in this one: set "
            f"{' and '.join(embedded)} to shared ones",
            subject=embedded[0],
        )


def _deployment_reason() -> str:
    import ray.serve  # noqa: PLC0415

    with contextlib.suppress(Exception):
        application = ray.serve.status().applications[APPLICATION]
        for each in application.deployments.values():
            if each.message:
                return ": " + " ".join(each.message.split())[-600:]
    return ""


def _forget_old_sessions(sessions: Path) -> None:
    past = sorted(each for each in sessions.glob("session_2*") if each.is_dir() and not each.is_symlink())
    for each in past[: 1 - _SESSIONS_KEPT or None]:
        shutil.rmtree(each, ignore_errors=True)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
