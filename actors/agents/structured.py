"""Answers that must satisfy a JSON Schema: found in a model's text, and held against it."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import jsonschema.protocols
import jsonschema.validators
import orjson
import referencing

from actors.agents.documents import MAX_DEPTH, depth_of

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_FAULTS_NAMED = 5
# References out of a schema are refused when it is saved; here none is ever fetched.
_NO_REGISTRY: referencing.Registry[Any] = referencing.Registry()


def instructions(schema: Any) -> str:
    """What a model is told so that its answer satisfies the schema."""
    return (
        "Give your final answer as one JSON value, with no other text, that satisfies this JSON Schema:\n"
        + orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode()
    )


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
    """What of the schema the value does not satisfy, each with its JSON path; none where it does."""
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    validator: jsonschema.protocols.Validator = kind(schema, registry=_NO_REGISTRY)
    found = []
    for error in validator.iter_errors(value):
        found.append(f"{error.json_path}: {error.message[:300]}")
        if len(found) == _FAULTS_NAMED:
            break
    return found
