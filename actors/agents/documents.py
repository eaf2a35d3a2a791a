"""Bounds on the JSON that authors, models and tools hand in, measured without recursion."""

from __future__ import annotations

from typing import Any

import orjson

# Deeper than any schema or result that a person reads; far below where parsers give up.
MAX_DEPTH = 64
MAX_SCRATCHPAD_BYTES = 1024 * 1024

_CONTAINERS = (dict, list, tuple)


def depth_of(value: Any) -> int:
    """How many containers stand within each other; 0 for a plain value. Stops counting just past `MAX_DEPTH`."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    depth = 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            entry
            for each in level
            for entry in (each.values() if isinstance(each, dict) else each)
            if isinstance(entry, _CONTAINERS)
        ]
    return depth


def size_of(value: Any) -> int:
    """Bytes of the value as compact JSON; what JSON cannot say counts as its text."""
    return len(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))
