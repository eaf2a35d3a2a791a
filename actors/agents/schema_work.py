"""How much work it is to hold a value against a JSON Schema, counted before it is done.

Schemas are strangers', and a validator remembers nothing: forty lines, each of which refers to the next one twice, have
it evaluate the last one a million million times, and the process does nothing else meanwhile. Counting remembers, so it
takes one step for each pair of a schema and a part of the value that meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard
from urllib.parse import unquote

# Keywords whose schemas look at the same value (https://json-schema.org/draft/2020-12/json-schema-core#section-10.2).
_ALL_OF = ("allOf", "anyOf", "oneOf")
_ONE_OF = ("not", "if", "then", "else")
_OF_PROPERTY = ("dependentSchemas", "dependencies")
# ... and at its parts.
_EACH_MEMBER = ("additionalProperties", "unevaluatedProperties")
_EACH_ENTRY = ("items", "additionalItems", "unevaluatedItems", "contains")
_BY_PLACE = ("prefixItems", "items")
# These look again at what the schemas beside them have looked at.
_AGAIN = frozenset({"unevaluatedProperties", "unevaluatedItems"})
# Of a schema itself, what is looked through for each value.
_LISTS = ("enum", "required")
# Of parts that are schemas of their own (https://json-schema.org/draft/2020-12/json-schema-core#section-9.3), where
# `embedded` schemas stand. Their ids are such as no two ways of writing lead to one.
_OF_PARTS = ("properties", "$defs")
_PART_ID = re.compile(r"urn:[A-Za-z0-9:._-]+")
_ID_OF_DRAFT_4 = "draft-04"
# Here nothing counts that stands beside a reference, an id neither.
_REFERS_ALONE = ("draft-04", "draft-06", "draft-07")
# Whoever has these cannot be followed by reading: where they lead depends on who refers.
_UNREADABLE = ("$dynamicRef", "$recursiveRef")
# A pattern takes milliseconds to compile.
_MOST_PATTERNS = 200
# Characters of a text that take as long as one evaluation.
_CHARS = 64
# Characters that take as long to quote as an error takes to make, and as what is around each value takes.
_ERROR = 5_000
_NODE = 100
# Pairs counted, each of which takes some microseconds.
_MOST_PAIRS = 200_000


class UnboundedError(Exception):
    """The work is more than was allowed, or references go round without going into the value."""


def embedded(schema: Mapping[str, Any], part_id: str) -> dict[str, Any]:
    """The schema as a part of another one: references within it lead to its own root, whatever its dialect."""
    made = {**schema, _id_keyword(schema): part_id}
    if "$ref" in made and _refers_alone(schema):
        made["allOf"] = [{"$ref": made.pop("$ref")}, *_list(made.get("allOf"))]
    return made


def parts_of(schema: Any) -> dict[str, dict[str, Any]]:
    """Parts that are `embedded`, by id. Raises `ValueError` for those that a validator may see otherwise."""
    if "$schema" in _dict(schema) or "$id" in _dict(schema):
        return {}
    found: dict[str, dict[str, Any]] = {}
    for each in (part for name in _OF_PARTS for part in _dict(_dict(schema).get(name)).values()):
        if isinstance(each, dict) and _leads_away(part_id := each.get(_id_keyword(each))):
            if _PART_ID.fullmatch(part_id) is None or ("$ref" in each and _refers_alone(each)):
                raise ValueError(f"has the id {part_id[:100]!r} within it, which changes where references lead")
            found[part_id] = each
    ids = {"$id", *map(_id_keyword, found.values())} if found else set()
    if sum(_leads_away(each.get(name)) for each in _objects(schema) for name in ids) != len(found):
        raise ValueError("has further ids within it, which change where references lead")
    return found


def homes_in(parts: Mapping[str, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Of what stands within a part, by identity: the part, which references there lead to."""
    return {id(each): part for part in parts.values() for each in _objects(part)}


