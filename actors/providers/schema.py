"""A payload's `input` against the model's JSON Schema: issues that a person can act on, and plain repairs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jsonschema
import jsonschema.protocols
import referencing

from actors.agents.schema_work import Meter, UnboundedError
from actors.agents.structured import MOST_UNFOLDED
from actors.providers.files import Path, at, is_ours, removed, replaced
from actors.providers.models import Issue, Payload
from storage.errors import AddressRefusedError, BadReferenceError

# A schema comes from a provider: nothing in it makes us fetch anything.
_NO_REGISTRY: referencing.Registry[Any] = referencing.Registry()
_MOST_ISSUES = 50
# Evaluations, each of some ten microseconds during which nothing else is done here.
MOST_WORK = 100_000
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]")


def path_text(path: Iterable[str | int]) -> str:
    """A path within `Payload.input` as JSONPath, such as `$.input.images[0]`."""
    written = "$.input"
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            written += f".{part}"
        else:
            written += "['" + part.replace("\\", "\\\\").replace("'", "\\'") + "']"
    return written


def path_of(written: str) -> Path | None:
    """The path that `path_text` wrote; `None` for another."""
    if not written.startswith("$.input"):
        return None
    parts: list[str | int] = []
    rest = written[len("$.input") :]
    while rest:
        step = _STEP.match(rest)
        if step is None:
            return None
        name, index, quoted = step.groups()
        parts.append(name or (int(index) if index else re.sub(r"\\(.)", r"\1", quoted)))
        rest = rest[step.end() :]
    return tuple(parts)


def repaired(payload: Payload, issues: Iterable[Issue]) -> Payload:
    """The payload with every auto-fixable issue's value put in its place."""
    value: Any = payload.input
    for issue in issues:
        path = path_of(issue.field)
        if issue.auto_fixable and path:
            value = removed(value, path) if issue.remove else replaced(value, path, issue.value)
    return payload.model_copy(update={"input": value})


def fault_of(schema: Mapping[str, Any]) -> str | None:
    """Why nothing can be held against this schema; `None` where it is one."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"{error.json_path}: {error.message}"[:300]
    try:
        Meter(schema).unfold(MOST_UNFOLDED)
    except UnboundedError:
        return f"it refers to itself in a circle, or to more than the limit of {MOST_UNFOLDED:,} schemas for one value"
    except ValueError as error:
        return f"it {error}"
    return None


def too_much(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Why the value is not held against this schema, which would hold up everybody else; `None` where it may be."""
    try:
        Meter(schema, has_parts=True).work(value, MOST_WORK)
    except UnboundedError:
        return f"to check it takes more than the limit of {MOST_WORK:,} evaluations of the model's schema"
    except ValueError as error:
        return f"it cannot be checked against the model's schema, which {error}"
    return None


def issues(value: Mapping[str, Any], schema: Mapping[str, Any], *, known: Collection[str] = ()) -> list[Issue]:
    """What of the schema `value` does not satisfy, in the order of the value. `known` are further fields that may stand
    beside those of the schema. What is `too_much` is one issue that says so.
    """
    if (reason := too_much(value, schema)) is not None:
        return [_issue("$.input", reason, "give less, or take another model")]
    validator: jsonschema.protocols.Validator = jsonschema.Draft202012Validator(schema, registry=_NO_REGISTRY)
    found: list[Issue] = []
    for error in validator.iter_errors(value):
        found.extend(_explained(error, known))
        if len(found) >= _MOST_ISSUES:
            break
    found.extend(_file_issues(value, schema))
    return found[:_MOST_ISSUES]


def file_paths(value: Any, schema: Any) -> list[Path]:
    """Where `value` holds files: strings whose schema says `format: uri`, alone or in lists, however deep."""
    found: list[Path] = []
    if not isinstance(schema, Mapping):  # true and false are schemas, too
        return found
    if isinstance(value, str) and takes_file(schema):
        found.append(())
    if isinstance(value, Mapping):
        fields = schema.get("properties") or {}
        for key, each in value.items():
            found.extend((key, *path) for path in file_paths(each, fields.get(key) or {}))
    if isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        for index, each in enumerate(value):
            found.extend((index, *path) for path in file_paths(each, items))
    for branch in (*(schema.get("anyOf") or ()), *(schema.get("oneOf") or ())):
        found.extend(file_paths(value, branch))
    return list(dict.fromkeys(found))


def takes_file(schema: Mapping[str, Any]) -> bool:
    return schema.get("format") == "uri"


def _file_issues(value: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Issue]:
    found = []
    for path in file_paths(value, schema):
        ref = at(value, path)
        try:
            ours = is_ours(ref)
        except (BadReferenceError, AddressRefusedError) as error:
            found.append(
                Issue(
                    field=path_text(path),
                    severity="error",
                    message=error.message,
                    fix="give an https URL, or attach the file",
                )
            )
            continue
        if not ours and ref.startswith("http://"):
            found.append(
                Issue(
                    field=path_text(path),
                    severity="warning",
                    message="the file's address is not encrypted; the provider may refuse it",
                    fix="give its https URL",
                )
            )
    return found


