"""A request made into a form: classified, files placed, filled, judged. At most two model calls, whatever it holds."""

from __future__ import annotations

from typing import Any

from actors.reviews.forms.analyzer import analysis_question, finish, judged
from actors.reviews.forms.asking import MAX_CALLS, Ask, Asker, joined
from actors.reviews.forms.attachments import mapping_question, placed
from actors.reviews.forms.classifier import FormFieldClassifierAgent
from actors.reviews.forms.drafting import attach, begun
from actors.reviews.forms.models import Classification, Form, FormRequest
from actors.reviews.forms.schema import read_schema


async def make_form(
    schema: Any,
    request: FormRequest,
    *,
    ask: Ask | None = None,
    classification: Classification | None = None,
    most: int = MAX_CALLS,
) -> Form:
    """The form of `request` for a model with this input schema (see `read_schema` for what is taken as one).

    With `ask`, a model is asked `most` times at most, twice by default: about the classes, and, in one question, about
    the files and the values. `classification` is an earlier one of the same schema, and saves the first call. Without a
    model, or where it fails or was asked often enough, rules decide and `notes` say so. Raises `FormSchemaError`.
    """
    read = read_schema(schema, request.example_input)
    asker = Asker(ask, most)
    if classification is None:
        classification = await FormFieldClassifierAgent().classify(read, asker)
    draft = begun(read, request)
    files = mapping_question(read, classification, request.attachments, given=draft.payload)
    values = analysis_question(read, classification, request, draft)
    questions = tuple(each for each in (files, values) if each is not None)
    answer = await asker.answer(joined(questions)) if questions else None
    mapping = placed(read, classification, request.attachments, given=draft.payload, answer=answer)
    mapping = attach(draft, read, mapping)
    finish(draft, read, classification, request, answer)
    analysis = judged(draft, read, classification)
    return Form(
        fields=classification.fields,
        payload=draft.payload,
        filled=draft.filled(),
        missing=analysis.missing,
        faults=analysis.faults,
        placed=mapping.placed,
        unplaced=mapping.unplaced,
        unknown_parameters=tuple(draft.unknown),
        prompt_placed=draft.prompt_placed,
        completeness=analysis.completeness,
        llm_calls=asker.calls,
        notes=tuple(dict.fromkeys((*classification.notes, *asker.notes, *analysis.notes))),
    )
