"""Which field takes which attachment. Every attachment ends in one field or is named as having none; none is dropped.

The cascade, first rule that has room: a field whose value is a placeholder, a usual name of the schema
(`image`, `input_image`, `audio`, `file`), a name that speaks of a file, any field that holds a URL. Only fields of
the schema count, never those of the set-up; a field for one file takes one, a list all that fit; a value that a user
gave stays. A file goes where files of its kind go, and one whose own name says what it is ("mask.png") goes there.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from actors.providers.models import Attachment
from actors.reviews.forms.asking import Asker, Question
from actors.reviews.forms.classifying import file_kind, named, subject
from actors.reviews.forms.models import Classification, FieldClass, FileKind, Mapping, Placement, Tier, Unplaced
from actors.reviews.forms.paths import EACH, found
from actors.reviews.forms.placeholders import is_placeholder, is_url
from actors.reviews.forms.schema import FormSchema, SchemaField
from actors.reviews.forms.vocabulary import CARRIERS, COMMON, COMPANIONS, FILES
from actors.reviews.forms.words import singular, words

_TIERS: tuple[Tier, ...] = ("placeholder", "common", "named", "url")
_HANDED_OVER = frozenset({"url", "uri", "file", "link", "upload", "path"})
# Said of every field for a file of the kind, so it tells none from another.
_SAID_OF_ALL = CARRIERS | {"image", "audio", "video", "document", "text", "media", "attachment"}
_COMMON_RANK = {name: rank for names in COMMON.values() for rank, name in enumerate(names)}
_PAPERS = frozenset({"document", "text"})

_TASK = """"attachments" lists a user's files and "file_fields" the fields that can take one. Say for each file which \
field it belongs in, by its path, or null where none fits. A field takes one file unless it says that it is a list."""


@dataclass(slots=True)
class _Slot:
    """A field that can take files. `tier` is by which rule, `room` for how many more."""

    each: SchemaField
    kind: FileKind
    tier: Tier
    many: bool
    room: int
    place: int
    said: frozenset[str]
    common: str
    taken: list[int] = field(default_factory=list)

    @property
    def telling(self) -> frozenset[str]:
        """The words of the field's name that tell it from others: a file that is called so belongs here."""
        return frozenset(word for word in self.said - _SAID_OF_ALL if len(word) > 1 and not word.isdigit())

    @property
    def companion(self) -> bool:
        return bool(self.said & COMPANIONS) and self.common not in _COMMON_RANK


@dataclass(frozen=True, slots=True)
class _File:
    index: int
    attachment: Attachment
    kind: FileKind
    said: frozenset[str]


class AttachmentMappingAgent:
    """Places attachments by the cascade; where several fields could do, a model, if there is one, is heard first."""

    async def place(
        self,
        schema: FormSchema,
        classification: Classification,
        attachments: tuple[Attachment, ...],
        *,
        given: dict[str, Any] | None = None,
        asker: Asker | None = None,
    ) -> Mapping:
        """`given` is the payload as far as the user wrote it; its values stay, except placeholders."""
        asker = asker or Asker()
        question = mapping_question(schema, classification, attachments, given=given)
        answer = await asker.answer(question) if question is not None else None
        mapping = placed(schema, classification, attachments, given=given, answer=answer)
        return mapping.model_copy(update={"notes": tuple(asker.notes)})


def mapping_question(
    schema: FormSchema,
    classification: Classification,
    attachments: tuple[Attachment, ...],
    *,
    given: dict[str, Any] | None = None,
) -> Question | None:
    """What a model would be asked; `None` where there is nothing to choose."""
    files = _files(attachments)
    slots = _slots(schema, classification, attachments, given or {})
    if not any(sum(_fits(file, slot) for slot in slots) > 1 for file in files):
        return None
    entry = {
        "type": "object",
        "properties": {"file": {"type": "integer"}, "path": {"type": ["string", "null"]}},
        "required": ["file", "path"],
        "additionalProperties": False,
    }
    material = {
        "attachments": [
            {"file": file.index, "name": (file.attachment.name or "")[:200], "kind": file.kind} for file in files
        ],
        "file_fields": [
            {"path": slot.each.key, "kind": slot.kind, "list": slot.many, "required": slot.each.needed,
             "title": slot.each.title, "description": slot.each.description[:300]}
            for slot in slots
        ],
    }  # fmt: skip
    return Question(_TASK, material, {"placed": {"type": "array", "items": entry}})


