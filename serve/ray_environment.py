"""How Ray Serve is tuned: variables that stand in the environment before anything of Ray is imported.

Serve reads them when its modules are imported, in the driver, the controller, the proxies and the replicas alike.
"""

from __future__ import annotations

# The figures are of `make bench-serve` on two cores, CPU time a request of the campaign poll.
SERVE_ENVIRONMENT: dict[str, str] = {
    # HAProxy in front of replicas that listen themselves, instead of a Python proxy and an actor call a request.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Handlers run on the replica's own loop.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # The poll goes to the app past Serve's own handling (about 100 us), other reads without two tasks a request.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.ingress.middlewares",
    # Else HAProxy logs each request to a Python process that parses it (35 us). Replicas count requests themselves,
    # and HAProxy's own Prometheus page counts all.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    # Else each request is a datagram to a syslog port where nobody listens.
    "RAY_SERVE_HAPROXY_LOG_TARGET": "127.0.0.1:514 sample 1:1000",
    # One thread forwards some 35,000 requests/s, more than the replicas of a machine answer.
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    # HAProxy learns of a leaving replica within a second; the default keeps it for thirty.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
}
