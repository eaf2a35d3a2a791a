"""What hosts write of runs, by the writer that they share: standings, events, side effects."""

from __future__ import annotations

from typing import Any

import orjson

from actors.runs.group_commit import Table
from actors.runs.jsonb import without_nul


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
    ("run_id", "uuid"), ("attempt", "int4"), ("status", "text"), ("step", "text"), ("steps", "int4"),
    ("progress", "jsonb"), ("output", "jsonb"), ("error", "jsonb"), ("interrupts", "jsonb"), ("consumed", "jsonb"),
    ("usage", "jsonb"), ("recoveries", "int4"), ("event_seq", "int8"), ("wake_at", "timestamptz"),
    ("started_at", "timestamptz"), ("updated_at", "timestamptz"), ("ended_at", "timestamptz"),
)  # fmt: skip

# `consumed` is no column: the ids of the answers to take out of `resume`, or none. A standing is one attempt's: where
# its transaction is repeated over a lost answer, it ends no retry that was accepted meanwhile.
STANDINGS = _Standings(
    "runs",
    tuple(name for name, _ in _STANDING),
    tuple(kind for _, kind in _STANDING),
    ("run_id", "attempt"),
    "update",
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
    return without_nul(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


def shown(value: Any) -> bytes:
    """As `json`, with what JSON cannot say as its text."""
    try:
        return without_nul(orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:  # deeper than orjson goes, or half a surrogate pair
        return without_nul(orjson.dumps(repr(value)[:10_000].encode("utf-8", "replace").decode()))
