"""Rows as PostgreSQL's binary protocol takes them in bulk: one array parameter per column.

A value is encoded once, by whoever writes the row; a batch only joins bytes. Formats: the `…recv` functions of
PostgreSQL's `src/backend/utils/adt`, arrays as in `array_recv`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any
from uuid import UUID

import orjson
from psycopg.types.json import Json, Jsonb

Encoder = Callable[[Any], bytes]

NULL = b"\xff\xff\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_length = Struct(">i").pack
_array_header = Struct(">iiIii").pack
_short = Struct(">ih").pack
_integer = Struct(">ii").pack
_long = Struct(">iq").pack
_double = Struct(">id").pack


class Cells(tuple[bytes, ...]):
    """A row whose values are encoded already."""

    __slots__ = ()


def data(value: bytes) -> bytes:
    return _length(len(value)) + value


def text(value: str) -> bytes:
    encoded = value.encode()
    return _length(len(encoded)) + encoded


def integer(value: int) -> bytes:
    return _integer(4, value)


def jsonb(value: Any) -> bytes:
    """Takes what psycopg takes (`Jsonb`, `Json`), plain values, and bytes that are JSON already."""
    if not isinstance(value, bytes):
        dumps: Callable[[Any], str | bytes] = orjson.dumps
        if isinstance(value, Jsonb | Json):
            value, dumps = value.obj, value.dumps or dumps
        dumped = dumps(value)
        value = dumped.encode() if isinstance(dumped, str) else dumped
    encoded: bytes = value
    return _length(len(encoded) + 1) + b"\x01" + encoded


def _timestamptz(value: datetime) -> bytes:
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return _long(8, (value - _EPOCH) // _MICROSECOND)


def _uuid(value: UUID | str) -> bytes:
    return _length(16) + (value if isinstance(value, UUID) else UUID(value)).bytes


# Type name as it stands in a cast: its object id (pg_type.dat) and encoder.
_TYPES: dict[str, tuple[int, Encoder]] = {
    "text": (25, text),
    "bytea": (17, data),
    "jsonb": (3802, jsonb),
    "uuid": (2950, _uuid),
    "timestamptz": (1184, _timestamptz),
    "bool": (16, lambda value: _length(1) + (b"\x01" if value else b"\x00")),
    "int2": (21, lambda value: _short(2, value)),
    "int4": (23, integer),
    "int8": (20, lambda value: _long(8, value)),
    "float8": (701, lambda value: _double(8, value)),
}
_ALIASES = {
    "boolean": "bool", "smallint": "int2", "integer": "int4", "bigint": "int8", "double precision": "float8",
    "timestamp with time zone": "timestamptz",
}  # fmt: skip


def encoders(types: Sequence[str]) -> tuple[Encoder, ...]:
    """One per column. Raises `ValueError` for a type that has none here."""
    return tuple(_type(name)[1] for name in types)


def oids(types: Sequence[str]) -> tuple[int, ...]:
    return tuple(_type(name)[0] for name in types)


def _type(name: str) -> tuple[int, Encoder]:
    found = _TYPES.get(_ALIASES.get(name, name))
    if found is None:
        raise ValueError(f"no binary encoding for the type {name!r}; there are {', '.join(sorted(_TYPES))}")
    return found


def row(encoders_: Sequence[Encoder], values: Iterable[Any]) -> Cells:
    """The values, each by its column's encoder, None as NULL."""
    return Cells(
        NULL if value is None else encode(value) for encode, value in zip(encoders_, values, strict=True)
    )  # fmt: skip


def array(oid: int, cells: Sequence[bytes]) -> bytes:
    """These cells of one column as a one-dimensional array."""
    return _array_header(1, 1, oid, len(cells), 1) + b"".join(cells)


def text_array(values: Sequence[str]) -> bytes:
    return array(25, [text(value) for value in values])
