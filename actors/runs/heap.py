"""The garbage collector, set for a process that drives many runs."""

from __future__ import annotations

import gc


def settle() -> None:
    """Take what is loaded now for permanent, and look for cycles less often.

    A step makes some hundred objects that end with it, and a hundred runs that wait for the same commit keep theirs
    alive meanwhile. At Python's own threshold (700) that leads to full collections all the time, each through every
    module loaded: a fifth of a step's cost. See `make bench-runs`.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