def placed(
    schema: FormSchema,
    classification: Classification,
    attachments: tuple[Attachment, ...],
    *,
    given: dict[str, Any] | None = None,
    answer: dict[str, Any] | None = None,
) -> Mapping:
    """The mapping; `answer` is a model's, to `mapping_question`, of which only what holds is taken."""
    given = given or {}
    files = _files(attachments)
    slots = _slots(schema, classification, attachments, given)
    left = {file.index: file for file in files}
    found_at: dict[int, tuple[_Slot, Tier]] = {}

    def take(file: _File, slot: _Slot, tier: Tier) -> None:
        slot.room -= 1
        slot.taken.append(file.index)
        found_at[file.index] = (slot, tier)
        del left[file.index]

    done = _named_by_user(schema, files, given)
    for index in done:
        del left[index]
    # A blank that the user left is where the user wants a file: before any model's opinion.
    _fill([slot for slot in slots if _blank(given, slot.each)], slots, left, "placeholder", take)
    for file, slot in _proposed(answer, left, slots):
        if slot.room > 0 and file.index in left and _fits(file, slot):
            take(file, slot, "llm")
    for tier in _TIERS:
        _fill([slot for slot in slots if slot.tier == tier], slots, left, tier, take)
    placements = [
        Placement(index=file.index, attachment=file.attachment, path=done[file.index], tier="given")
        if file.index in done
        else Placement(
            index=file.index,
            attachment=file.attachment,
            path=found_at[file.index][0].each.key,
            tier=found_at[file.index][1],
        )
        for file in files
        if file.index not in left
    ]
    unplaced = [
        Unplaced(index=file.index, attachment=file.attachment, reason=_why(file, slots)) for file in left.values()
    ]
    return Mapping(placed=tuple(placements), unplaced=tuple(unplaced))


def _fill(chosen: list[_Slot], slots: list[_Slot], left: dict[int, _File], tier: Tier, take: Any) -> None:
    def order(slot: _Slot) -> tuple[bool, int, int, bool, bool, int]:
        fitting = sum(_fits(file, slot) for file in left.values())
        # Several files belong together in a list; a single one in the field for one.
        listed = (0 if fitting > 1 else 2) if slot.many else 1
        # `file`, which takes a file, before `file_url`, which is a text that may hold an address.
        as_text = not slot.each.format and not slot.each.media
        return slot.companion, listed, _COMMON_RANK.get(slot.common, 99), not slot.each.needed, as_text, slot.place

    for slot in sorted(chosen, key=order):
        fitting = [file for file in left.values() if _fits(file, slot) and not _meant_elsewhere(file, slot, slots)]
        # Those that name the field, then those that are surely of its kind, then as they were attached.
        fitting.sort(key=lambda file: (not (file.said & slot.telling), file.kind != slot.kind, file.index))
        room = min(slot.room, len(fitting))
        for file in sorted(fitting[:room], key=lambda file: file.index):
            take(file, slot, tier)


def _slots(
    schema: FormSchema, classification: Classification, attachments: tuple[Attachment, ...], given: dict[str, Any]
) -> list[_Slot]:
    classes = {each.path: each.field_class for each in classification.fields}
    limits = {each.path: each.max_items for each in schema.walk()}
    own = {attachment.ref for attachment in attachments}
    slots = []
    for place, each in enumerate(schema.leaves()):
        if classes.get(each.key, FieldClass.CONFIG) is FieldClass.CONFIG or each.choices:
            continue
        if each.types and "string" not in each.types:
            continue
        many = each.many or EACH in each.path
        written = _given_values(given, each)
        kept = [value for value in written if value not in (None, "") and not is_placeholder(value)]
        if kept and not many:
            continue
        shown = [value for value in _shown(each) if value not in own]
        kind: FileKind | None = file_kind(each)
        name = named(each)
        tier = _tier(kind, name, [*written, *shown])
        if tier is None:
            continue
        if kind is None or kind == "any":
            kinds = [known for value in shown if is_url(value) and (known := _kind_of(value, None)) != "any"]
            kind = kinds[0] if kinds else "any"
        limit = each.max_items
        if EACH in each.path:
            last = max(at for at, step in enumerate(each.path) if step == EACH)
            limit = limits.get(each.path[:last])
        room = (10_000 if limit is None else max(0, limit - len(kept))) if many else 1
        said = frozenset(singular(word) for word in name)
        slots.append(_Slot(each, kind, tier, many, room, place, said, _common_name(name)))
    return slots


