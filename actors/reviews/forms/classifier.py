"""Every field of a model's schema as CONTENT, CONFIG or HYBRID, with a prompt for each."""

from __future__ import annotations

from typing import Any

from actors.reviews.forms.asking import Asker, Question
from actors.reviews.forms.classifying import Ruling, file_kind, question, rule
from actors.reviews.forms.models import Classification, ClassifiedField, FieldClass
from actors.reviews.forms.schema import FormSchema, SchemaField, read_schema

_MAX_PROMPT = 600

_TASK = """"fields" lists the fields of a model's input. For each say who gives it a value:
CONTENT: the user; it is what the work is about (a prompt, an image to edit).
CONFIG: the model's author; it says how the work is done (a size, a seed, a format).
HYBRID: either; a default is good, but users have wishes (a negative prompt, a system prompt).
And write for each a prompt: one sentence that asks a person for this field's value, in plain words."""


class FormFieldClassifierAgent:
    """Classifies by rule, and asks a model, if there is one, about what the rules are not certain of.

    What a field's type or the words of its name decide is never overruled: a model words the prompts, and decides the
    rest. Every leaf of the schema is classified, however deep it stands, and whatever the model says.
    """

    async def classify(self, schema: FormSchema, asker: Asker | None = None) -> Classification:
        """One entry for each leaf, in the schema's order."""
        asker = asker or Asker()
        leaves = schema.leaves()
        answer = await asker.answer(_question(leaves)) if leaves and asker.can_ask else None
        said = _said(answer)
        fields = tuple(_classified(each, said.get(each.key, {})) for each in leaves)
        return Classification(fields=fields, notes=(*schema.notes, *asker.notes))


def classify(schema: Any, example: Any = None) -> Classification:
    """The classification by rule alone. Raises `FormSchemaError` for what is no schema (see `read_schema`)."""
    read = read_schema(schema, example)
    return Classification(fields=tuple(_classified(each, {}) for each in read.leaves()), notes=read.notes)


def _classified(each: SchemaField, said: dict[str, Any]) -> ClassifiedField:
    ruling = rule(each)
    stated = said.get("class")
    if (
        not ruling.certain
        and isinstance(stated, str)
        and stated in FieldClass.__members__
        and stated != ruling.field_class
    ):
        ruling = Ruling(FieldClass(stated), "llm", f"a model says so; by rule: {ruling.reason}")
    prompt = said.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        prompt = question(each, ruling.field_class)
    return ClassifiedField(
        path=each.key,
        name=each.name,
        field_class=ruling.field_class,
        prompt=" ".join(prompt.split())[:_MAX_PROMPT],
        decided_by=ruling.decided_by,
        reason=ruling.reason,
        types=each.types,
        required=each.needed,
        takes_file=file_kind(each) if ruling.field_class is not FieldClass.CONFIG else None,
        many=each.many,
        has_default=each.has_default,
        default=each.default,
        choices=each.choices,
    )


def _question(leaves: tuple[SchemaField, ...]) -> Question:
    listed = [
        {
            "path": each.key,
            "type": "list of " + "/".join(each.types) if each.many else "/".join(each.types),
            "title": each.title,
            "description": each.description[:500],
            "required": each.required,
            **({"default": str(each.default)[:200]} if each.has_default else {}),
            **({"choices": [str(choice)[:60] for choice in each.choices[:20]]} if each.choices else {}),
        }
        for each in leaves
    ]
    entry = {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "class": {"enum": [name.value for name in FieldClass]},
            "prompt": {"type": "string"},
        },
        "required": ["path", "class", "prompt"],
        "additionalProperties": False,
    }
    return Question(_TASK, {"fields": listed}, {"classes": {"type": "array", "items": entry}})


def _said(answer: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    entries = (answer or {}).get("classes")
    if not isinstance(entries, list):
        return {}
    return {each["path"]: each for each in entries if isinstance(each, dict) and isinstance(each.get("path"), str)}
