"""A form for a subject, made from its JSON Schema; and what was filled in, put back into the subject.

Without a schema the form has what the subject has. What a form has no control for is edited as JSON, that field alone
or the whole. A field that is sent back as it was shown leaves its value as it was, to the last digit and line break.
Whether the result satisfies the schema is not judged here: deciding does that.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from actors.errors import FormSchemaError
from actors.reviews.forms.paths import EACH, has, put, value_at, written
from actors.reviews.forms.schema import SchemaField, read_schema

WHOLE = "json"
_PREFIX = "f"
_LONG = 80
_LONG_NAMES = frozenset(
    {"prompt", "negative_prompt", "description", "text", "message", "content", "body", "system", "output"}
)

Control = Literal["line", "text", "number", "choice", "lines", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One control. `shown` is what stands in it; `choices` are (sent, words)."""

    path: tuple[str | int, ...]
    label: str
    control: Control
    shown: str
    hint: str = ""
    required: bool = False
    whole_numbers: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    fault: str = ""

    @property
    def name(self) -> str:
        return f"{_PREFIX}{written(self.path)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Controls of one object within the subject."""

    title: str
    parts: tuple[Entry | Group, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaForm:
    """`parts` are the controls, none where the schema is no form's; `json` is the whole subject.

    `faults`, by path, are those that no control is for.
    """

    parts: tuple[Entry | Group, ...] = ()
    json: str = ""
    faults: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> list[str]:
        """The subject's members, in the order of their controls."""
        return list(dict.fromkeys(str(entry.path[0]) for entry in self.entries()))

    def entries(self) -> Iterator[Entry]:
        """All controls, in order."""
        yield from _entries(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The one control of a form that asks for nothing but a choice among what is shown: what it sends, by key."""

    name: str
    sent: Mapping[str, str]


def form_of(subject: dict[str, Any], schema: dict[str, Any] | None) -> SchemaForm:
    """The form, filled with the subject."""
    whole = _written(subject)
    try:
        fields = read_schema(schema, subject).fields
        known = {part.name for part in fields}
        more = {name: value for name, value in subject.items() if name not in known}
        fields += read_schema(None, more).fields if more else ()
    except FormSchemaError:
        return SchemaForm(json=whole)
    return SchemaForm(parts=tuple(_part(each, subject) for each in _ordered(fields)), json=whole)


def filled(form: SchemaForm, sent: Mapping[str, str], subject: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The subject as the form sends it, and what cannot be read of it: by path, in words.

    Where the whole was changed as JSON, that counts and no single field.
    """
    written_whole = _even(sent.get(WHOLE, ""))
    if written_whole.strip() and written_whole != _even(form.json):
        try:
            value = orjson.loads(written_whole)
        except orjson.JSONDecodeError as error:
            return subject, {"$": f"is no JSON: {error}"}
        return (value, {}) if isinstance(value, dict) else (subject, {"$": "must be a JSON object"})
    made = copy.deepcopy(subject)
    faults: dict[str, str] = {}
    for entry in form.entries():
        raw = sent.get(entry.name)
        if raw is None or _even(raw) == _even(entry.shown):
            continue
        try:
            if raw.strip() == "" and (entry.control not in ("line", "text", "lines") or not has(made, entry.path)):
                _remove(made, entry.path)
            else:
                put(made, entry.path, _read(entry, raw))
        except ValueError as error:
            faults[written(entry.path)] = str(error)
    return made, faults


def refilled(form: SchemaForm, sent: Mapping[str, str], faults: Mapping[str, str]) -> SchemaForm:
    """The form as it was sent, each fault at its control, or at the nearest one around it."""
    left = dict(faults)

    def again(part: Entry | Group) -> Entry | Group:
        if isinstance(part, Group):
            return replace(part, parts=tuple(again(each) for each in part.parts))
        here = written(part.path)
        own = [path for path in left if path == here or path.startswith((f"{here}.", f"{here}["))]
        said = "; ".join(left.pop(path) for path in own)
        return replace(part, shown=sent.get(part.name, part.shown), fault=said)

    parts = tuple(again(each) for each in form.parts)
    return SchemaForm(parts=parts, json=sent.get(WHOLE, form.json), faults=tuple(left.items()))


def pick_among(form: SchemaForm, keys: Iterable[str]) -> Pick | None:
    """What the form sends for those of `keys` that it takes; `None` where it asks for anything else, or takes none."""
    entries = list(form.entries())
    if len(entries) != 1 or entries[0].control != "choice":
        return None
    taken = {sent for sent, _ in entries[0].choices}
    sent = {key: _plain(key) for key in keys if _plain(key) in taken}
    return Pick(name=entries[0].name, sent=sent) if sent else None


def _entries(parts: Sequence[Entry | Group]) -> Iterator[Entry]:
    for part in parts:
        if isinstance(part, Group):
            yield from _entries(part.parts)
        else:
            yield part


def _ordered(fields: Sequence[SchemaField]) -> list[SchemaField]:
    """As their schema orders them, and the needed ones first: the database keeps no order of names."""
    return sorted(fields, key=lambda each: (each.order, not each.required))


def _part(found: SchemaField, subject: dict[str, Any]) -> Entry | Group:
    value = value_at(subject, found.path)
    lists = any(EACH in child.path for child in found.children)
    if found.children and not lists and (value is None or isinstance(value, dict)):
        return Group(
            title=found.title or found.name, parts=tuple(_part(child, subject) for child in _ordered(found.children))
        )
    control, shown = _control(found, value)
    hint = found.description if len(found.description) <= 300 else found.description[:299] + "…"
    if control == "lines":
        hint = f"{hint} One a line.".strip()
    elif control == "json":
        hint = f"{hint} As JSON.".strip()
    return Entry(
        path=found.path, label=found.title or found.name, control=control, shown=shown, hint=hint,
        required=found.needed, whole_numbers=found.types == ("integer",),
        choices=_choices(found, value, shown) if control == "choice" else (),
    )  # fmt: skip


def _choices(found: SchemaField, value: Any, shown: str) -> tuple[tuple[str, str], ...]:
    """What the schema takes; before it what is there although it is none of the choices, for a field that is left alone
    stays as it is, and nothing, where it may be left out or is not there yet.
    """
    words = {True: "yes", False: "no", None: "none"}
    choices = [
        (_plain(each), words[each] if isinstance(each, bool | None) else str(each))
        for each in found.choices or (True, False)
    ]
    if shown and shown not in {sent for sent, _ in choices}:
        choices.insert(0, (shown, "–" if value == "" else f"{value} (none of the choices)"))
    if not shown or not found.required:
        choices.insert(0, ("", "–" if not shown or value != "" else "– (left out)"))
    return tuple(choices)


def _control(found: SchemaField, value: Any) -> tuple[Control, str]:
    """The control that can hold both what the schema takes and what is there, and what it shows."""
    types = set(found.types) - {"null"}
    if found.choices and not found.many and (value in found.choices or not isinstance(value, dict | list)):
        return "choice", "" if value is None else _plain(value)
    if found.many:
        plain = value is None or (
            isinstance(value, list) and all(isinstance(each, str) and each and "\n" not in each for each in value)
        )
        if types == {"string"} and plain:
            return "lines", "\n".join(value or [])
    elif types == {"boolean"} and (value is None or isinstance(value, bool)):
        return "choice", "" if value is None else _plain(value)
    elif (
        types
        and types <= {"number", "integer"}
        and (value is None or (isinstance(value, int | float) and not isinstance(value, bool)))
    ):
        return "number", "" if value is None else _plain(value)
    elif types == {"string"} and (value is None or isinstance(value, str)):
        text = value or ""
        long = "\n" in text or len(text) > _LONG or found.name.lower() in _LONG_NAMES
        return ("text" if long else "line"), text
    return "json", "" if value is None else _written(value)


def _read(entry: Entry, raw: str) -> Any:
    text = _even(raw)
    match entry.control:
        case "line" | "text":
            return text
        case "lines":
            return [line.strip() for line in text.split("\n") if line.strip()]
        case "number":
            try:
                value = orjson.loads(text.strip())
            except orjson.JSONDecodeError:
                value = None
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError("is no number")  # noqa: TRY004  # of what was typed
            return value
        case "choice":
            if text not in {sent for sent, _ in entry.choices}:
                raise ValueError("is none of the choices")
            return orjson.loads(text)
        case "json":
            try:
                return orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"is no JSON: {error}") from None


def _remove(document: dict[str, Any], path: tuple[str | int, ...]) -> None:
    holder = value_at(document, path[:-1]) if path[:-1] else document
    if isinstance(holder, dict):
        holder.pop(str(path[-1]), None)


def _even(text: str) -> str:
    """Browsers send line breaks as CR LF, whatever was in the field."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _plain(value: Any) -> str:
    return orjson.dumps(value).decode()


def _written(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
