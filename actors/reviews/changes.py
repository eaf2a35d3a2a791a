"""What differs between two payloads: the same list for the same two, in the order of their paths.

A change is of one plain value, or of a whole part that is on one side only. Entries of lists are compared after what
both lists begin and end with, so one entry put in front is one change and not as many as there are entries.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from actors.agents.documents import MAX_DEPTH, depth_of
from actors.errors import ReviewEditError
from actors.reviews.forms.paths import Path, written


class Change(BaseModel):
    """`path` is a JSON path: in the later document, or for `removed` in the earlier one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def changes(before: Any, after: Any) -> tuple[Change, ...]:
    """From `before` to `after`; none where they are the same JSON (1 and 1.0 are, 1 and true are not).

    Raises `ReviewEditError` for what is nested deeper than 64 levels.
    """
    for document in (before, after):
        if depth_of(document) > MAX_DEPTH:
            raise ReviewEditError(
                f"a payload is nested deeper than {MAX_DEPTH} levels", errors=["$: is nested too deeply"]
            )
    found: list[Change] = []
    _compare((), before, after, found)
    return tuple(found)


def same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON value."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other) and isinstance(one, int | float) == isinstance(other, int | float)


def _compare(path: Path, before: Any, after: Any, found: list[Change]) -> None:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}, key=str):
            if name not in after:
                found.append(Change(path=written((*path, str(name))), kind="removed", before=before[name]))
            elif name not in before:
                found.append(Change(path=written((*path, str(name))), kind="added", after=after[name]))
            else:
                _compare((*path, str(name)), before[name], after[name], found)
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        _entries(path, list(before), list(after), found)
    elif not same(before, after):
        found.append(Change(path=written(path), kind="changed", before=before, after=after))


def _entries(path: Path, before: list[Any], after: list[Any], found: list[Change]) -> None:
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and same(before[start], after[start]):
        start += 1
    end = 0
    while end < shorter - start and same(before[-1 - end], after[-1 - end]):
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    both = min(len(old), len(new))
    for number in range(both):
        _compare((*path, start + number), old[number], new[number], found)
    found += [
        Change(path=written((*path, start + number)), kind="removed", before=old[number])
        for number in range(both, len(old))
    ]
    found += [
        Change(path=written((*path, start + number)), kind="added", after=new[number])
        for number in range(both, len(new))
    ]
