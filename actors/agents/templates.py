"""System messages: which placeholders a template has, and the text once they are filled.

The braces are those of Python's format strings, so `{{` stands for a brace. Only names are looked up: a template can
neither reach attributes nor format anything.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from typing import Any

from actors.agents.conditions import look_up
from actors.agents.documents import readable
from actors.errors import PromptTooLargeError

# Of a text whose placeholders are filled: one short template can name a large value a thousand times.
MAX_FILLED_CHARS = 1024 * 1024

# What every run fills in: the members of the state that a person reads.
GIVEN = ("current_task_description", "task_description", "agent_name", "workflow_scratchpad")


def placeholders(template: str) -> list[str]:
    """The placeholders in order of appearance, each once. Raises `ValueError` for braces that do not match."""
    return list(dict.fromkeys(name for _, name in _parts(template) if name is not None))


def filler(placeholder: str) -> str:
    """The name that must be filled for it: what stands before the first dot."""
    return placeholder.partition(".")[0]


def fill(template: str, state: Mapping[str, Any], scratchpad: Mapping[str, Any]) -> str:
    """The text. `state` goes before the scratchpad; what is not there yet becomes nothing.

    Raises `PromptTooLargeError` at the placeholder that makes it too large.
    """
    known = {**scratchpad, "workflow_scratchpad": scratchpad, **state}
    filled: list[str] = []
    size = 0
    for literal, name in _parts(template):
        part = literal + ("" if name is None else _text(look_up(known, name, "")))
        size += len(part)
        if size > MAX_FILLED_CHARS:
            raise PromptTooLargeError(
                f"the instructions, filled up to the placeholder {{{name}}}, have {size:,} characters; the limit is "
                f"{MAX_FILLED_CHARS:,}: name a large value once, or only the part of it that is needed",
                subject=name,
                limit=MAX_FILLED_CHARS,
            )
        filled.append(part)
    return "".join(filled)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else readable(value)


def _parts(template: str) -> Iterator[tuple[str, str | None]]:
    for literal, name, form, conversion in string.Formatter().parse(template):
        if name is None:
            yield literal, None
        else:
            # `{a:b}` and `{a!r}`, and a JSON example with single braces: named whole, so that its author finds it.
            yield literal, name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
