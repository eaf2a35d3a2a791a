"""Bounds on the JSON that authors, models and tools hand in, measured without recursion."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

# Deeper than any schema or result that a person reads; far below where parsers give up.
MAX_DEPTH = 64
MAX_SCRATCHPAD_BYTES = 1024 * 1024

_CONTAINERS = (dict, list, tuple)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LARGEST = 2**63 - 1


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


def unstorable(value: Any) -> str | None:
    """Why PostgreSQL or JSON could not hold the value, or `None`: NUL and lone surrogates, in keys too."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            if found := _UNSTORABLE.search(part):
                return f"holds the character U+{ord(found[0]):04X}, which cannot be kept"
        elif isinstance(part, dict):
            left += [*part, *part.values()]
        elif isinstance(part, list | tuple):
            left += part
        elif isinstance(part, float) and not math.isfinite(part):
            return f"holds {part}, which JSON does not know"
        elif isinstance(part, int) and not -_LARGEST <= part <= _LARGEST:
            return f"holds an integer beyond 64 bits, {str(part)[:30]}: write it as text"
    return None


def storable(value: Any) -> Any:
    """The value with what could not be kept left out: NUL and lone surrogates, which some models answer."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("�", value)
    if isinstance(value, dict):
        return {storable(name): storable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [storable(part) for part in value]
    return value
