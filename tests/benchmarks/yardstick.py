"""How fast this core runs Python, so that a rate per CPU-second can be held beside one from another machine."""

from __future__ import annotations

import time

_TURNS = 1_000_000


def core_speed() -> float:
    """Million turns of an empty loop's addition in a second of CPU: the best of seven tries."""
    return _TURNS / min(_once() for _ in range(7)) / 1e6


def _once() -> float:
    total, began = 0, time.process_time()
    for number in range(_TURNS):
        total += number
    return time.process_time() - began
