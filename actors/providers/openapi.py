"""The JSON Schema in an OpenAPI 3.0 document, as model servers publish it: whole, without references.

https://spec.openapis.org/oas/v3.0.3#schema-object says where the two differ: `nullable`, and exclusive bounds as
booleans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 20
_PREFIX = "#/components/schemas/"


def component(document: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The schema of that name with everything it refers to in its place; `None` where there is none of that name."""
    schemas = (document.get("components") or {}).get("schemas") or {}
    found = schemas.get(name)
    return _resolved(found, schemas, 0) if isinstance(found, Mapping) else None


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        return {}  # it refers to itself: what lies deeper is not checked
    found: dict[str, Any] = {}
    if isinstance(ref := schema.get("$ref"), str):
        target = schemas.get(ref.removeprefix(_PREFIX))
        found = _resolved(target, schemas, depth + 1) if isinstance(target, Mapping) else {}
    for key, value in schema.items():
        match key:
            case "$ref" | "nullable":
                pass
            case "allOf" if isinstance(value, list) and len(value) == 1:
                # How a default or a description is put beside a reference.
                found = _resolved(value[0], schemas, depth + 1) | found
            case "allOf" | "anyOf" | "oneOf":
                found[key] = [_resolved(each, schemas, depth + 1) for each in value if isinstance(each, Mapping)]
            case "properties" if isinstance(value, Mapping):
                found[key] = {
                    name: _resolved(each, schemas, depth + 1)
                    for name, each in value.items()
                    if isinstance(each, Mapping)
                }
            case "items" | "additionalProperties" if isinstance(value, Mapping):
                found[key] = _resolved(value, schemas, depth + 1)
            case _:
                found[key] = value
    for bound in ("Minimum", "Maximum"):
        if isinstance(exclusive := found.get(f"exclusive{bound}"), bool):
            del found[f"exclusive{bound}"]
            if exclusive and bound.lower() in found:
                found[f"exclusive{bound}"] = found.pop(bound.lower())
    if schema.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    return found
