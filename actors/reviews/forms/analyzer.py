"""What each field of a form gets, and from where: the user's words and parameters, files, defaults, and no example."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from actors.reviews.forms.asking import Asker, Question
from actors.reviews.forms.classifying import file_kind, named, subject
from actors.reviews.forms.drafting import EMPTY, Draft, attach, begun, defaults
from actors.reviews.forms.models import (
    Classification,
    ClassifiedField,
    Fault,
    FieldClass,
    FormRequest,
    Mapping,
    MissingField,
)
from actors.reviews.forms.paths import EACH, found, has
from actors.reviews.forms.placeholders import is_placeholder, is_url
from actors.reviews.forms.schema import FormSchema, SchemaField
from actors.reviews.forms.validating import UnusableSchemaError, faults
from actors.reviews.forms.vocabulary import MAIN_TEXTS
from actors.reviews.forms.words import singular, words

# A line such as "Negative prompt: blurry" or "--seed 42" names a field.
_LABEL = re.compile(r"^\s*(?:[-*]\s+|--)?([A-Za-z][\w -]{1,40}?)\s*[:=]\s*(\S.*?)\s*$")
_FLAG = re.compile(r"^\s*--([A-Za-z][\w-]{1,40})[ =](\S.*?)\s*$")
_MAX_SAID = 40_000

_TASK = """"prompt" and "conversation" are what a user said; "open_fields" are fields that still lack a value of the \
user's. Give a value to each field that the user's words answer, and leave out all others. For a text, use the user's \
own words. Change a field that has a default only if the user names another value for it. Never invent an address \
(URL), and never give a field what it shows as its example."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """A draft judged: what is missing, what the schema does not take, and the share of what is needed that is there."""

    missing: tuple[MissingField, ...]
    faults: tuple[Fault, ...]
    completeness: float
    notes: tuple[str, ...]


class FieldAnalyzerAgent:
    """Fills fields by rule; a model, if there is one, finds in the user's words what the rules do not.

    A model's value is taken where the schema takes it and the user has said it: a text for CONTENT or HYBRID that is no
    example, a setting that stands in the user's words. Settings that nobody named keep their default.
    """

    async def analyze(
        self,
        schema: FormSchema,
        classification: Classification,
        request: FormRequest,
        mapping: Mapping | None = None,
        *,
        asker: Asker | None = None,
    ) -> tuple[Draft, Analysis]:
        asker = asker or Asker()
        draft = begun(schema, request)
        if mapping is not None:
            attach(draft, schema, mapping)
        question = analysis_question(schema, classification, request, draft)
        answer = await asker.answer(question) if question is not None else None
        finish(draft, schema, classification, request, answer)
        return draft, judged(draft, schema, classification)


def analysis_question(
    schema: FormSchema, classification: Classification, request: FormRequest, draft: Draft
) -> Question | None:
    """What a model would be asked; `None` where the user said nothing, or nothing is left to say."""
    if not _said(request).strip():
        return None
    open_fields = [each for each in schema.leaves() if EACH not in each.path and each.path not in draft.origins]
    classes = {each.path: each for each in classification.fields}
    if not any(classes[each.key].field_class is not FieldClass.CONFIG for each in open_fields if each.key in classes):
        # Only settings are left: they keep their defaults, or the user has written a parameter.
        return None
    listed = [
        {"path": each.key, "class": classes[each.key].field_class, "asks": classes[each.key].prompt,
         "type": "list of " + "/".join(each.types) if each.many else "/".join(each.types),
         **({"choices": [str(choice)[:60] for choice in each.choices[:20]]} if each.choices else {})}
        for each in open_fields if each.key in classes
    ]  # fmt: skip
    entry = {
        "type": "object",
        "properties": {"path": {"type": "string"}, "value": {"description": "of the field's type"}},
        "required": ["path", "value"],
        "additionalProperties": False,
    }
    material = {
        "prompt": request.prompt[:_MAX_SAID],
        "conversation": [turn.model_dump() for turn in request.conversation[-20:]],
        "open_fields": listed,
    }
    return Question(_TASK, material, {"values": {"type": "array", "items": entry}})


