"""What hosts write of runs, by the writer that they share: standings, events, side effects."""

from __future__ import annotations

from typing import Any

import orjson

from actors.runs.group_commit import Table


class _Standings(Table):
    """Answers may be given while a step consumes others, so those consumed are taken out and the rest left alone."""

    def _statement(self) -> str:
        return (
            super()
            ._statement()
            .replace(
                "consumed = given.consumed",
                "resume = CASE WHEN given.consumed IS NULL THEN kept.resume"
                " ELSE kept.resume - ARRAY(SELECT jsonb_array_elements_text(given.consumed)) END",
            )
        )


_STANDING = (
    ("run_id", "uuid"), ("status", "text"), ("step", "text"), ("steps", "int4"), ("progress", "jsonb"),
    ("output", "jsonb"), ("error", "jsonb"), ("interrupts", "jsonb"), ("consumed", "jsonb"), ("usage", "jsonb"),
    ("recoveries", "int4"), ("event_seq", "int8"), ("wake_at", "timestamptz"), ("started_at", "timestamptz"),
    ("updated_at", "timestamptz"), ("ended_at", "timestamptz"),
)  # fmt: skip

# `consumed` is no column: the ids of the answers to take out of `resume`, or none.
STANDINGS = _Standings(
    "runs", tuple(name for name, _ in _STANDING), tuple(kind for _, kind in _STANDING), ("run_id",), "update"
)
EVENTS = Table(
    "run_events",
    ("run_id", "seq", "at", "type", "step", "data"),
    ("uuid", "int8", "timestamptz", "text", "text", "jsonb"),
    ("run_id", "seq"),
    "ignore",
)
EFFECTS = Table(
    "run_effects",
    ("run_id", "key", "result", "at"),
    ("uuid", "text", "jsonb", "timestamptz"),
    ("run_id", "key"),
    "ignore",
)


def json(value: Any) -> bytes:
    """The value as JSON that PostgreSQL takes: without NUL, which its jsonb has not. Raises `TypeError`."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).replace(b"\\u0000", b"")


def shown(value: Any) -> bytes:
    """As `json`, with what JSON cannot say as its text."""
    try:
        return orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).replace(b"\\u0000", b"")
    except TypeError:  # deeper than orjson goes, or half a surrogate pair
        return orjson.dumps(repr(value)[:10_000].encode("utf-8", "replace").decode())
