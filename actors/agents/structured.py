"""Answers that must satisfy a JSON Schema: found in a model's text, and held against it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import jsonschema_rs
import orjson

from actors.agents.documents import MAX_DEPTH, depth_of, readable
from actors.agents.schema_work import Meter, UnboundedError

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_FAULTS_NAMED = 5
# Evaluations, each of some eighty nanoseconds during which nothing else is done here.
MOST_WORK = 2_000_000
MOST_UNFOLDED = 10_000
# Characters that errors quote, of some nanoseconds each.
_MOST_QUOTED = 50_000_000


def instructions(schema: Any) -> str:
    """What a model is told so that its answer satisfies the schema."""
    asked = "Give your final answer as one JSON value, with no other text, that satisfies this JSON Schema:\n"
    return asked + readable(schema)


def parsed(text: str) -> Any:
    """The JSON value that the text is, alone or in a code fence. Raises `ValueError` with the reason."""
    fenced = _FENCED.search(text)
    for candidate in (text, fenced[1] if fenced else ""):
        try:
            value = orjson.loads(candidate)
        except orjson.JSONDecodeError as error:
            reason = str(error)
        else:
            if depth_of(value) > MAX_DEPTH:
                raise ValueError(f"the JSON is nested deeper than the limit of {MAX_DEPTH} levels")
            return value
        if not candidate.strip():
            break
    raise ValueError(f"the answer is not JSON: {reason}")


def violations(value: Any, schema: Any) -> list[str]:
    """What of the schema the value does not satisfy, each with its JSON path, some at most; none where it does.

    What would hold up everybody else is not done, and is a fault that says so.
    """
    try:
        meter = Meter(schema)
        meter.work(value, MOST_WORK)
    except UnboundedError:
        return [f"$: to hold it against the schema takes more than the limit of {MOST_WORK:,} evaluations"]
    except ValueError as error:  # saved before such schemas were refused
        return [f"$: it cannot be held against the schema, which {error}"]
    validator = _validator(schema)
    if validator.is_valid(value):
        return []
    if not may_be_listed(meter, value):
        return ["$: it does not satisfy the schema, and is too large to say where"]
    errors = itertools.islice(validator.iter_errors(value), _FAULTS_NAMED)
    return [f"{_path(error.instance_path)}: {error.message[:300]}" for error in errors]


def may_be_listed(meter: Meter, value: Any) -> bool:
    """Whether it may be said what is wrong with the value: all errors are made, each with the part of the value that it
    is about, before the first is seen.
    """
    try:
        meter.quotes(value, _MOST_QUOTED)
    except UnboundedError:
        return False
    return True


def schema_fault(schema: Any) -> str | None:
    """Why this is no JSON Schema that can be held against anything, or `None`."""
    try:
        Meter(schema).unfold(MOST_UNFOLDED)
    except UnboundedError:
        return f"refers to itself in a circle, or to more than the limit of {MOST_UNFOLDED:,} schemas for one value"
    except ValueError as error:
        return str(error)
    try:
        _validator(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        # Its first line; what follows shows the schema again.
        reason = str(error).partition("\n")[0]
        place = _path(error.instance_path) if isinstance(error, jsonschema_rs.ValidationError) else "$"
        return f"is no JSON Schema: {reason[:300]} (at {place})"
    return None


def _validator(schema: Any) -> jsonschema_rs.Validator:
    """Schemas are strangers': patterns in linear time, cycles ended, and no reference out of the schema followed."""
    return jsonschema_rs.validator_for(schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True)


def _path(parts: Sequence[str | int]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
