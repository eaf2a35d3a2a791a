"""What public models take, written down as facts, and how well rules alone classify and map it.

`model_schemas/*.toml` holds the models; `images.toml` says how a line is written. Half of them, chosen by the hash of their
names, are held out: their misses were not looked at when words and rules were changed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.providers.models import Attachment
from actors.reviews.forms.attachments import placed
from actors.reviews.forms.classifier import classify
from actors.reviews.forms.models import FieldClass, FileKind
from actors.reviews.forms.schema import read_schema

SCHEMAS = Path(__file__).parent / "model_schemas"
_LINE = re.compile(
    r"(?P<path>\S+) (?P<type>[a-z]+)(?P<many>\[\])?(?P<required>!)? (?P<class>[A-Z]+)(?::(?P<file>[a-z]+))?"
    r"(?: = (?P<default>[^~]+?))?(?: ~ (?P<about>.+))?"
)
_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "file": {"type": "string", "format": "uri"},
    "number": {"type": "number"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "object": {"type": "object"},
    "choice": {"enum": ["one", "another"]},
    "any": {},
}


@dataclass(frozen=True, slots=True)
class FieldFact:
    """A field as its author wrote it (`schema`), and what a person says of it."""

    path: str
    schema: dict[str, Any]
    required: bool
    field_class: FieldClass
    takes_file: FileKind | None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    name: str
    source: str
    fields: tuple[FieldFact, ...]
    files: tuple[tuple[tuple[str, str | None], ...], ...]

    @property
    def held_out(self) -> bool:
        return hashlib.sha256(self.name.encode()).digest()[0] % 2 == 1

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the model's input; `a[].b` is a field of each entry of the list `a`."""
        top: dict[str, Any] = {"type": "object", "properties": {}}
        for each in self.fields:
            at = top
            *parents, name = each.path.split(".")
            for parent in parents:
                at = _within(at, parent)
            at["properties"][name] = each.schema
            if each.required:
                at.setdefault("required", []).append(name)
                # A part that must be there makes its whole one that must.
                for above, below in itertools.pairwise([top, *_chain(top, parents)]):
                    above.setdefault("required", [])
                    whole = next(key for key, value in above["properties"].items() if _inner(value) is below)
                    if whole not in above["required"]:
                        above["required"].append(whole)
        return top


def _within(at: dict[str, Any], parent: str) -> dict[str, Any]:
    name = parent.removesuffix("[]")
    made: dict[str, Any] = {"type": "object", "properties": {}}
    if parent.endswith("[]"):
        made = {"type": "array", "items": made}
    return _inner(at["properties"].setdefault(name, made))


def _inner(schema: dict[str, Any]) -> dict[str, Any]:
    inner: dict[str, Any] = schema.get("items", schema)
    return inner


def _chain(top: dict[str, Any], parents: list[str]) -> Iterator[dict[str, Any]]:
    at = top
    for parent in parents:
        at = _within(at, parent)
        yield at


def models() -> tuple[ModelFacts, ...]:
    """Every model that is written down, in the order of the files."""
    read = (tomllib.loads(path.read_text()) for path in sorted(SCHEMAS.glob("*.toml")))
    return tuple(_model(entry) for document in read for entry in document["models"])


def _model(entry: dict[str, Any]) -> ModelFacts:
    files = tuple(_case(line) for line in entry["files"].splitlines() if line.strip())
    return ModelFacts(entry["name"], entry["source"], tuple(_fields(entry)), files)


def _fields(entry: dict[str, Any]) -> Iterable[FieldFact]:
    for line in entry["fields"].strip().splitlines():
        parts = _LINE.fullmatch(line.strip())
        assert parts is not None, f"{entry['name']}: not a field: {line!r}"
        schema = json.loads(json.dumps(_TYPES[parts["type"]]))
        if parts["many"]:
            schema = {"type": "array", "items": schema}
        if parts["default"]:
            schema["default"] = json.loads(parts["default"])
            if parts["type"] == "choice" and not parts["many"]:
                schema["enum"][0] = schema["default"]
        if parts["about"]:
            schema["description"] = parts["about"]
        takes: Any = parts["file"]
        yield FieldFact(parts["path"], schema, bool(parts["required"]), FieldClass(parts["class"]), takes)


def _case(line: str) -> tuple[tuple[str, str | None], ...]:
    names, fields = ([part.strip() for part in side.split(",")] for side in line.split("->"))
    return tuple((name, None if where == "-" else where) for name, where in zip(names, fields, strict=True))


@dataclass(slots=True)
class Accuracy:
    """Counts over some models. `confusion` is (what a person says, what the rules say); `misses` say each in words."""

    models: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    files: Counter[bool] = field(default_factory=Counter)
    mapped: Counter[bool] = field(default_factory=Counter)
    misses: list[str] = field(default_factory=list)

    @property
    def fields(self) -> int:
        return sum(self.confusion.values())

    @property
    def classes(self) -> float:
        return sum(count for (said, found), count in self.confusion.items() if said == found) / self.fields

    def of_class(self, name: str) -> tuple[int, int]:
        """(rightly found, all) of the fields that a person says are of this class."""
        every = {pair: count for pair, count in self.confusion.items() if pair[0] == name}
        return every.get((name, name), 0), sum(every.values())


def measured(chosen: Iterable[ModelFacts]) -> Accuracy:
    """Classes, kinds of files and places of attachments, by rule alone, against what a person says."""
    made = Accuracy()
    for model in chosen:
        made.models += 1
        schema = model.schema()
        classification = classify(schema)
        found = {each.path: each for each in classification.fields}
        for fact in model.fields:
            each = found["$." + fact.path.replace("[]", "[*]")]
            made.confusion[fact.field_class.value, each.field_class.value] += 1
            if each.field_class is not fact.field_class:
                made.misses.append(
                    f"{model.name}: {fact.path} is {fact.field_class}, found {each.field_class}: {each.reason}"
                )
            made.files[each.takes_file == fact.takes_file] += 1
            if each.takes_file != fact.takes_file:
                made.misses.append(
                    f"{model.name}: {fact.path} takes {fact.takes_file or 'no'} file, found {each.takes_file or 'none'}"
                )
        for case in model.files:
            attached = tuple(Attachment(ref=f"https://files.walrus.site/{name}", name=name) for name, _ in case)
            mapping = placed(read_schema(schema), classification, attached)
            places = {each.index: each.path for each in mapping.placed}
            for index, (name, where) in enumerate(case):
                expected = None if where is None else "$." + where.replace("[]", "[*]")
                made.mapped[places.get(index) == expected] += 1
                if places.get(index) != expected:
                    together = ", ".join(one for one, _ in case)
                    made.misses.append(
                        f"{model.name}: {name} (of {together}) belongs in {expected}, is in {places.get(index)}"
                    )
    return made