def _explained(error: jsonschema.ValidationError, known: Collection[str]) -> list[Issue]:
    path = tuple(error.absolute_path)
    field = path_text(path)
    limit: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    match error.validator:
        case "required":
            fields = schema.get("properties") or {}
            # One error a field; the others have their own.
            missing = [name for name in limit if f"{name!r} is a required" in error.message]
            return [_missing((*path, name), fields.get(name) or {}) for name in missing]
        case "additionalProperties":
            allowed = list(schema.get("properties") or {})
            extra = [name for name in instance if name not in allowed and (path or name not in known)]
            return [_unknown((*path, name), [*allowed, *(() if path else known)]) for name in extra]
        case "type":
            return [_wrong_type(field, error, [limit] if isinstance(limit, str) else list(limit))]
        case "enum" | "const":
            choices = limit if error.validator == "enum" else [limit]
            return [_no_choice(field, error.instance, choices)]
        case "minimum" | "maximum":
            words = "less" if error.validator == "minimum" else "more"
            said = f"{error.instance} is {words} than {limit}"
            return [_issue(field, said, f"use {limit}", value=limit)]
        case "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf":
            return [_issue(field, error.message[:300], f"{error.validator} is {limit}")]
        case "minLength" | "minItems" | "maxLength" | "maxItems":
            return [_issue(field, f"its length is {len(instance)}", f"{error.validator} is {limit}")]
        case _:
            return [_issue(field, error.message[:300], "correct the value")]


def _issue(field: str, message: str, fix: str, **repair: Any) -> Issue:
    return Issue(field=field, severity="error", message=message, fix=fix, auto_fixable=bool(repair), **repair)


def _missing(path: Path, schema: Mapping[str, Any]) -> Issue:
    name = path[-1]
    about = str(schema.get("description") or schema.get("title") or name)[:200]
    if "default" in schema:
        return _issue(
            path_text(path), f"{name} is missing", f"use its default {schema['default']!r}", value=schema["default"]
        )
    return _issue(path_text(path), f"{name} is missing", f"give {name}: {about}")


def _unknown(path: Path, allowed: list[str]) -> Issue:
    name = str(path[-1])
    near = difflib.get_close_matches(name, allowed, n=1)
    fix = f"remove it; did you mean {near[0]}?" if near else "remove it"
    return _issue(path_text(path), f"the model has no field {name[:100]!r}", fix, remove=True)


def _wrong_type(field: str, error: jsonschema.ValidationError, types: list[str]) -> Issue:
    wanted = " or ".join(each for each in types if each != "null")
    said = f"a {_type_name(error.instance)} stands where {wanted} is wanted"
    if error.instance is None:
        return _issue(field, said, "leave it out", remove=True)
    for each in types:
        made, value = _converted(error.instance, each)
        if made and not _violates(value, error.schema):
            return _issue(field, said, f"use {value!r}"[:200], value=value)
    return _issue(field, said, f"give {wanted}")


def _violates(value: Any, schema: Any) -> bool:
    return next(jsonschema.Draft202012Validator(schema, registry=_NO_REGISTRY).iter_errors(value), None) is not None


def _converted(value: Any, wanted: str) -> tuple[bool, Any]:
    """(whether it can be, the value as `wanted`) where that changes nothing in what is meant."""
    match value, wanted:
        case str(), "integer" if re.fullmatch(r"[+-]?\d{1,18}", value.strip()):
            return True, int(value)
        case str(), "number" if re.fullmatch(r"[+-]?\d{1,18}(\.\d{1,18})?", value.strip()):
            return True, float(value)
        case str(), "boolean" if value.strip().lower() in {"true", "false"}:
            return True, value.strip().lower() == "true"
        case (bool(), _) if wanted != "array":
            return False, None
        case float(), "integer" if value.is_integer():
            return True, int(value)
        case (int() | float(), "string"):
            return True, str(value)
        case _, "array" if not isinstance(value, list | dict):
            return True, [value]
        case list(), _ if len(value) == 1 and _type_name(value[0]) == wanted:
            return True, value[0]
    return False, None


def _no_choice(field: str, value: Any, choices: list[Any]) -> Issue:
    written = ", ".join(str(each) for each in choices[:20])
    folded = {str(each).casefold(): each for each in choices}
    near = difflib.get_close_matches(str(value).casefold(), folded, n=1, cutoff=0.8)
    said = f"{str(value)[:100]!r} is none of {written}"[:500]
    if near:
        return _issue(field, said, f"use {folded[near[0]]}", value=folded[near[0]])
    return _issue(field, said, f"use one of {written}"[:500])


def _type_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"
