"""The JSON Schema in an OpenAPI 3.0 document, as model servers publish it: whole, without references.

https://spec.openapis.org/oas/v3.0.3#schema-object says where the two differ: `nullable`, and exclusive bounds as
booleans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A document is a stranger's: one that refers to itself, or doubles at every reference, ends here; what lies beyond is
# not checked.
_MAX_DEPTH = 20
_MAX_SCHEMAS = 5_000
_PREFIX = "#/components/schemas/"
# Regular expressions of strangers can be made to run for ever.
_LEFT_OUT = frozenset({"$ref", "nullable", "pattern", "patternProperties"})


def component(document: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The schema of that name with everything it refers to in its place; `None` where there is none of that name."""
    schemas = (document.get("components") or {}).get("schemas") or {}
    found = schemas.get(name)
    return _Resolver(schemas).resolved(found) if isinstance(found, Mapping) else None


class _Resolver:
    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas
        self._left = _MAX_SCHEMAS

    def resolved(self, schema: Any, depth: int = 0) -> dict[str, Any]:
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or self._left < 0:
            return {}
        found: dict[str, Any] = {}
        if isinstance(ref := schema.get("$ref"), str):
            found = self.resolved(self._schemas.get(ref.removeprefix(_PREFIX)), depth + 1)
        for key, value in schema.items():
            if key in _LEFT_OUT:
                continue
            match key, value:
                case "allOf", [only]:
                    # How a default or a description is put beside a reference.
                    found = self.resolved(only, depth + 1) | found
                case (("allOf" | "anyOf" | "oneOf"), list()):
                    found[key] = [self.resolved(each, depth + 1) for each in value]
                case "properties", Mapping():
                    found[key] = {name: self.resolved(each, depth + 1) for name, each in value.items()}
                case (("items" | "additionalProperties" | "not"), Mapping()):
                    found[key] = self.resolved(value, depth + 1)
                case _:
                    found[key] = value
        return _of_2020(found, nullable=bool(schema.get("nullable")))


def _of_2020(schema: dict[str, Any], *, nullable: bool) -> dict[str, Any]:
    for bound in ("Minimum", "Maximum"):
        if isinstance(exclusive := schema.get(f"exclusive{bound}"), bool):
            del schema[f"exclusive{bound}"]
            if exclusive and bound.lower() in schema:
                schema[f"exclusive{bound}"] = schema.pop(bound.lower())
    if nullable and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema
