"""What class a field is, by rule: what its type says, then the words of its name, its format, then its shape.

English names say what a thing is at their end: `image_size` is a size, `prompt_strength` a strength, `input_image` an
image. So the last word decides ("head"), behind words that only say how a file is handed over (`image_url`), and the
words before it qualify: `negative_prompt` is a prompt that a model's author has an opinion on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from actors.reviews.forms.models import DecidedBy, FieldClass, FileKind
from actors.reviews.forms.placeholders import is_url
from actors.reviews.forms.schema import SchemaField
from actors.reviews.forms.vocabulary import (
    CARRIERS,
    CONFIGS,
    FILES,
    HYBRIDS,
    SETTERS,
    SETUP_FILES,
    TEXT_QUALIFIERS,
    TEXTS,
)
from actors.reviews.forms.words import among, any_among, singular, titled, words

_FILE_FORMATS = frozenset({"uri", "url", "uri-reference", "iri", "binary", "byte", "base64", "data-url", "file"})
# Of these a name can hold one that says what is meant, or whose file: the rest say how it is handed over.
_LOOSE_CARRIERS = frozenset({"input", "file", "data", "upload", "64", "string"})
_PLAIN_TYPES = frozenset({"number", "integer", "boolean"})
_SAYS_CONTENT = re.compile(
    r"(?:the |your |an? |input |source )*(?:prompt|text|question|query|lyrics?|instructions?|message|image|audio"
    r"|video|document|file|photo|picture|words|sentences?)\b"
    r"(?! (?:size|length|format|width|height|quality|model|encoder|guidance|strength|weight|scale|generation))",
    re.IGNORECASE,
)
_MEDIA: dict[str, FileKind] = {"image": "image", "audio": "audio", "video": "video", "text": "text"}


@dataclass(frozen=True, slots=True)
class Ruling:
    """A class, what it rests on, and the reason in words. `certain` ones no model may overrule."""

    field_class: FieldClass
    decided_by: DecidedBy
    reason: str

    @property
    def certain(self) -> bool:
        return self.decided_by != "shape"


def named(each: SchemaField) -> tuple[str, ...]:
    """The words of the field's name, with its parent's where its own say only how a file is handed over."""
    own = words(each.name)
    steps = [step for step in each.path[:-1] if isinstance(step, str)]
    if own and steps and all(singular(word) in CARRIERS for word in own):
        return words(steps[-1]) + own
    return own


def subject(name: tuple[str, ...]) -> tuple[str, ...]:
    """The words without numbers and carriers at their end; the last one left is the head. At least one is left."""
    left = [word for word in name if not word.isdigit()] or list(name)
    while len(left) > 1:
        last, before = singular(left[-1]), singular(left[-2])
        loose = last in _LOOSE_CARRIERS
        about = before in FILES or before in TEXTS
        # `prompt_a` and `prompt_b` are two prompts.
        lettered = len(last) == 1 and last.isalpha() and last not in CONFIGS
        if not (lettered or (last in CARRIERS and (about or not loose))):
            break
        left.pop()
    return tuple(left)


def file_kind(each: SchemaField) -> FileKind | None:
    """The kind of file that the field's type, name and format let it take; `None` where it takes none."""
    if each.children or each.choices or (each.types and "string" not in each.types):
        return None
    name = tuple(word for word in named(each) if not word.isdigit())
    core = subject(name)
    head = singular(core[-1]) if core else ""
    formatted = each.format in _FILE_FORMATS or bool(each.media)
    kind = FILES.get(head)
    if kind is not None and (formatted or head not in TEXTS):
        return kind if kind != "any" else _described_kind(each) or kind
    carried = (
        bool(name)
        and singular(name[-1]) in CARRIERS
        and len(core) < len(name)
        and head not in TEXTS
        and head not in CONFIGS
    )
    if not (formatted or carried or (len(name) == 1 and among(name[0], {"url", "uri"}))):
        # `inputs` of any type, "the input audio": nothing else says what it takes.
        return _described_kind(each) if not each.types and _SAYS_CONTENT.match(each.description.strip()) else None
    if each.media:
        return _MEDIA.get(each.media.partition("/")[0], "document" if "pdf" in each.media else "any")
    for word in reversed(name):
        if found := FILES.get(singular(word)):
            return found
    return _described_kind(each) or "any"


def _described_kind(each: SchemaField) -> FileKind | None:
    """The kind that the first sentence of the description names: "Original speaker audio (wav, mp3, …)"."""
    for word in words(each.description.partition(".")[0]):
        name = singular(word)
        if (found := FILES.get(name)) and found != "any":
            return found
        if name in TEXTS and name not in FILES and name not in CARRIERS:
            return None
    return None


def rule(each: SchemaField) -> Ruling:
    """The class of a leaf. Total: a field of any shape and name gets one."""
    if each.choices:
        return Ruling(FieldClass.CONFIG, "type", "it takes one of a few values")
    if each.types and all(name in _PLAIN_TYPES for name in each.types):
        return Ruling(FieldClass.CONFIG, "type", f"it takes a {each.types[0]}")
    by_name = _by_name(each)
    if by_name is not None:
        return by_name
    if each.format in _FILE_FORMATS or each.media:
        return Ruling(FieldClass.CONTENT, "format", "it takes a file")
    if each.format:
        return Ruling(FieldClass.CONFIG, "format", f"it takes a {each.format}")
    return _by_shape(each)