class Meter:
    """Counts for one schema. Raises `ValueError` for one whose work cannot be told by reading it.

    With `has_parts`, members of its `properties` and `$defs` may be `embedded`.
    """

    def __init__(self, schema: Any, *, has_parts: bool = False) -> None:
        self._schema = schema
        self._parts = parts_of(schema) if has_parts else {}
        self._homes = homes_in(self._parts)
        self._anchors: dict[tuple[int, str], Any] = {}
        self._ids = {"$id", *map(_id_keyword, _objects(schema))}
        self._weight = 0
        self._plain = True
        patterns = 0
        # Wherever they stand: a reference may lead to any place of the document.
        for each in _objects(schema):
            patterns += ("pattern" in each) + len(_dict(each.get("patternProperties")))
            self._weight += 1 + sum(len(_list(part)) + isinstance(part, bool) for part in each.values())
            self._plain &= "$ref" not in each and _AGAIN.isdisjoint(each)
            if isinstance(anchor := each.get("$anchor"), str):
                if (known := (id(self._home(each)), anchor)) in self._anchors:
                    raise ValueError(f"has the anchor {anchor[:100]!r} twice")
                self._anchors[known] = each
        if patterns > _MOST_PATTERNS:
            raise ValueError(f"has {patterns:,} patterns; the limit is {_MOST_PATTERNS:,}")

    def work(self, value: Any, most: int) -> int:
        """Evaluations that holding the value against the schema takes at most. Raises `UnboundedError` past `most`."""
        if self._plain and (bound := self._weight * _size(value)) <= most:
            return bound
        return _Count(self, most).of(self._schema, value)

    def quotes(self, value: Any, most: int) -> int:
        """What saying all that is wrong takes at most, in characters that errors quote. Raises `UnboundedError` past
        `most`.
        """
        return _Count(self, most, _sizes(value)).of(self._schema, value)

    def unfold(self, most: int) -> None:
        """Raises `UnboundedError` where one single value would take more than so many evaluations anywhere."""
        count = _Count(self, most)
        for each in _objects(self._schema):
            if "$ref" in each:
                count.of(each, "")

    def readable(self, schema: dict[str, Any]) -> None:
        """Raises `ValueError` for a schema whose references this does not follow as a validator does."""
        if found := [name for name in _UNREADABLE if name in schema]:
            raise ValueError(f"has {found[0]}, which is not taken: use $ref")
        inner = schema is not self._home(schema)
        if inner and any(_leads_away(schema.get(name)) for name in self._ids):
            raise ValueError("has an id within it, which changes where references lead: only the whole may have one")

    def target(self, reference: Any, schema: dict[str, Any]) -> Any:
        """What a reference in the schema leads to. Raises `ValueError`."""
        home = self._home(schema)
        if isinstance(reference, str):
            part_id, _, _ = reference.partition("#")
            home = self._parts.get(part_id) if part_id else home
        if not isinstance(reference, str) or home is None or not reference:
            raise ValueError(f"has the reference {str(reference)[:100]!r}, which leads out of it: use #/…")
        pointer = unquote(reference.partition("#")[2])
        if (anchor := (id(home), pointer)) in self._anchors:
            return self._anchors[anchor]
        head, *parts = pointer.split("/")
        found = None if head else home
        for part in parts:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list):
                found = found[int(name)] if name.isdecimal() and int(name) < len(found) else None
            else:
                found = _dict(found).get(name)
        if found is None:
            raise ValueError(f"has the reference {reference[:100]!r}, which leads nowhere")
        return found

    def _home(self, schema: dict[str, Any]) -> Any:
        """What `#` is here: the part that this stands in, or the whole."""
        return self._homes.get(id(schema), self._schema)


class _Count:
    """By identity: the schema and the value stay where they are meanwhile. With `sizes` of all parts of the value an
    evaluation counts for what its errors take.
    """

    def __init__(self, meter: Meter, most: int, sizes: Mapping[int, int] | None = None) -> None:
        self._meter = meter
        self._most = most
        self._sizes = sizes
        # None while it is being counted.
        self._known: dict[tuple[int, int], int | None] = {}

    def of(self, schema: Any, value: Any) -> int:
        """Without recursion of its own: a chain of references may be as long as a definition is large."""
        stack = [_Frame(schema, value, self._meter, self._sizes)]
        while True:
            frame = stack[-1]
            self._known.setdefault(frame.key)
            for met, part in frame.meetings:
                known = self._known.get((id(met), id(part)), 0)
                if known is None:
                    raise UnboundedError
                if not known:
                    stack.append(_Frame(met, part, self._meter, self._sizes))
                    break
                frame.count += frame.times * known
            else:
                stack.pop()
                if frame.count > self._most or len(self._known) > _MOST_PAIRS:
                    raise UnboundedError
                self._known[frame.key] = frame.count
                if not stack:
                    return frame.count
                stack[-1].count += stack[-1].times * frame.count


