"""What a reviewer decides on at each place of a team run, and what is shown beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.agents.documents import size_of
from actors.agents.schema_work import embedded
from actors.providers.files import modality_of
from actors.providers.models import Attachment, OutputFile, ProviderResponse
from actors.reviews.changes import changes
from actors.reviews.checkpoints.base import Moment, Place
from actors.reviews.decisions import MAX_PAYLOAD_BYTES, digest_of
from actors.reviews.forms.models import Form
from actors.reviews.question import Part
from actors.reviews.thresholds import Finding
from storage.errors import BadReferenceError
from storage.references import LocalBlob, WalrusBlob, parse

# Of one part: several together stay below what a question may show.
_PART_BYTES = 150_000
_CUT = 20_000
_MOST_FILES = 50


def subject_of(place: Place, moment: Moment) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """(what is decided on, the JSON Schema of an edit of it; none where it is too large to be edited here)."""
    if place == "after_call":
        assert moment.response is not None
        subject, schema = response_subject(moment.response, moment.model.output_schema)
    else:
        value = moment.form.payload if moment.payload is None else moment.payload.input
        fields = () if moment.payload is None else moment.provider.fields(moment.model.operation)
        subject, schema = dict(value), closed(moment.model.input_schema or {}, fields)
    if size_of(subject) > MAX_PAYLOAD_BYTES:
        said = f"{size_of(subject):,} bytes: it can be approved or rejected as it is"
        # A decision is on this very value, and lets no other one of the same size pass.
        return {"too_large": said, "sha256": digest_of(subject)}, None
    return subject, schema


def response_subject(
    response: ProviderResponse, output_schema: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what is decided on of a response, the schema of its edit): its words and files, or else its JSON."""
    files = [where for file in response.files if (where := _where(file)) is not None]
    subject: dict[str, Any] = {"text": response.text}
    properties: dict[str, Any] = {"text": {"type": "string"}}
    if files:
        subject["files"] = files
        properties["files"] = {"type": "array", "items": {"type": "string", "enum": list(dict.fromkeys(files))}}
    if not files and not response.text:
        subject["output"] = response.output
        properties["output"] = embedded(output_schema, "urn:hyvve:output") if output_schema else True
    # Said, not left out: an edit of the text alone is not to take the files away.
    required = [*(["text"] if response.text else []), *(["files"] if files else [])]
    return subject, {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def edited_response(response: ProviderResponse, edited: Mapping[str, Any]) -> ProviderResponse:
    """The response as a person wants it to be. Files can be taken out, not put in; what the edit lacks is taken out, as
    the differences say that stand on record.
    """
    kept = edited.get("files") or []
    files = tuple(file for file in response.files if _where(file) in kept)
    return response.model_copy(
        update={
            "text": str(edited.get("text", "")),
            "files": files,
            # The model's own envelope says what it said before the edit.
            "output": edited.get("output"),
            "refusal": None,
        }
    )


def shown(place: Place, moment: Moment, findings: Iterable[Finding]) -> tuple[Part, ...]:
    """What helps to decide, in the order in which a person reads it."""
    parts = _asked(moment)
    if place == "information":
        parts += _form(moment.form)
    if place == "before_call":
        parts += _payload(moment)
    if place == "after_call":
        parts += _answer(moment)
    held = [
        {"name": each.threshold, "mark": each.value, "limit": each.limit, "passed": each.passed, "reason": each.reason}
        for each in findings
    ]
    if held:
        parts.append(Part(kind="marks", title="What was measured", content=_bounded(held)))
    return tuple(parts)


def file_part(title: str, *, ref: str | None, url: str | None = None, media_type: str | None = None) -> Part:
    """A file by where it is kept: ours by its blob, another by its address, which is shown and never loaded."""
    kind = (media_type or "").partition("/")[0]
    shape: Any = "pdf" if media_type == "application/pdf" else kind if kind in {"image", "text"} else "text"
    blob_id, address = None, url
    if ref is not None:
        try:
            parsed = parse(ref)
        except BadReferenceError:
            address = ref
        else:
            blob_id = parsed.blob_id if isinstance(parsed, LocalBlob | WalrusBlob) else None
            address = None if blob_id is not None else ref
    if blob_id is None and (address is None or len(address) > 2048):
        return Part(kind="text", title=title[:300], content="(a file that stands in the answer itself)")
    return Part(kind=shape, title=title[:300], blob_id=blob_id, url=address, media_type=media_type)


def closed(schema: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """The model's schema with the further fields that its provider takes."""
    known = schema.get("properties")
    extra = [name for name in fields if isinstance(known, Mapping) and name not in known]
    return {**schema, "properties": {**dict.fromkeys(extra, True), **known}} if extra and known else dict(schema)


def response_parts(response: ProviderResponse) -> list[Part]:
    """A response as a person looks at it: its words and its files."""
    parts = []
    if response.text:
        parts.append(Part(kind="text", title="The answer", content=cut(response.text)))
    for number, file in enumerate(response.files[:_MOST_FILES], 1):
        parts.append(file_part(f"File {number}", ref=file.ref, url=file.url, media_type=file.media_type))
    if not parts and response.output is not None:
        parts.append(Part(kind="json", title="The answer", content=_bounded(response.output)))
    return parts


def cut(text: str, limit: int = _CUT) -> str:
    return text if len(text) <= limit else f"{text[:limit]}\n… {len(text) - limit:,} more characters"


def _where(file: OutputFile) -> str | None:
    return file.ref or file.url


def _asked(moment: Moment) -> list[Part]:
    parts = []
    if moment.request.prompt:
        parts.append(Part(kind="text", title="What was asked", content=cut(moment.request.prompt)))
    if moment.request.conversation:
        turns = [{"role": turn.role, "text": cut(turn.text, 2_000)} for turn in moment.request.conversation[-20:]]
        parts.append(Part(kind="json", title="What was said before", content=_bounded(turns)))
    parts += [_attachment(each) for each in moment.request.attachments[:_MOST_FILES]]
    return parts


def _attachment(attachment: Attachment) -> Part:
    media_type = attachment.media_type
    if media_type is None and modality_of(attachment) == "image":
        media_type = "image/*"
    return file_part(attachment.name or "A file of the request", ref=attachment.ref, media_type=media_type)


def _form(form: Form) -> list[Part]:
    filled = [{"field": each.path, "value": each.value, "from": each.origin} for each in form.filled]
    parts = [Part(kind="json", title="How the form was filled", content=_bounded(filled))]
    lacking = [
        *({"field": each.path, "needs": each.prompt} for each in form.missing),
        *({"field": each.path, "fault": each.message} for each in form.faults),
        *({"file": each.attachment.name or each.attachment.ref, "fault": each.reason} for each in form.unplaced),
        *({"field": path, "fault": "the model has no such field"} for path in form.unknown_parameters),
    ]
    if lacking:
        parts.append(Part(kind="json", title="What it lacks", content=_bounded(lacking)))
    return parts


def _payload(moment: Moment) -> list[Part]:
    assert moment.payload is not None
    target = f"{moment.payload.model} at {moment.payload.provider} ({moment.payload.operation})"
    parts = [Part(kind="text", title="Where it goes", content=target)]
    if moment.refusal is not None:
        parts.append(Part(kind="json", title="Why it came back", content=_bounded(moment.refusal)))
    if moment.issues:
        issues = [each.model_dump(mode="json", exclude={"remove"}) for each in moment.issues]
        parts.append(Part(kind="json", title="What the provider would say", content=_bounded(issues)))
    changed = [each.model_dump(mode="json") for each in changes(moment.suggested or {}, moment.payload.input)]
    if changed:
        parts.append(Part(kind="diff", title="Changed since it was suggested", content=_bounded(changed)))
    return parts


def _answer(moment: Moment) -> list[Part]:
    assert moment.response is not None
    parts = response_parts(moment.response)
    if moment.audit is not None and moment.audit.findings:
        found = [each.model_dump(mode="json") for each in moment.audit.findings]
        parts.append(Part(kind="json", title="What stands out", content=_bounded(found)))
    if moment.payload is not None:
        parts.append(Part(kind="json", title="What was sent", content=_bounded(moment.payload.input)))
    return parts


def _bounded(value: Any) -> Any:
    size = size_of(value)
    return value if size <= _PART_BYTES else {"left_out_bytes": size}