def finish(
    draft: Draft,
    schema: FormSchema,
    classification: Classification,
    request: FormRequest,
    answer: dict[str, Any] | None = None,
) -> None:
    """The user's words, then what of a model's `answer` holds, then defaults."""
    classes = {each.path: each for each in classification.fields}
    rest = _labelled(draft, schema, classes, request)
    _proposed(draft, schema, classes, request, answer)
    _words(draft, schema, classes, request, rest)
    defaults(draft, schema.fields, classes)


def _labelled(draft: Draft, schema: FormSchema, classes: dict[str, ClassifiedField], request: FormRequest) -> str:
    """The prompt without the lines that name a field and give its value, which goes there."""
    names: dict[str, SchemaField] = {}
    for each in schema.leaves():
        if EACH not in each.path and file_kind(each) is None:
            names.setdefault(" ".join(words(each.name)), each)
    left = []
    main = _main_field(schema, draft, classes)
    for line in request.prompt.splitlines(keepends=True):
        labelled = _FLAG.match(line) or _LABEL.match(line)
        target = names.get(" ".join(words(labelled[1]))) if labelled else None
        if labelled is None or target is None or has(draft.payload, target.path) or target is main:
            left.append(line)
            continue
        for value in _readings(labelled[2], target):
            if not draft.refuses(value, target):
                draft.put(target.path, value, "label")
                break
        else:
            left.append(line)
    return "".join(left).strip()


def _readings(text: str, each: SchemaField) -> list[Any]:
    """The text as values of the field's types."""
    readings: list[Any] = []
    for name in each.types or ("string",):
        if name == "string":
            readings.append(text)
        else:
            try:
                readings.append(orjson.loads(text.lower()))
            except orjson.JSONDecodeError:
                continue
    return [[each_one] for each_one in readings] if each.many else readings


def _proposed(
    draft: Draft,
    schema: FormSchema,
    classes: dict[str, ClassifiedField],
    request: FormRequest,
    answer: dict[str, Any] | None,
) -> None:
    entries = (answer or {}).get("values")
    leaves = {each.key: each for each in schema.leaves() if EACH not in each.path}
    said = _said(request)
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or "value" not in entry or not isinstance(entry.get("path"), str):
            continue
        each, value = leaves.get(entry["path"]), entry["value"]
        if each is None or each.key not in classes or value in EMPTY or has(draft.payload, each.path):
            continue
        reason = _why_not(draft, value, each, classes[each.key].field_class, said)
        if reason:
            draft.notes.append(f"{each.key}: a model's value was not taken: {reason}")
        else:
            draft.put(each.path, value, "llm")


def _why_not(draft: Draft, value: Any, each: SchemaField, found_class: FieldClass, said: str) -> str:
    """Why a model's value cannot be taken; empty where it can."""
    if draft.refuses(value, each):
        return "the schema does not take it"
    texts = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    if any((is_url(text) or is_placeholder(text)) and text not in said for text in texts):
        return "the user gave no such address"
    if file_kind(each) is not None and any(text not in said for text in texts):
        return "the user gave no such file"
    if found_class is FieldClass.CONFIG or not texts:
        named_by_user = all(_is_said(one, said) for one in (value if isinstance(value, list) else [value]))
        return "" if named_by_user else "the user did not name it"
    shown = {_plain(one) for one in _examples(each)}
    if any(_plain(text) in shown and _plain(text) not in _plain(said) for text in texts):
        return "it is the schema's example"
    if each.required and found_class is FieldClass.CONTENT and any(_plain(text) not in _plain(said) for text in texts):
        return "it is not in the user's words"
    return ""


def _examples(each: SchemaField) -> Iterable[str]:
    for value in (*each.examples, each.default):
        yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))