class _Frame:
    """A schema at a part of the value, with those that are evaluated because it is."""

    __slots__ = ("count", "key", "meetings", "times")

    def __init__(self, schema: Any, value: Any, meter: Meter, sizes: Mapping[int, int] | None) -> None:
        self.key = (id(schema), id(value))
        self.times = 1
        self.meetings: Iterator[tuple[Any, Any]] = iter(())
        self.count = 1
        if isinstance(schema, dict):
            meter.readable(schema)
            self.times = 1 if _AGAIN.isdisjoint(schema) else 2
            self.meetings = _meetings(schema, value, meter)
            self.count = (
                _weight(schema) + (len(value) // _CHARS if isinstance(value, str) else 0) if sizes is None
                else _ERROR + (len(schema) + len(_list(schema.get("required")))) * sizes.get(id(value), _NODE)
            )  # fmt: skip


def _leads_away(schema_id: Any) -> TypeGuard[str]:
    """Whether an id changes where references lead: one of a fragment alone names a place."""
    return isinstance(schema_id, str) and not schema_id.startswith("#")


def _id_keyword(schema: Mapping[str, Any]) -> str:
    return "id" if _ID_OF_DRAFT_4 in str(schema.get("$schema")) else "$id"


def _refers_alone(schema: Mapping[str, Any]) -> bool:
    return any(draft in str(schema.get("$schema")) for draft in _REFERS_ALONE)


def _meetings(schema: dict[str, Any], value: Any, meter: Meter) -> Iterator[tuple[Any, Any]]:
    if "$ref" in schema:
        yield meter.target(schema["$ref"], schema), value
    for name in _ALL_OF:
        for each in _list(schema.get(name)):
            yield each, value
    for name in _ONE_OF:
        if name in schema:
            yield schema[name], value
    for name in _OF_PROPERTY:
        for each in _dict(schema.get(name)).values():
            yield each, value
    if isinstance(value, dict):
        yield from _of_members(schema, value)
    elif isinstance(value, list):
        yield from _of_entries(schema, value)


def _of_members(schema: dict[str, Any], value: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    named = _dict(schema.get("properties"))
    for name in named.keys() & value.keys():
        yield named[name], value[name]
    patterns = _dict(schema.get("patternProperties")).values()
    each_member = [*patterns, *(schema[keyword] for keyword in _EACH_MEMBER if keyword in schema)]
    for name, part in value.items():
        for each in each_member:
            yield each, part
        if "propertyNames" in schema:
            yield schema["propertyNames"], name


def _of_entries(schema: dict[str, Any], value: list[Any]) -> Iterator[tuple[Any, Any]]:
    for keyword in _BY_PLACE:
        yield from zip(_list(schema.get(keyword)), value, strict=False)
    each_entry = [schema[name] for name in _EACH_ENTRY if name in schema and not isinstance(schema[name], list)]
    for part in value:
        for each in each_entry:
            yield each, part


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            yield each
            left += each.values()
        elif isinstance(each, list):
            left += each


def _weight(schema: dict[str, Any]) -> int:
    return 1 + sum(len(_list(schema.get(name))) for name in _LISTS)


def _size(value: Any) -> int:
    """The value and all within it, names of members included, long texts for more than one."""
    size = 0
    left = [value]
    while left:
        each = left.pop()
        size += 1
        if isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list):
            left += each
        elif isinstance(each, str):
            size += len(each) // _CHARS
    return size


def _sizes(value: Any) -> dict[int, int]:
    """Of the value and of all within it, by identity: characters to quote, with what is around each."""
    order = []
    left = [value]
    while left:
        order.append(each := left.pop())
        left += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
    sizes: dict[int, int] = {}
    for each in reversed(order):
        if isinstance(each, dict):
            sizes[id(each)] = _NODE + sum(_NODE + len(name) + sizes[id(part)] for name, part in each.items())
        elif isinstance(each, list):
            sizes[id(each)] = _NODE + sum(sizes[id(part)] for part in each)
        else:
            sizes[id(each)] = _NODE + (len(each) if isinstance(each, str) else 0)
    return sizes


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _dict(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
