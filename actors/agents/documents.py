"""Bounds on the JSON that authors, models and tools hand in, measured without recursion."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

# Deeper than any schema or result that a person reads; far below where parsers give up.
MAX_DEPTH = 64
MAX_SCRATCHPAD_BYTES = 1024 * 1024
# Larger JSON is not laid out in lines: their indents can make it sixty times as large.
_MOST_LAID_OUT = 64 * 1024

_CONTAINERS = (dict, list, tuple)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
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


def readable(value: Any) -> str:
    """The value as JSON that a model or a person reads; laid out in lines where it is not large."""
    compact = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    if len(compact) > _MOST_LAID_OUT:
        return compact.decode()
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()


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
    """The value with what could not be kept left out: NUL and lone surrogates, which some models answer. Two that are
    one character, come in two pieces, become that character.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub("�", _PAIR.sub(_joined, value))
    if isinstance(value, dict):
        return {storable(name): storable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [storable(part) for part in value]
    return value


def sayable(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The value as JSON says it, whatever it is: what JSON does not know as its text, what is deeper as an ellipsis."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -_LARGEST <= value <= _LARGEST else str(value)
    if not isinstance(value, _CONTAINERS):
        return storable(str(value))
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        return {storable(str(name)): sayable(part, depth - 1) for name, part in value.items()}
    return [sayable(part, depth - 1) for part in value]


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")
