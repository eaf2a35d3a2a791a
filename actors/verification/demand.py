"""What a chunk asks of a machine. Whoever starts a cluster asks too, and loads nothing of what verifies for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from actors.settings import VerificationSettings
from actors.verification.scoring import computes


def cpus_per_task(settings: VerificationSettings) -> float:
    """CPUs that a chunk holds, as set. A chunk that waits for a provider leaves most of its CPU to others: while one
    is between two chunks, the others use the provider's slots.
    """
    if settings.fanout.num_cpus is not None:
        return settings.fanout.num_cpus
    return 1.0 if computes(settings.scorer) else 0.4


def unplaceable(settings: VerificationSettings, nodes: Iterable[Mapping[str, float]]) -> str | None:
    """Why no node of these resources can ever hold a chunk, or None. Ray would keep such a task waiting for ever."""
    cpus, gpus = cpus_per_task(settings), settings.fanout.num_gpus
    had = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]
    if any(cpu >= cpus and gpu >= gpus for cpu, gpu in had):
        return None
    wanted = f"{cpus:g} CPU and {gpus:g} GPU" if gpus else f"{cpus:g} CPU"
    most = ", ".join(sorted({f"{cpu:g} CPU and {gpu:g} GPU" for cpu, gpu in had})) or "no CPU"
    return (
        f"a task of a batch holds {wanted}, and no machine of the Ray cluster has that (they have: {most}), so none"
        " would ever be judged: set HYVVE_WORKER_CPUS and HYVVE_WORKER_GPUS to what one machine has"
    )
