"""Cutting what a tool found to what a model may be given, and saying what was cut."""

from __future__ import annotations

from typing import Any

import orjson

# Of one cut text or list at least this much stays, so that it still says what it is.
_LEAST_CHARS = 200
_LEAST_ITEMS = 1


def encoded(value: Any) -> str:
    """The value as a model reads it. Integers past 64 bits are the caller's to write as text."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def fitted(content: dict[str, Any], max_chars: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The content with its longest texts and lists shortened until its JSON has at most `max_chars`, and what was cut.

    `content` is left as it is. Where even that is not enough, one sentence stands in its place.
    """
    fits: dict[str, Any] = orjson.loads(encoded(content))
    cut: dict[str, str] = {}
    for _ in range(64):
        excess = len(encoded(fits)) - max_chars
        if excess <= 0:
            return fits, tuple(cut.values())
        longest = max(_parts(fits, ""), key=lambda part: part[0], default=None)
        if longest is None:
            break
        _, holder, key, path = longest
        cut[path] = _shorten(holder, key, path, excess, cut.get(path))
    return {"message": f"the result is larger than the limit of {max_chars:,} characters"}, ("all of it",)


def _parts(value: Any, path: str) -> list[tuple[int, Any, Any, str]]:
    """What can be shortened, as (size, holder, key, path)."""
    found: list[tuple[int, Any, Any, str]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        place = f"{path}.{key}" if path else str(key)
        if isinstance(item, str) and len(item) > _LEAST_CHARS:
            found.append((len(item), value, key, place))
        elif isinstance(item, list):
            if len(item) > _LEAST_ITEMS:
                # Texts inside count for themselves; a long list of small things is what to shorten here.
                found.append((len(encoded(item)) // 2, value, key, place))
            found += _parts(item, place)
        elif isinstance(item, dict):
            found += _parts(item, place)
    return found


def _shorten(holder: Any, key: Any, path: str, excess: int, before: str | None) -> str:
    value = holder[key]
    if isinstance(value, str):
        # In JSON a character may take six; a little is left for the words about the cut.
        kept = max(_LEAST_CHARS, min(len(value) - 1, len(value) - excess))
        holder[key] = value[:kept]
        return before or f"{path}: all but its first characters of {len(value):,}"
    size = len(encoded(value))
    kept = max(_LEAST_ITEMS, min(len(value) - 1, int(len(value) * (1 - excess / max(size, 1)))))
    holder[key] = value[:kept]
    return before or f"{path}: all but its first entries of {len(value):,}"
