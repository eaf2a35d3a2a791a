"""Reading a model's JSON Schema as a tree of fields: bounded in depth, number and work, whatever it says.

Schemas come from other people's servers. References within the document are followed, each at most once on a way
down, so a schema that holds itself ends as one field; references that lead out of it are never fetched. What cannot
be read is one field of any type and a note; what is no schema at all is a `FormSchemaError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from actors.agents.documents import MAX_DEPTH, depth_of, size_of
from actors.agents.schema_work import homes_in, parts_of
from actors.errors import FormSchemaError
from actors.reviews.forms.paths import EACH, Path, found, written

MAX_FIELDS = 500
MAX_SCHEMA_BYTES = 1024 * 1024
# Objects within objects that a form still shows as parts; deeper ones are one field.
_MAX_LEVELS = 12
# Schemas looked at, references followed. A megabyte of references to references can mean billions.
_MAX_WORK = 50_000
# Bytes of definitions that stand beside parts of a schema, all parts together.
_MAX_CARRIED = 8 * 1024 * 1024
_LAST = 1e6

_NAMES_OF_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
# Where `$ref` may point to: kept beside a part of the schema, so that the part can be validated alone.
_DEFINITIONS = ("$defs", "definitions", "components")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaField:
    """One field. A leaf takes a value, or with `many` a list of plain values; others have `children`.

    `types` are JSON Schema's, of an entry where `many`; none is any. `required` is by its own object, `needed` by all
    objects above it too. `schema` is what a value must satisfy, as it was given. `examples` are never values.
    """

    path: Path
    name: str
    schema: dict[str, Any]
    order: float = _LAST
    types: tuple[str, ...] = ()
    title: str = ""
    description: str = ""
    required: bool = False
    needed: bool = False
    nullable: bool = False
    has_default: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()
    format: str = ""
    media: str = ""
    many: bool = False
    max_items: int | None = None
    examples: tuple[Any, ...] = ()
    children: tuple[SchemaField, ...] = ()

    @property
    def key(self) -> str:
        return written(self.path)


@dataclass(frozen=True, slots=True)
class FormSchema:
    """`fields` are the top ones; `document` validates a whole payload; `notes` say what could not be read."""

    fields: tuple[SchemaField, ...]
    document: dict[str, Any]
    notes: tuple[str, ...] = ()

    def leaves(self) -> tuple[SchemaField, ...]:
        """Every field that takes a value, in order."""
        return tuple(_leaves(self.fields))

    def walk(self) -> tuple[SchemaField, ...]:
        """Every field, those with parts before their parts."""
        return tuple(_walk(self.fields))


def _leaves(fields: Iterable[SchemaField]) -> Iterable[SchemaField]:
    for each in fields:
        yield from _leaves(each.children) if each.children else (each,)


def _walk(fields: Iterable[SchemaField]) -> Iterable[SchemaField]:
    for each in fields:
        yield each
        yield from _walk(each.children)


def read_schema(schema: Any, example: Any = None) -> FormSchema:
    """The fields of a JSON Schema for an object, or of an OpenAPI document with a schema `Input`, as Replicate gives.

    Without a schema (`None` or `{}`) the fields are those that the example has. Raises `FormSchemaError` for what is
    no schema of an object, and past `MAX_FIELDS`, `MAX_SCHEMA_BYTES` or 64 levels of nesting.
    """
    if example is not None and not isinstance(example, dict):
        raise FormSchemaError(f"an example input is an object of fields, not {_kind(example)}")
    if depth_of(example) > MAX_DEPTH:
        raise FormSchemaError(f"the example input is nested deeper than {MAX_DEPTH} levels")
    if schema is None or schema == {}:
        schema = _described(example or {})
    if not isinstance(schema, dict):
        raise FormSchemaError(f"a schema is an object, not {_kind(schema)}")
    if depth_of(schema) > MAX_DEPTH:
        raise FormSchemaError(f"the schema is nested deeper than {MAX_DEPTH} levels")
    try:
        size = size_of(schema)
    except (TypeError, ValueError) as error:  # orjson: integers past 64 bits, lone surrogates
        raise FormSchemaError(f"the schema is no JSON: {error}") from None
    if size > MAX_SCHEMA_BYTES:
        raise FormSchemaError(f"the schema has {size:,} bytes; the limit is {MAX_SCHEMA_BYTES:,}")
    reader = _Reader(schema, example or {})
    with suppress(ValueError):  # ids that lead elsewhere: none is followed
        reader.parts = parts_of(schema)
        reader.homes = homes_in(reader.parts)
    return reader.read()


@dataclass(slots=True)
class _Reader:
    root: dict[str, Any]
    example: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    work: int = 0
    count: int = 0
    carried: int = 0
    # Parts that are schemas of their own, by id, and of what stands within one, by identity, the part.
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    homes: dict[int, dict[str, Any]] = field(default_factory=dict)

    def read(self) -> FormSchema:
        top: Any = self.root
        schemas = (self.root.get("components") or {}) if "properties" not in self.root else {}
        inputs = schemas.get("schemas") if isinstance(schemas, dict) else None
        if isinstance(inputs, dict) and "Input" in inputs:
            top = inputs["Input"]
        if not isinstance(top, dict):
            raise FormSchemaError(f"the schema of the input is {_kind(top)}, not an object")
        merged, trail = self._resolved(top, frozenset(), ())
        merged, trail = self._chosen(merged, trail, ())
        types = _types(merged)
        if types and "object" not in types:
            raise FormSchemaError(f"the schema describes a value of type {types[0]}; a form needs an object of fields")
        properties = merged.get("properties", {})
        if not isinstance(properties, dict):
            raise FormSchemaError(f"`properties` of the schema is {_kind(properties)}, not an object")
        fields = self._fields(merged, (), trail, needed=True, level=0)
        document = {**self._definitions(), **top}
        return FormSchema(fields, document, tuple(dict.fromkeys(self.notes)))

    def _definitions(self) -> dict[str, Any]:
        return {name: self.root[name] for name in _DEFINITIONS if name in self.root}

    def _alone(self, raw: Any) -> dict[str, Any]:
        """What a value of a field must satisfy, by itself: with the definitions, where it refers to anything.

        Holding a value against it takes time in line with those. Past a limit they are left out, and no value can be
        held against the field.
        """
        schema = raw if isinstance(raw, dict) else {}
        if not _refers(schema):
            return schema
        definitions = self._definitions()
        if definitions:
            self.carried += size_of(definitions)
        return {**definitions, **schema} if self.carried <= _MAX_CARRIED else schema

    def _fields(
        self, parent: dict[str, Any], path: Path, trail: frozenset[str], *, needed: bool, level: int
    ) -> tuple[SchemaField, ...]:
        properties = parent.get("properties")
        if not isinstance(properties, dict):
            return ()
        required = parent.get("required")
        names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
        made = []
        for name, raw in properties.items():
            if raw is False or (isinstance(raw, dict) and raw.get("readOnly") is True):
                continue
            # As the third draft of JSON Schema wrote it.
            own = name in names or (isinstance(raw, dict) and raw.get("required") is True)
            made.append(self._field(name, raw, (*path, name), trail, required=own, needed=needed and own, level=level))
        return tuple(sorted(made, key=lambda each: each.order))

    def _field(
        self, name: str, raw: Any, path: Path, trail: frozenset[str], *, required: bool, needed: bool, level: int
    ) -> SchemaField:
        self.count += 1
        if self.count > MAX_FIELDS:
            raise FormSchemaError(f"the schema has more than {MAX_FIELDS} fields; {written(path)} is one too many")
        if not isinstance(raw, dict | bool):
            self.notes.append(f"{written(path)}: its schema is {_kind(raw)}; it is taken as a field of any type")
        merged, trail = self._resolved(raw, trail, path)
        nullable = _nullable(merged)
        merged, trail = self._chosen(merged, trail, path)
        whole = merged
        types = _types(merged)
        many, max_items = False, None
        children: tuple[SchemaField, ...] = ()
        if "array" in types and not any(plain in types for plain in ("string", "number", "integer", "boolean")):
            items = merged.get("items", merged.get("prefixItems"))
            entry, inner = self._resolved(items[0] if isinstance(items, list) and items else items, trail, path)
            entry, inner = self._chosen(entry, inner, path)
            if isinstance(entry.get("properties"), dict) and level < _MAX_LEVELS:
                children = self._fields(entry, (*path, EACH), inner, needed=needed, level=level + 1)
            if not children:
                many, types = True, _types(entry)
                merged = {**entry, **{key: merged[key] for key in ("title", "description") if key in merged}}
            limit = whole.get("maxItems")
            max_items = limit if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0 else None
        elif isinstance(merged.get("properties"), dict):
            if level < _MAX_LEVELS:
                children = self._fields(merged, path, trail, needed=needed, level=level + 1)
            else:
                self.notes.append(f"{written(path)}: nested too deeply for a form; it is one field")
        examples = [whole["example"]] if "example" in whole else []
        if isinstance(whole.get("examples"), list):
            examples += whole["examples"]
        examples += found(self.example, path)
        default = whole.get("default")
        return SchemaField(
            path=path,
            name=name,
            schema=self._alone(raw),
            order=_order(whole.get("x-order")),
            types=tuple(each for each in types if each != "null"),
            title=_text(whole, "title"),
            description=_text(whole, "description"),
            required=required,
            needed=needed,
            nullable=nullable,
            has_default="default" in whole,
            default=default,
            choices=_choices(merged),
            format=_text(merged, "format"),
            media=_text(merged, "contentMediaType") or ("binary" if _text(merged, "contentEncoding") else ""),
            many=many,
            max_items=max_items,
            examples=tuple(examples),
            children=children,
        )

    def _resolved(self, raw: Any, trail: frozenset[str], path: Path) -> tuple[dict[str, Any], frozenset[str]]:
        """The schema with its `$ref` and `allOf` worked in; what stands in it itself goes first."""
        self.work += 1
        if self.work > _MAX_WORK:
            raise FormSchemaError(f"the schema refers to itself in too many ways, at {written(path)} among others")
        if not isinstance(raw, dict):
            return {}, trail
        merged = {key: value for key, value in raw.items() if key not in {"$ref", "allOf"}}
        layers: list[tuple[Any, frozenset[str]]] = []
        if "$ref" in raw:
            layers.append(self._target(raw["$ref"], self.homes.get(id(raw), self.root), trail, path))
        parts = raw.get("allOf")
        layers += [(part, trail) for part in parts] if isinstance(parts, list) else []
        reached = trail
        for layer, behind in layers:
            inner, further = self._resolved(layer, behind, path)
            reached |= further
            _merge(merged, inner)
        return merged, reached

    def _target(self, ref: Any, home: dict[str, Any], trail: frozenset[str], path: Path) -> tuple[Any, frozenset[str]]:
        """What a reference leads to that stands in the schema `home`: the whole, or a part with an id of its own."""
        part_id, _, pointer = ref.partition("#") if isinstance(ref, str) else ("?", "", "")
        target: Any = self.parts.get(part_id) if part_id else home
        if target is None:
            self.notes.append(
                f"{written(path)}: the reference {str(ref)[:100]!r} leads out of the schema; not followed"
            )
            return {}, trail
        followed = f"{id(target)}#{pointer}"
        if followed in trail:
            self.notes.append(f"{written(path)}: {ref[:100]} holds itself; it is one field from here on")
            return {}, trail
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdecimal() and len(name) < 7 and int(name) < len(target):
                target = target[int(name)]
            else:
                self.notes.append(f"{written(path)}: the schema has no {ref[:100]}")
                return {}, trail
        return target, trail | {followed}

    def _chosen(
        self, schema: dict[str, Any], trail: frozenset[str], path: Path
    ) -> tuple[dict[str, Any], frozenset[str]]:
        """Of alternatives one that a person can fill: plain text before lists, lists before objects."""
        for key in ("anyOf", "oneOf"):
            raw = schema.get(key)
            if not isinstance(raw, list):
                continue
            kept = [(merged, further) for merged, further in (self._resolved(one, trail, path) for one in raw)
                    if merged and _types(merged) != ("null",)]  # fmt: skip
            if not kept:
                continue
            best, further = min(kept, key=lambda pair: _plainness(pair[0]))
            chosen = {name: value for name, value in schema.items() if name not in {"anyOf", "oneOf"}}
            _merge(chosen, best)
            # A choice from a list, or any other text: both are offered, none is demanded.
            if any("string" in _types(other) and "enum" not in other for other, _ in kept):
                chosen.pop("enum", None)
            return chosen, further
        return schema, trail


def _refers(schema: dict[str, Any]) -> bool:
    left: list[Any] = [schema]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if "$ref" in part:
                return True
            left += part.values()
        elif isinstance(part, list):
            left += part
    return False


def _merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    for key, value in layer.items():
        held = into.get(key)
        if key == "properties" and isinstance(held, dict) and isinstance(value, dict):
            into[key] = {**value, **held}
        elif key == "required" and isinstance(held, list) and isinstance(value, list):
            into[key] = [*held, *value]
        elif key not in into:
            into[key] = value


def _plainness(schema: dict[str, Any]) -> int:
    types = _types(schema)
    for rank, name in enumerate(("string", "array", "object", "number", "integer", "boolean")):
        if name in types:
            return rank
    return len(_NAMES_OF_TYPES)


def _types(schema: dict[str, Any]) -> tuple[str, ...]:
    stated = schema.get("type")
    names = [stated] if isinstance(stated, str) else stated if isinstance(stated, list) else []
    known = tuple(name for name in names if isinstance(name, str) and name in _NAMES_OF_TYPES)
    if known:
        return known
    if isinstance(schema.get("properties"), dict):
        return ("object",)
    if "items" in schema:
        return ("array",)
    values = _choices(schema) or ((schema["default"],) if schema.get("default") is not None else ())
    return tuple(dict.fromkeys(_type(value) for value in values))


def _nullable(schema: dict[str, Any]) -> bool:
    alternatives = [one for key in ("anyOf", "oneOf") if isinstance(schema.get(key), list) for one in schema[key]]
    return (
        schema.get("nullable") is True
        or "null" in _types(schema)
        or any(isinstance(one, dict) and "null" in _types(one) for one in alternatives)
    )


def _choices(schema: dict[str, Any]) -> tuple[Any, ...]:
    if "const" in schema:
        return (schema["const"],)
    stated = schema.get("enum")
    return tuple(value for value in stated if value is not None) if isinstance(stated, list) else ()


def _text(schema: dict[str, Any], key: str) -> str:
    value = schema.get(key)
    return value[:2000] if isinstance(value, str) else ""


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) else "number"
    return "array" if isinstance(value, list | tuple) else "object" if isinstance(value, dict) else "string"


def _kind(value: Any) -> str:
    return "null" if value is None else f"a value of type {_type(value)}"


def _order(stated: Any) -> float:
    """`x-order`, by which Replicate sorts its forms; fields without one come last, as they stand."""
    good = isinstance(stated, int | float) and not isinstance(stated, bool) and math.isfinite(stated)
    return float(stated) if good else _LAST


def _described(value: Any) -> dict[str, Any]:
    """A schema that the value satisfies: its shape, and nothing of what it says."""
    kind = _type(value)
    if kind == "object":
        return {"type": kind, "properties": {str(name): _described(part) for name, part in value.items()}}
    if kind == "array":
        entries = [_described(part) for part in value[:20]]
        merged: dict[str, Any] = {}
        for entry in entries:
            _merge(merged, entry)
        return {"type": kind, "items": merged}
    if kind == "null":
        return {}
    # A later value may have a fraction, or none.
    return {"type": "number" if kind == "integer" else kind}
