"""TCP ports: which are free, and who holds one that is not."""

from __future__ import annotations

import contextlib
import errno
import socket

import psutil

from cluster.errors import PortTakenError, SettingError
from cluster.processes import MARKER


def require_free(host: str, port: int, *, setting: str) -> None:
    """Raises `PortTakenError`, naming the holder and the setting to change, unless `port` can be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except PermissionError:
            raise PortTakenError(
                f"port {port} needs root; set {setting} to one from 1024", subject=str(port), setting=setting
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingError(
                    f"{host} is not an address of this machine that can be listened on ({error.strerror}); set "
                    "HYVVE_HOST to 127.0.0.1, 0.0.0.0 or one that is",
                    subject="HYVVE_HOST",
                ) from None
            raise PortTakenError(
                f"port {port} is taken by {holder(port)}; stop it or set {setting} to another port",
                subject=str(port), setting=setting,
            ) from None  # fmt: skip


def holder(port: int) -> str:
    """Who listens on `port`, as far as this user may know."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                with contextlib.suppress(psutil.Error):
                    if data_dir := process.environ().get(MARKER):
                        return f"the Hyvve of {data_dir} (pid {process.pid})"
                return f"{process.name()} (pid {process.pid})"
    return "another process"


def free_ports(count: int) -> list[int]:
    """That many different ports that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]
