"""From a request to a payload, and back again: what a reviewer's edit or words make of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.providers.base import AIProvider
from actors.providers.models import ModelInfo, Payload, ProviderRequest, ProviderResponse, Turn
from actors.reviews.forms.asking import MAX_CALLS, Ask
from actors.reviews.forms.form import make_form
from actors.reviews.forms.models import Classification, FilledField, Form, FormRequest
from actors.reviews.forms.paths import written

_SAID = frozenset({"prompt", "conversation"})


async def formed(
    model: ModelInfo, request: FormRequest, *, ask: Ask | None, earlier: Form | None = None, asked: int = 0
) -> Form:
    """The request's form; `earlier` is one of the same model, and saves a call. A model that was `asked` about the
    request before has that many fewer questions left. Raises `FormSchemaError`.
    """
    known = None if earlier is None else Classification(fields=earlier.fields)
    return await make_form(model.input_schema, request, ask=ask, classification=known, most=max(0, MAX_CALLS - asked))


async def rejudged(form: Form, model: ModelInfo, value: dict[str, Any]) -> Form:
    """The form with the values that a person gave: what is missing or wrong in them, by rule."""
    given = await formed(model, FormRequest(parameters=value), ask=None, earlier=form)
    refs = _texts(value)
    unplaced = tuple(each for each in form.unplaced if each.attachment.ref not in refs)
    return form.model_copy(
        update={
            "payload": value,
            "missing": given.missing,
            "faults": given.faults,
            "completeness": given.completeness,
            "unplaced": unplaced,
            "prompt_placed": True,
        }
    )


def composed(provider: AIProvider, model: ModelInfo, request: FormRequest, form: Form) -> Payload:
    """What would be sent. The form's values stand as they are; what the schema alone cannot place (a file in a chat's
    turns, a conversation) the provider places, which knows its own words.
    """
    # Fields that the provider takes beside those of the schema.
    extra = {
        name: request.parameters[name]
        for name in provider.fields(model.operation)
        if name in request.parameters and written((name,)) in form.unknown_parameters
    }
    known = {written((name,)) for name in extra}
    notes = tuple(f"{model.id} has no parameter {path[:100]}" for path in form.unknown_parameters if path not in known)
    value = {**form.payload, **extra}
    files = tuple(each.attachment for each in form.unplaced)
    if not files and not _lost_turns(request, form):
        if not form.prompt_placed:
            notes = (*notes, f"{model.id} has no field for the prompt")
        return Payload(provider=provider.name, model=model.id, operation=model.operation, input=value, notes=notes)
    said = {_top(each) for each in form.filled if each.origin in _SAID}
    made = provider.compose(
        ProviderRequest(
            model=model.id,
            operation=model.operation,
            prompt=_prompt(request, form),
            conversation=request.conversation,
            attachments=files,
            parameters={name: each for name, each in value.items() if name not in said},
        ),
        model,
    )
    # Its own word for the model may be another; ours is the one that was asked for.
    return made.model_copy(update={"model": model.id, "notes": (*notes, *made.notes)})


def answered(
    request: FormRequest, form: Form, value: Mapping[str, Any] | None, message: str, *, answer: ProviderResponse | None
) -> FormRequest:
    """The request with a reviewer's words, for the next try. What a person edited stays as it is.

    Where the model takes turns, the words are a further turn, after the model's `answer`; else they follow the prompt.
    """
    if value is None:
        return request.model_copy(update={"prompt": _joined(request.prompt, message)})
    said = next((each for each in form.filled if each.origin in _SAID), None)
    field = None if said is None else _top(said)
    present = None if field is None else value.get(field)
    rest = {name: each for name, each in value.items() if name != field}
    kept = {"parameters": rest, "attachments": (), "example_input": request.example_input}
    turns = _turns(present)
    if turns is not None:
        if answer is not None and answer.text:
            turns = (*turns, Turn(role="assistant", text=answer.text))
        return FormRequest(prompt=message, conversation=turns, **kept)
    if isinstance(present, str):
        return FormRequest(prompt=_joined(present, message), **kept)
    # A part that this cannot read (files between the words) stays, and the words go beside it.
    if field is not None and present is not None:
        return FormRequest(**{**kept, "parameters": {**rest, field: _appended(present, message)}})
    return FormRequest(prompt=_joined(request.prompt, message), **kept)


def _joined(text: str, message: str) -> str:
    return f"{text}\n\n{message}" if text.strip() else message


def _appended(present: Any, message: str) -> Any:
    if isinstance(present, list) and present and isinstance(present[-1], Mapping) and "role" in present[-1]:
        return [*present, {"role": "user", "content": message}]
    return [*present, message] if isinstance(present, list) else present


def _turns(value: Any) -> tuple[Turn, ...] | None:
    """The list of turns that this is, if it is one of plain words."""
    if not isinstance(value, list) or not value:
        return None
    turns = []
    for each in value:
        if not (isinstance(each, Mapping) and set(each) == {"role", "content"} and isinstance(each["content"], str)):
            return None
        if each["role"] not in {"system", "user", "assistant"}:
            return None
        turns.append(Turn(role=each["role"], text=each["content"]))
    return tuple(turns)


def _lost_turns(request: FormRequest, form: Form) -> bool:
    """Whether there is a conversation that no field of the form holds."""
    if not request.conversation:
        return False
    return not any(each.origin == "conversation" and isinstance(each.value, list) for each in form.filled)


def _prompt(request: FormRequest, form: Form) -> str:
    """The prompt as the form has it: without the lines that named other fields."""
    placed = next((each.value for each in form.filled if each.origin == "prompt"), None)
    return placed if isinstance(placed, str) else request.prompt


def _top(field: FilledField) -> str:
    """The top field that the value stands in, of a path such as `$.input[0].text`."""
    return field.path.removeprefix("$").lstrip(".").partition(".")[0].partition("[")[0]


def _texts(value: Any) -> set[str]:
    found: set[str] = set()
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            found.add(part)
        elif isinstance(part, Mapping):
            left += part.values()
        elif isinstance(part, list):
            left += part
    return found
