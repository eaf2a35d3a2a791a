"""How Ray is tuned for chunks: variables that stand in the environment of whoever starts a node of the cluster."""

from __future__ import annotations

CHUNK_ENVIRONMENT: dict[str, str] = {
    # Ray ends a worker that idles for a second where there are more workers than CPUs, actors included. A new one takes
    # seconds to import, and more to load a model, so between two chunks that second is too short.
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
}
