"""Where a value stands in a JSON document: written as `$.images[0].url`, and `[*]` for each entry of a list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# `EACH` in a field's path is every entry of a list; a value's path has the entry's number there.
EACH = -1
Path = tuple[str | int, ...]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MISSING = object()


def written(path: Path) -> str:
    """The path as text, the same for the same path; names that are no plain words are quoted."""
    parts = ["$"]
    for step in path:
        if isinstance(step, int):
            parts.append("[*]" if step == EACH else f"[{step}]")
        elif _PLAIN.match(step):
            parts.append(f".{step}")
        else:
            quoted = step.replace("\\", "\\\\").replace("'", "\\'")
            parts.append(f"['{quoted}']")
    return "".join(parts)


def found(document: Any, path: Path) -> list[Any]:
    """Every value at the path, in order; none where a step leads nowhere."""
    values = [document]
    for step in path:
        following: list[Any] = []
        for value in values:
            if step == EACH:
                following += value if isinstance(value, list | tuple) else []
            elif isinstance(step, int):
                following += [value[step]] if isinstance(value, list | tuple) and 0 <= step < len(value) else []
            elif isinstance(value, Mapping) and step in value:
                following.append(value[step])
        values = following
    return values


def value_at(document: Any, path: Path, default: Any = None) -> Any:
    """The first value at the path."""
    return next(iter(found(document, path)), default)


def has(document: Any, path: Path) -> bool:
    return value_at(document, path, _MISSING) is not _MISSING


def put(document: dict[str, Any], path: Path, value: Any) -> None:
    """Put `value` at the path, in place, making the objects and lists on the way.

    An index is at most the list's length (an entry is added then). Raises `ValueError` where something else stands in
    the way, so nothing that was there is overwritten by a container.
    """
    place: Any = document
    for step, following in zip(path, (*path[1:], None), strict=True):
        made: Any = value if following is None else ([] if isinstance(following, int) else {})
        if isinstance(step, str) and isinstance(place, dict):
            if following is None:
                place[step] = made
            place = place.setdefault(step, made)
        elif isinstance(step, int) and isinstance(place, list) and 0 <= step <= len(place):
            if step == len(place):
                place.append(made)
            elif following is None:
                place[step] = made
            place = place[step]
        else:
            raise ValueError(f"{written(path)} leads through a value that is no object or list")