def _tier(kind: FileKind | None, name: tuple[str, ...], values: list[Any]) -> Tier | None:
    if any(is_placeholder(value) for value in values) and (kind is not None or any(is_url(value) for value in values)):
        return "placeholder"
    if kind is not None:
        if _common_name(name) in _COMMON_RANK:
            return "common"
        if any(singular(word) in FILES or word in _HANDED_OVER for word in name):
            return "named"
        return "url"
    return "url" if any(is_url(value) for value in values) else None


def _common_name(name: tuple[str, ...]) -> str:
    return "_".join(singular(word) for word in subject(name)) if name else ""


def _shown(each: SchemaField) -> list[Any]:
    """What the schema and the example hold in the field's place, entries of lists one by one."""
    values = [*each.examples, *([each.default] if each.has_default else [])]
    return [one for value in values for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _given_values(given: dict[str, Any], each: SchemaField) -> list[Any]:
    values = found(given, each.path)
    return [one for value in values for one in (value if each.many and isinstance(value, list) else [value])]


def _blank(given: dict[str, Any], each: SchemaField) -> bool:
    return any(is_placeholder(value) for value in _given_values(given, each))


def _named_by_user(schema: FormSchema, files: list[_File], given: dict[str, Any]) -> dict[int, str]:
    """The files that the user has put into a field already."""
    where: dict[str, str] = {}
    for each in schema.leaves():
        for value in _given_values(given, each):
            if isinstance(value, str):
                where.setdefault(value, each.key)
    return {file.index: where[file.attachment.ref] for file in files if file.attachment.ref in where}


def _proposed(answer: dict[str, Any] | None, left: dict[int, _File], slots: list[_Slot]) -> list[tuple[_File, _Slot]]:
    entries = (answer or {}).get("placed")
    by_path = {slot.each.key: slot for slot in slots}
    pairs = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or isinstance(entry.get("file"), bool) or not isinstance(entry.get("file"), int):
            continue
        path = entry.get("path")
        file, slot = left.get(entry["file"]), by_path.get(path) if isinstance(path, str) else None
        if file is not None and slot is not None:
            pairs.append((file, slot))
    return pairs


def _fits(file: _File, slot: _Slot) -> bool:
    return file.kind == slot.kind or "any" in (file.kind, slot.kind) or {file.kind, slot.kind} <= _PAPERS


def _meant_elsewhere(file: _File, slot: _Slot, slots: Iterable[_Slot]) -> bool:
    if file.said & slot.telling:
        return False
    return any(
        other.room > 0 and file.said & other.telling and _fits(file, other) for other in slots if other is not slot
    )


def _files(attachments: tuple[Attachment, ...]) -> list[_File]:
    made = []
    for index, attachment in enumerate(attachments):
        name = attachment.name or _file_name(attachment.ref)
        said = frozenset(singular(word) for word in words(name.rpartition(".")[0] or name))
        made.append(_File(index, attachment, _kind_of(name, attachment.media_type), said))
    return made


def _file_name(ref: str) -> str:
    try:
        return unquote(urlsplit(ref[:8192]).path.rpartition("/")[2]) if "://" in ref[:20] else ref[:200]
    except ValueError:
        return ""


def _kind_of(name: str, media_type: str | None) -> FileKind:
    """By the declared type, else by the name's ending; `any` where neither says."""
    if name[:5].lower() == "data:":
        media_type = name[5:100].partition(";")[0].partition(",")[0]
    guessed = (media_type or "").strip().lower() or mimetypes.guess_type(_file_name(name) or name)[0] or ""
    top, _, sub = guessed.partition("/")
    if top in {"image", "audio", "video", "text"}:
        return top  # type: ignore[return-value]  # one of the four
    if sub.startswith(("pdf", "msword", "vnd.openxmlformats", "vnd.ms-", "vnd.oasis", "rtf", "epub")):
        return "document"
    return "text" if sub in {"json", "xml", "csv"} else "any"


def _why(file: _File, slots: list[_Slot]) -> str:
    if not slots:
        return "the model's input has no field for a file"
    if not any(_fits(file, slot) for slot in slots):
        return f"no field takes a file of the kind {file.kind}"
    return "each field that could take it has its file already"