def _by_name(each: SchemaField) -> Ruling | None:
    name = named(each)
    core = subject(name)
    if not core:
        return None
    head = singular(core[-1])
    kind = file_kind(each)
    fixed = each.has_default and each.default not in (None, "", [], {})
    # `n_prompt` is no number of prompts: it is the negative one.
    counted = core[0] != "n" or head not in TEXTS
    if len(core) > 1 and core[0] in SETTERS and counted and each.format not in _FILE_FORMATS:
        return Ruling(FieldClass.CONFIG, "word", f"its name begins with {core[0]!r}: it sets something")
    if kind is not None:
        if (kind == "any" or head not in FILES) and any_among(name, SETUP_FILES):
            return Ruling(FieldClass.CONFIG, "word", "its name says that it belongs to the set-up")
        if head in FILES:
            return Ruling(FieldClass.CONTENT, "word", f"its name ends in {head!r}: a file of the user's")
        if among(head, CONFIGS) and fixed:
            return Ruling(FieldClass.HYBRID, "word", f"a file, and {head!r} has a default")
        return Ruling(FieldClass.CONTENT, "format", "it takes a file of the user's")
    if head in HYBRIDS and head not in CONFIGS:
        if head in {"name", "title", "class", "template"} and any_among(core[:-1], CONFIGS):
            return Ruling(FieldClass.CONFIG, "word", f"the name of a {core[-2]!r} is a setting")
        if each.required and not fixed:
            return Ruling(FieldClass.CONTENT, "word", f"its name ends in {head!r}, it is required and has no default")
        return Ruling(FieldClass.HYBRID, "word", f"its name ends in {head!r}")
    if head in TEXTS and not (head in CONFIGS and fixed):
        if any_among(core[:-1], TEXT_QUALIFIERS):
            return Ruling(FieldClass.HYBRID, "word", f"a {head!r} that {core[0]!r} qualifies")
        return Ruling(FieldClass.CONTENT, "word", f"its name ends in {head!r}")
    if among(core[-1], CONFIGS) or core[-1] in CONFIGS:
        return Ruling(FieldClass.CONFIG, "word", f"its name ends in {head!r}: it says how")
    return None


def _by_shape(each: SchemaField) -> Ruling:
    if each.types and "string" not in each.types:
        return Ruling(FieldClass.CONFIG, "shape", "it takes no words")
    if any(is_url(value) for value in each.examples):
        return Ruling(FieldClass.CONTENT, "shape", "its example is a file")
    if _SAYS_CONTENT.match(each.description.strip()):
        return Ruling(FieldClass.CONTENT, "shape", "its description asks for content")
    value = each.default if each.has_default and each.default not in (None, "") else None
    if value is not None:
        return _by_value(value, "default")
    if each.required or each.needed:
        return Ruling(FieldClass.CONTENT, "shape", "it is required, and nothing gives it a value")
    example = next((one for one in each.examples if one not in (None, "")), None)
    if example is not None:
        return _by_value(example, "example")
    return Ruling(FieldClass.HYBRID, "shape", "nothing says what it is")


def _by_value(value: Any, what: str) -> Ruling:
    if not isinstance(value, str):
        return Ruling(FieldClass.CONFIG, "shape", f"its {what} is no text")
    if len(value.split()) > 2:
        # A default in sentences is the author's; an example in sentences is what a user would write.
        found = FieldClass.HYBRID if what == "default" else FieldClass.CONTENT
        return Ruling(found, "shape", f"its {what} is a sentence")
    return Ruling(FieldClass.CONFIG, "shape", f"its {what} is a short word")


def question(each: SchemaField, found: FieldClass) -> str:
    """What a person is asked of the field, or told of it; one or two sentences."""
    title = each.title.strip() or titled(each.name)
    about = " ".join(each.description.split())
    about = f" {about[:400].rstrip('.')}." if about else ""
    kind = file_kind(each)
    fixed = each.has_default and each.default not in (None, "", [], {})
    if found is FieldClass.CONTENT:
        if kind is not None:
            what = "files" if kind == "any" and each.many else "a file" if kind == "any" else _article(kind, each)
            return f"{title}: attach {what}.{about}"
        return f"{title}: write {'one or more texts' if each.many else 'the text'}.{about}"
    if each.choices:
        some = ", ".join(str(choice) for choice in each.choices[:12])
        some += ", …" if len(each.choices) > 12 else ""
        stays = f"stays {each.default} unless you choose another of" if fixed else "choose one of"
        return f"{title}: {stays} {some}.{about}"
    stays = f"stays {str(each.default)[:120]!r} unless you" if fixed else "left out unless you"
    if each.required and not fixed:
        return f"{title}: needs a value.{about}"
    wish = "write your own" if found is FieldClass.HYBRID else "set it"
    return f"{title}: {stays} {wish}.{about}"


def _article(kind: FileKind, each: SchemaField) -> str:
    word = {"audio": "audio file", "text": "text file"}.get(kind, kind)
    if each.many:
        return f"one or more {word}s"
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
