"""Holding values against schemas that other people wrote, which may themselves be no good."""

from __future__ import annotations

import itertools
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind

from actors.agents.documents import MAX_DEPTH, depth_of
from actors.agents.schema_work import Meter, UnboundedError
from actors.agents.structured import MOST_WORK, may_be_listed
from actors.reviews.forms.models import Fault
from actors.reviews.forms.paths import written

_MOST_FAULTS = 50


class UnusableSchemaError(Exception):
    """The schema itself cannot be applied: an unknown type, a pattern that is none, a reference to nowhere."""


class Held:
    """A schema, made ready to hold values against it.

    Patterns run in linear time, no reference is fetched, and what would hold up everybody else is not begun: the work
    is counted first. Raises `UnusableSchemaError` where the schema cannot be applied at all, or not to a value.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        try:
            self._meter = Meter(schema, has_parts=True)
        except ValueError as error:
            raise UnusableSchemaError(f"it {error}") from error
        try:
            self._validator = jsonschema_rs.validator_for(
                schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True
            )
        except (ValueError, TypeError) as error:
            raise UnusableSchemaError(str(error).partition("\n")[0][:300]) from error

    def takes(self, value: Any) -> bool:
        """Whether the value satisfies it."""
        if depth_of(value) > MAX_DEPTH:
            return False
        try:
            self._meter.work(value, MOST_WORK)
        except UnboundedError as error:
            said = f"to hold the value against it takes more than the limit of {MOST_WORK:,} evaluations"
            raise UnusableSchemaError(said) from error
        except ValueError as error:
            raise UnusableSchemaError(f"it {error}") from error
        try:
            return self._validator.is_valid(value)
        except (ValueError, TypeError):  # a value that JSON does not know: NaN, a set
            return False

    def faults(self, value: Any) -> tuple[Fault, ...]:
        """What of it the value does not satisfy, each at its JSON path in the value; about fifty at most."""
        if depth_of(value) > MAX_DEPTH:
            return (Fault(path="$", message=f"is nested deeper than {MAX_DEPTH} levels"),)
        if self.takes(value):
            return ()
        if not may_be_listed(self._meter, value):
            return (Fault(path="$", message="does not satisfy the schema, and is too large to say where"),)
        try:
            errors = list(itertools.islice(self._validator.iter_errors(value), _MOST_FAULTS))
        except (ValueError, TypeError) as error:
            return (Fault(path="$", message=f"is no JSON: {str(error)[:200]}"),)
        return tuple(fault for error in errors for fault in _said(error))


def faults(value: Any, schema: dict[str, Any]) -> tuple[Fault, ...]:
    """`Held.faults` of a schema that is needed once."""
    return Held(schema).faults(value)


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
