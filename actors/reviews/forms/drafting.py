"""A payload on its way: parameters where the schema has them, files in their fields, defaults of settings."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from actors.reviews.forms.models import (
    ClassifiedField,
    FieldClass,
    FilledField,
    FormRequest,
    Mapping,
    Origin,
    Placement,
    Unplaced,
)
from actors.reviews.forms.paths import EACH, Path, has, put, value_at, written
from actors.reviews.forms.placeholders import is_placeholder
from actors.reviews.forms.schema import FormSchema, SchemaField
from actors.reviews.forms.validating import Held, UnusableSchemaError

EMPTY: tuple[Any, ...] = (None, "", [], {})


@dataclass(slots=True)
class Draft:
    """A payload while it is filled. `origins` says of each path where its value comes from; `held` are the schemas of
    fields that values were held against, `None` for one that cannot be applied.
    """

    payload: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    prompt_placed: bool = False
    held: dict[str, Held | None] = field(default_factory=dict)

    def refuses(self, value: Any, each: SchemaField) -> bool:
        """Whether the field does not take the value."""
        try:
            if each.key not in self.held:
                self.held[each.key] = None
                self.held[each.key] = Held(each.schema)
            held = self.held[each.key]
            if held is not None:
                return not held.takes(value)
        except UnusableSchemaError:
            pass
        # Nothing can be held against it: only a value of a stated type passes.
        return bool(each.types) and not (isinstance(value, str) and "string" in each.types)

    def put(self, path: Path, value: Any, origin: Origin) -> bool:
        """Whether the value has found its place; nothing is overwritten but what stands at the very path."""
        try:
            put(self.payload, path, copy.deepcopy(value))
        except ValueError as error:
            self.notes.append(f"{written(path)}: {error}")
            return False
        self.origins[path] = origin
        return True

    def filled(self) -> tuple[FilledField, ...]:
        return tuple(
            FilledField(path=written(path), value=value_at(self.payload, path), origin=origin)
            for path, origin in self.origins.items()
        )


def begun(schema: FormSchema, request: FormRequest) -> Draft:
    """The parameters, each where the schema has its field: by its place, else by its name where only one has it."""
    draft = Draft()
    everywhere: dict[str, list[SchemaField]] = {}
    for each in schema.walk():
        if EACH not in each.path:
            everywhere.setdefault(each.name, []).append(each)
    _parameters(draft, request.parameters, schema.fields, (), everywhere)
    return draft


def _parameters(
    draft: Draft,
    given: dict[str, Any],
    fields: tuple[SchemaField, ...],
    path: Path,
    everywhere: dict[str, list[SchemaField]],
) -> None:
    here = {each.name: each for each in fields}
    for name, value in given.items():
        each = here.get(name)
        if each is None:
            # `temperature` for a model that wants `parameters.temperature`, or the other way round.
            same = everywhere.get(name, [])
            each = same[0] if len(same) == 1 and not has(draft.payload, same[0].path) else None
        if each is None:
            draft.unknown.append(written((*path, str(name))))
        elif value is None and not each.nullable:
            continue  # left out, as if it had not been written
        elif each.children and EACH not in each.children[0].path and isinstance(value, dict) and value:
            _parameters(draft, value, each.children, each.path, everywhere)
        else:
            draft.put(each.path, value, "parameter")


def attach(draft: Draft, schema: FormSchema, mapping: Mapping) -> Mapping:
    """Put each placed attachment into its field; placeholders give way, other values stay.

    The mapping as it then is: where a parameter of the wrong shape stands in the way, the file is unplaced.
    """
    by_key = {each.key: each for each in schema.leaves()}
    placed: list[Placement] = []
    blocked: list[Unplaced] = []
    for placement in mapping.placed:
        if placement.tier == "given" or _attached(draft, by_key[placement.path], placement.attachment.ref):
            placed.append(placement)
        else:
            reason = f"a parameter that is not what the schema takes stands in the way at {placement.path}"
            blocked.append(Unplaced(index=placement.index, attachment=placement.attachment, reason=reason))
    return mapping.model_copy(update={"placed": tuple(placed), "unplaced": (*mapping.unplaced, *blocked)})


def _attached(draft: Draft, each: SchemaField, ref: str) -> bool:
    if EACH in each.path:
        return draft.put(_free_entry(draft.payload, each), [ref] if each.many else ref, "attachment")
    if not each.many:
        return draft.put(each.path, ref, "attachment")
    held = value_at(draft.payload, each.path)
    if isinstance(held, str):
        held = [held]
    if held is not None and not isinstance(held, list):
        return False
    kept = [one for one in held or [] if one and not is_placeholder(one)]
    return draft.put(each.path, [*kept, ref], "attachment")


def _free_entry(payload: dict[str, Any], each: SchemaField) -> Path:
    """The field's place in the first entry whose value is a blank, else in a new entry; in outer lists, the first."""
    at = max(index for index, step in enumerate(each.path) if step == EACH)
    before = tuple(0 if step == EACH else step for step in each.path[:at])
    entries = value_at(payload, before)
    entries = entries if isinstance(entries, list) else []
    for number, entry in enumerate(entries):
        held = value_at(entry, each.path[at + 1 :])
        if is_placeholder(held):
            return (*before, number, *each.path[at + 1 :])
    return (*before, len(entries), *each.path[at + 1 :])


def defaults(draft: Draft, fields: tuple[SchemaField, ...], classes: dict[str, ClassifiedField], at: Path = ()) -> None:
    """Defaults of settings, and of HYBRID fields; those of CONTENT fields are examples by another name."""
    for each in fields:
        path = (*at, each.name)
        if each.children and EACH in each.children[0].path:
            entries = value_at(draft.payload, path)
            for number, entry in enumerate(entries if isinstance(entries, list) else []):
                if isinstance(entry, dict):
                    defaults(draft, each.children, classes, (*path, number))
        elif each.children:
            # The parts of an object that nobody began stay away: half of it might be no object of the schema.
            if each.required or has(draft.payload, path):
                defaults(draft, each.children, classes, path)
        elif not has(draft.payload, path):
            _default(draft, each, classes, path)


def _default(draft: Draft, each: SchemaField, classes: dict[str, ClassifiedField], path: Path) -> None:
    classified = classes.get(each.key)
    if classified is None:
        return
    if each.has_default and each.default not in EMPTY and classified.field_class is not FieldClass.CONTENT:
        draft.put(path, each.default, "default")
    elif each.required and len(each.choices) == 1:
        draft.put(path, each.choices[0], "default")
