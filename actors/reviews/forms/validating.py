"""Holding values against schemas that other people wrote, which may themselves be no good."""

from __future__ import annotations

import itertools
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind

from actors.agents.documents import MAX_DEPTH, depth_of
from actors.reviews.forms.models import Fault
from actors.reviews.forms.paths import written

_MOST_FAULTS = 50


class UnusableSchemaError(Exception):
    """The schema itself cannot be applied: an unknown type, a pattern that is none, a reference to nowhere."""


def faults(value: Any, schema: dict[str, Any]) -> tuple[Fault, ...]:
    """What of the schema the value does not satisfy, each at its JSON path in the value; about fifty at most.

    Patterns run in linear time, references that go round end, and none is fetched. Raises `UnusableSchemaError` where
    the schema cannot be applied at all.
    """
    if depth_of(value) > MAX_DEPTH:
        return (Fault(path="$", message=f"is nested deeper than {MAX_DEPTH} levels"),)
    try:
        validator = jsonschema_rs.validator_for(schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True)
    except (ValueError, TypeError) as error:
        raise UnusableSchemaError(str(error).partition("\n")[0][:300]) from error
    try:
        errors = list(itertools.islice(validator.iter_errors(value), _MOST_FAULTS))
    except (ValueError, TypeError) as error:  # a value that JSON does not know: NaN, a set
        return (Fault(path="$", message=f"is no JSON: {str(error)[:200]}"),)
    return tuple(fault for error in errors for fault in _said(error))


def _said(error: jsonschema_rs.ValidationError) -> list[Fault]:
    path = tuple(error.instance_path)
    match error.kind:
        # Named one by one: a person looks for the field, not for the object around it.
        case ValidationErrorKind.AdditionalProperties() | ValidationErrorKind.UnevaluatedProperties() as kind:
            return [
                Fault(path=written((*path, str(name))), message="is no field of the schema") for name in kind.unexpected
            ]
        case ValidationErrorKind.Required() as kind:
            return [Fault(path=written((*path, str(kind.property))), message="is required")]
    return [Fault(path=written(path), message=error.message[:300])]