def _is_said(value: Any, said: str) -> bool:
    text = str(value).lower() if not isinstance(value, float) else f"{value:g}"
    return re.search(rf"(?<![\w.]){re.escape(text)}(?![\w]|\.\d)", said.lower()) is not None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _words(
    draft: Draft, schema: FormSchema, classes: dict[str, ClassifiedField], request: FormRequest, rest: str
) -> None:
    """The prompt, whole and as it was written, in the field that is for it; a conversation where a model takes one."""
    turns = _turns_field(schema)
    if turns is not None and not has(draft.payload, turns.path):
        conversation = [{"role": turn.role, "content": turn.text} for turn in request.conversation]
        conversation += [{"role": "user", "content": rest}] if rest else []
        if conversation and not draft.refuses(conversation, turns):
            draft.prompt_placed = draft.put(turns.path, conversation, "conversation")
            return
    last = next((turn.text for turn in reversed(request.conversation) if turn.role == "user"), "")
    text, origin = (rest, "prompt") if rest else (last, "conversation")
    if not text.strip():
        draft.prompt_placed = True  # nothing was left to place
        return
    main = _main_field(schema, draft, classes)
    if main is None:
        draft.prompt_placed = any(draft.origins.get(each.path) in {"parameter", "llm"} for each in _main_fields(schema))
        return
    value: Any = [text] if main.many else text
    draft.prompt_placed = draft.put(main.path, value, origin)  # type: ignore[arg-type]  # one of the two


def _main_fields(schema: FormSchema) -> list[SchemaField]:
    """The fields for texts that a work can be about, the likeliest first."""

    def rank(each: SchemaField) -> tuple[int, int, bool, int]:
        name = [singular(word) for word in subject(named(each))]
        head = name[-1]
        known = MAIN_TEXTS.index(head) if head in MAIN_TEXTS else len(MAIN_TEXTS)
        # `prompt` before `text_prompt`; `prompt` before `prompt_2`, which follows it.
        return known, len(named(each)), not each.needed, order[each.key]

    order = {each.key: place for place, each in enumerate(schema.leaves())}
    from_words = [
        each
        for each in schema.leaves()
        if EACH not in each.path and not each.choices and (not each.types or "string" in each.types)
    ]
    return sorted(from_words, key=rank)


def _main_field(schema: FormSchema, draft: Draft, classes: dict[str, ClassifiedField]) -> SchemaField | None:
    """The field for the prompt; none where the user has filled it by a parameter."""
    candidates = [
        each
        for each in _main_fields(schema)
        if _is_content(classes, each) and not any(is_url(value) for value in each.examples)
    ]  # fmt: skip
    if not candidates:
        return None
    best = candidates[0]
    return None if draft.origins.get(best.path) not in {None, "prompt", "conversation"} else best


def _turns_field(schema: FormSchema) -> SchemaField | None:
    """A list of turns with a role and words, as chat models take."""
    for each in schema.walk():
        parts = {child.name for child in each.children}
        if EACH not in each.path and each.children and EACH in each.children[0].path and {"role", "content"} <= parts:
            return each
    return None


def judged(draft: Draft, schema: FormSchema, classification: Classification) -> Analysis:
    """What the draft lacks. Needed are required fields and, where nothing is required, the one the prompt is for."""
    classes = {each.path: each for each in classification.fields}
    needed = [each for each in schema.leaves() if each.needed and not (each.nullable and has(draft.payload, each.path))]
    main = next((each for each in _main_fields(schema) if _is_content(classes, each)), None)
    if main is not None and main not in needed and not any(_is_content(classes, each) for each in needed):
        files = [each for each in schema.leaves() if classes.get(each.key) and classes[each.key].takes_file]
        if not any(_held(draft, each) for each in files):
            needed.append(main)
    missing = [
        MissingField(path=each.key, prompt=classes[each.key].prompt if each.key in classes else each.name)
        for each in needed
        if not _held(draft, each)
    ]
    notes = list(draft.notes)
    try:
        wrong = faults(draft.payload, schema.document)
    except UnusableSchemaError as error:
        wrong = ()
        notes.append(f"the payload could not be held against the schema: {error}")
    lacking = {each.path for each in missing}
    wrong = tuple(each for each in wrong if each.path not in lacking)
    completeness = 1.0 if not needed else 1 - len(missing) / len(needed)
    return Analysis(tuple(missing), wrong, round(completeness, 4), tuple(notes))


def _held(draft: Draft, each: SchemaField) -> bool:
    values = found(draft.payload, each.path)
    return bool(values) and all(value not in EMPTY and not is_placeholder(value) for value in values)


def _is_content(classes: dict[str, ClassifiedField], each: SchemaField) -> bool:
    known = classes.get(each.key)
    return known is not None and known.field_class is FieldClass.CONTENT and known.takes_file is None


def _said(request: FormRequest) -> str:
    return "\n".join([*(turn.text for turn in request.conversation if turn.role == "user"), request.prompt])
